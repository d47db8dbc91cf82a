package checker

// Real servers of Debian's packages behind the probes that the lab's tests leave
// out: dnsmasq, and nginx as a mail server.

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// lacking ends a test that needs what this machine does not have: aloud, and with
// LVSD_REQUIRE_KERNEL=1 as a failure.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("LVSD_REQUIRE_KERNEL") == "1" {
		t.Fatalf("%s is missing, and LVSD_REQUIRE_KERNEL=1", what)
	}
	t.Skipf("SKIPPED: %s is missing; LVSD_REQUIRE_KERNEL=1 makes this a failure", what)
}

// start runs a server in the foreground until the test ends, and waits until
// it accepts connections.
func start(t *testing.T, at netip.AddrPort, program string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		lacking(t, program+" (make deps installs it)")
	}
	var said bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for limit := time.Now().Add(patience); ; {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, said.String())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(limit) {
			t.Fatalf("%s does not listen", program)
		}
	}
}

// free is an address that nobody listens on.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestAgainstDnsmasq(t *testing.T) {
	at := free(t)
	start(t, at, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
		"--bind-interfaces", "--listen-address="+at.Addr().String(), fmt.Sprintf("--port=%d", at.Port()),
		"--address=/www.example.org/192.0.2.7", "--mx-host=example.org,mail.example.org,10", "--txt-record=example.org,v=spf1 -all", "--local=/example.org/")
	for _, tt := range []struct {
		name   string
		c      Check
		reason Reason
		detail string
	}{
		{"A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.7"}, OK, "NOERROR"},
		{"A, TCP", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.7", DNSTCP: true}, OK, "NOERROR"},
		{"another A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.8"}, Body, "192.0.2.7"},
		{"MX", Check{DNSName: "example.org", DNSRecord: "MX", DNSAnswer: "10 mail.example.org"}, OK, ""},
		{"TXT", Check{DNSName: "example.org", DNSRecord: "TXT", DNSAnswer: "v=spf1 -all"}, OK, ""},
		{"no such name", Check{DNSName: "no.example.org", DNSRecord: "A"}, Status, "NXDOMAIN"},
		{"no such name, as wanted", Check{DNSName: "no.example.org", DNSRecord: "A", DNSRcode: "NXDOMAIN"}, OK, "NXDOMAIN"},
		{"not its zone", Check{DNSName: "example.com", DNSRecord: "A"}, Status, "REFUSED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type, tt.c.Address = TypeDNS, at
			want(t, once(t, tt.c), tt.reason, PhaseReceive, tt.detail)
		})
	}
}

func TestAgainstAMailServer(t *testing.T) {
	const module = "/usr/lib/nginx/modules/ngx_mail_module.so"
	if _, err := os.Stat(module); err != nil && os.Getenv("LVSD_REQUIRE_KERNEL") == "1" {
		t.Fatalf("%v, and LVSD_REQUIRE_KERNEL=1: make deps installs it", err)
	}
	at, dir, ours := free(t), t.TempDir(), newAuthority(t)
	issued := ours.issue(t, -time.Hour, time.Hour, "mail.example.org").Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issued.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := filepath.Join(dir, "mail.pem")
	conf := filepath.Join(dir, "nginx.conf")
	for name, text := range map[string]string{file: string(both), conf: fmt.Sprintf(`load_module %[4]s;
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
mail {
	server_name mail.example.org;
	auth_http 127.0.0.1:1/;
	server {
		listen %[2]s;
		protocol smtp;
		starttls on;
		ssl_certificate %[3]s;
		ssl_certificate_key %[3]s;
	}
}
`, dir, at, file, module)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, at, "nginx", "-c", conf)
	verify := func(name string, pool *x509.CertPool) *TLSConfig {
		return &TLSConfig{Verify: true, CAs: pool, ServerName: name}
	}
	for _, tt := range []struct {
		name   string
		tls    *TLSConfig
		reason Reason
		phase  string
		detail string
	}{
		{"plain", nil, OK, PhaseReceive, "220 mail.example.org"},
		{"STARTTLS", verify("mail.example.org", ours.pool), OK, PhaseReceive, "220 mail.example.org"},
		{"another name", verify("www.example.org", ours.pool), TLS, PhaseTLS, "x509"},
		{"a foreign authority", verify("mail.example.org", newAuthority(t).pool), TLS, PhaseTLS, "x509"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want(t, once(t, Check{Type: TypeSMTP, Address: at, Helo: "lb1", TLS: tt.tls}), tt.reason, tt.phase, tt.detail)
		})
	}
}
