package checks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// writeAuthority writes the certificate of a certificate authority, and a certificate and
// key for each name, as PEM files of the lab.
func writeAuthority(p *lvsdtest.Pair, names ...string) {
	now := time.Now()
	write := func(file, kind string, der []byte, err error) {
		if err != nil {
			p.T.Fatal(err)
		}
		p.WriteFile(file, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			p.T.Fatal(err)
		}
		return key
	}
	caKey := newKey()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	write("ca.pem", "CERTIFICATE", der, err)
	for i, name := range names {
		key := newKey()
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		write(name+".pem", "CERTIFICATE", der, err)
		der, err = x509.MarshalPKCS8PrivateKey(key)
		write(name+".key", "PRIVATE KEY", der, err)
	}
}

// TestCheckerKinds: checks of many types, against nginx, OpenSSL's s_server, the kernel
// and a program. Each succeeds at first, and later fails for a reason of its own.
func TestCheckerKinds(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.AdvertInterval = "1s"
	rs, lb := p.Real[0], p.LB[0]
	writeAuthority(p, "www.example.org", "lb.example.org")
	file := func(name string) string { return p.Path(name) }
	nginx := rs.Start("/usr/sbin/nginx", "-c", p.WriteFile("nginx.conf", fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	default_type text/plain;
	server {
		listen 8001 ssl http2;
		ssl_certificate %[1]s/www.example.org.pem; ssl_certificate_key %[1]s/www.example.org.key;
		ssl_client_certificate %[1]s/ca.pem; ssl_verify_client on;
		location / { return 200 "$server_protocol $ssl_client_s_dn\n"; }
	}
	server {
		listen 8002 proxy_protocol;
		location = /old { return 301 http://another.example.org:8002/new; }
		location / { return 200 "from $proxy_protocol_addr for $host\n"; }
	}
}
`, p.Dir())))
	openssl := rs.Start("/usr/bin/openssl", "s_server", "-accept", "8003", "-tls1_2", "-rev", "-quiet",
		"-cert", file("www.example.org.pem"), "-key", file("www.example.org.key"))
	// A listener that counts the connections: a SYN probe makes none.
	var accepted atomic.Int32
	silent, err := rs.Listen("tcp", ":8005")
	if err != nil {
		t.Fatal(err)
	}
	agent, err := rs.Listen("tcp", ":5666")
	if err != nil {
		t.Fatal(err)
	}
	var says atomic.Pointer[string]
	say := func(s string) { says.Store(&s) }
	say("up\n")
	serve := func(l net.Listener, f func(net.Conn)) {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				f(c)
				c.Close()
			}
		}()
	}
	serve(silent, func(net.Conn) { accepted.Add(1) })
	serve(agent, func(c net.Conn) { io.WriteString(c, *says.Load()) })
	alive := p.WriteFile("alive", "")

	tls := fmt.Sprintf(`ca_file = %q, server_name = "www.example.org"`, file("ca.pem"))
	own := fmt.Sprintf(`cert_file = %q, key_file = %q`, file("lb.example.org.pem"), file("lb.example.org.key"))
	checks := []struct{ name, port, check string }{
		{"h2", "8001", `{ type = "https", http2 = true, ` + tls + `, ` + own + `, expect = 'HTTP/2\.0 CN=lb\.example\.org' }`},
		{"no certificate", "8101", `{ type = "https", address = ":8001", ` + tls + ` }`},
		{"redirect", "8002", `{ type = "http", proxy_protocol = "v1", path = "/old", follow_redirects = 2, expect = "from 10.77.0.11 for another.example.org" }`},
		{"dialogue", "8003", `{ type = "tcp", tls = true, ` + tls + `, steps = [{ send = "abc\n", expect = "^cba" }, { send = "xyz\n", expect_text = "zyx" }] }`},
		{"too old", "8103", `{ type = "tcp", address = ":8003", tls = true, min_version = "1.3", ` + tls + ` }`},
		{"syn", "8005", `{ type = "syn" }`},
		{"syn refused", "8105", `{ type = "syn", address = ":8006" }`},
		{"ping", "8007", `{ type = "ping" }`},
		{"udp", "8008", `{ type = "udp", send = "x" }`},
		{"exec", "8009", fmt.Sprintf(`{ type = "exec", command = ["/bin/sh", "-c", 'test -e %s && test "$LVSD_SERVICE" = web'] }`, alive)},
		{"agent", "8010", `{ type = "agent", port = 5666 }`},
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = \"web\"\naddress = %q\nforward = \"nat\"\n", lvsdtest.VIPPort)
	for _, c := range checks {
		check := strings.TrimSuffix(c.check, "}") + `, interval = "300ms", timeout = "5s", rise = 1, fall = 1 }`
		fmt.Fprintf(&b, "[[virtual_service.real_servers]]\naddress = \"%s:%s\"\ncheck = %s\n", rs.Addr(), c.port, check)
	}
	p.Services = b.String()
	lb.StartDaemon()

	// waitResults waits until each check has the expected result, and logs those that have
	// not.
	waitResults := func(want map[string][2]string) {
		t.Helper()
		var wrong []string
		look := func() bool {
			s, err := lb.Status()
			if err != nil || len(s.Services) == 0 {
				return false
			}
			wrong = nil
			for _, c := range checks {
				w, given := want[c.name]
				if !given {
					continue
				}
				for _, r := range s.Services[0].RealServers {
					if strings.HasSuffix(r.Address, ":"+c.port) && (r.Health != w[0] || !strings.Contains(r.Why, w[1])) {
						wrong = append(wrong, fmt.Sprintf("%s: %s, %s", c.name, r.Health, r.Why))
					}
				}
			}
			return len(wrong) == 0
		}
		defer func() {
			if len(wrong) > 0 {
				t.Logf("not as expected: %s", strings.Join(wrong, "; "))
			}
		}()
		p.WaitUntil(60*time.Second, "all results", look)
	}
	waitResults(map[string][2]string{
		"h2": {"up"}, "redirect": {"up"}, "dialogue": {"up"}, "syn": {"up"}, "ping": {"up"}, "exec": {"up"}, "agent": {"up"},
		"no certificate": {"down", "status"}, "too old": {"down", "tls"}, "syn refused": {"down", "refused"}, "udp": {"down", "refused"},
	})
	if n := accepted.Load(); n > 0 {
		t.Errorf("%d connections of SYN probes", n)
	}
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	say("down #no disk\n")
	for _, process := range []interface{ Kill() }{nginx, openssl} {
		process.Kill()
	}
	silent.Close()
	udp, err := rs.ListenPacket("udp", ":8008")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	waitResults(map[string][2]string{
		"h2": {"down", "refused"}, "redirect": {"down", "refused"}, "dialogue": {"down", "refused"}, "syn": {"down", "refused"},
		"exec": {"down", "exec"}, "agent": {"down", "agent"}, "ping": {"up"},
	})
	rs.CutCable()
	waitResults(map[string][2]string{"ping": {"down", ""}, "agent": {"down", ""}})
}
