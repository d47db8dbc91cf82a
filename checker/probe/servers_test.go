package probe

// Real servers of Debian's packages behind the probes that the lab's tests leave
// out: dnsmasq, and nginx as a mail server.

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/integration/lab"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAgainstDnsmasq(t *testing.T) {
	at := checktest.FreeAddress(t)
	checktest.StartServer(t, at, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
		"--bind-interfaces", "--listen-address="+at.Addr().String(), fmt.Sprintf("--port=%d", at.Port()),
		"--address=/www.example.org/192.0.2.7", "--mx-host=example.org,mail.example.org,10", "--txt-record=example.org,v=spf1 -all", "--local=/example.org/")
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		detail string
	}{
		{"A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.7"}, outcome.OK, "NOERROR"},
		{"A, TCP", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.7", DNSTCP: true}, outcome.OK, "NOERROR"},
		{"another A", Check{DNSName: "www.example.org", DNSRecord: "A", DNSAnswer: "192.0.2.8"}, outcome.Body, "192.0.2.7"},
		{"MX", Check{DNSName: "example.org", DNSRecord: "MX", DNSAnswer: "10 mail.example.org"}, outcome.OK, ""},
		{"TXT", Check{DNSName: "example.org", DNSRecord: "TXT", DNSAnswer: "v=spf1 -all"}, outcome.OK, ""},
		{"no such name", Check{DNSName: "no.example.org", DNSRecord: "A"}, outcome.Status, "NXDOMAIN"},
		{"no such name, as wanted", Check{DNSName: "no.example.org", DNSRecord: "A", DNSRcode: "NXDOMAIN"}, outcome.OK, "NXDOMAIN"},
		{"not its zone", Check{DNSName: "example.com", DNSRecord: "A"}, outcome.Status, "REFUSED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type, tt.c.Address = TypeDNS, at
			checktest.Want(t, once(t, tt.c), tt.reason, outcome.PhaseReceive, tt.detail)
		})
	}
}

func TestAgainstAMailServer(t *testing.T) {
	const module = "/usr/lib/nginx/modules/ngx_mail_module.so"
	_, err := os.Stat(module)
	lab.Require(t, err) // make deps installs it
	at, dir, ours := checktest.FreeAddress(t), t.TempDir(), checktest.NewAuthority(t)
	issued := ours.Issue(t, -time.Hour, time.Hour, "mail.example.org").Certificates[0]
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
	checktest.StartServer(t, at, "nginx", "-c", conf)
	verify := func(name string, pool *x509.CertPool) *TLSConfig {
		return &TLSConfig{Verify: true, CAs: pool, ServerName: name}
	}
	for _, tt := range []struct {
		name   string
		tls    *TLSConfig
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"plain", nil, outcome.OK, outcome.PhaseReceive, "220 mail.example.org"},
		{"STARTTLS", verify("mail.example.org", ours.Pool), outcome.OK, outcome.PhaseReceive, "220 mail.example.org"},
		{"another name", verify("www.example.org", ours.Pool), outcome.TLS, outcome.PhaseTLS, "x509"},
		{"a foreign authority", verify("mail.example.org", checktest.NewAuthority(t).Pool), outcome.TLS, outcome.PhaseTLS, "x509"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checktest.Want(t, once(t, Check{Type: TypeSMTP, Address: at, Helo: "lb1", TLS: tt.tls}), tt.reason, tt.phase, tt.detail)
		})
	}
}
