// The kinds of checks that are measured beside keepalived.

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv4"
)

// kind is a check in the words of lvsd and of keepalived.
type kind struct {
	port             string
	lvsd, keepalived string
	beside           string // keepalived's check, where it has another name
	count            func(*site) int
}

// kinds are the checks by their names in lvsd. keepalived has no syn: its TCP_CHECK is
// what a user would have.
var kinds = map[string]kind{
	"connect": {port: "80", lvsd: `type = "connect"`, keepalived: "TCP_CHECK {\n connect_timeout 1\n }\n", count: accepted},
	"syn": {port: "80", lvsd: `type = "syn"`, keepalived: "TCP_CHECK {\n connect_timeout 1\n }\n", beside: "connect",
		count: func(s *site) int { return s.snmp("Tcp:", "InSegs") / 2 }}, // a SYN and a RST
	"http": {port: "80", lvsd: `type = "http", path = "/healthz", status = "200"`,
		keepalived: "HTTP_GET {\n url {\n path /healthz\n status_code 200\n }\n connect_timeout 1\n }\n", count: accepted},
	"https": {port: "443", lvsd: `type = "https", path = "/healthz", status = "200", tls = { verify = false }`,
		keepalived: "SSL_GET {\n url {\n path /healthz\n status_code 200\n }\n connect_timeout 1\n }\n", count: accepted},
	"dns": {port: "53", lvsd: `type = "dns", name = "www.example.com", record = "A"`,
		keepalived: "DNS_CHECK {\n type A\n name www.example.com\n connect_timeout 1\n }\n",
		count:      func(s *site) int { return int(s.queries.Load()) }},
	"ping": {port: "80", lvsd: `type = "ping"`, keepalived: "PING_CHECK {\n connect_timeout 1\n }\n",
		count: func(s *site) int { return s.snmp("Icmp:", "InEchos") }},
	"exec": {port: "80", lvsd: `type = "exec", command = ["/bin/true"]`,
		keepalived: "MISC_CHECK {\n misc_path /bin/true\n misc_timeout 1\n }\n", count: func(*site) int { return forks() }},
}

// accepted counts the connections that the servers have accepted.
func accepted(s *site) int { return s.snmp("Tcp:", "PassiveOpens") }

// snmp returns a counter of the farm's kernel.
func (s *site) snmp(table, name string) int {
	var text []byte
	if s.farm.Do(func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/snmp"); return err }) != nil {
		return 0
	}
	var heading []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] != table {
			continue
		}
		if heading == nil {
			heading = f
			continue
		}
		for i, h := range heading {
			if h == name {
				n := 0
				fmt.Sscan(f[i], &n)
				return n
			}
		}
	}
	return 0
}

// forks counts the processes and threads that were started on this kernel.
func forks() int {
	text, _ := os.ReadFile("/proc/stat")
	_, rest, _ := strings.Cut(string(text), "\nprocesses ")
	n := 0
	fmt.Sscan(rest, &n)
	return n
}

// serveDNS serves one address for each name on port 53, from the address that was asked.
func (b *bench) serveDNS(s *site) {
	pc, err := s.farm.ListenPacket("udp4", "0.0.0.0:53")
	if err != nil {
		b.Fatalf("serve DNS: %v", err)
	}
	conn := ipv4.NewPacketConn(pc)
	if err := conn.SetControlMessage(ipv4.FlagDst, true); err != nil {
		b.Fatalf("serve DNS: %v", err)
	}
	go func() {
		buf := make([]byte, 512)
		for {
			n, to, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // the lab is closed
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
			}}
			if reply, err := m.Pack(); err == nil {
				s.queries.Add(1)
				_, _ = conn.WriteTo(reply, &ipv4.ControlMessage{Src: to.Dst}, from)
			}
		}
	}()
}

// certificate writes a self-signed certificate with its key.
func (b *bench) certificate() (certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatalf("make a key: %v", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"www.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatalf("make a certificate: %v", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatalf("write a key: %v", err)
	}
	return b.lab.WriteFile("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))),
		b.lab.WriteFile("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}
