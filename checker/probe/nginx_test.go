package probe

// nginx and OpenSSL's s_server behind the probes, up and down for every reason that
// they can be brought to.

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/integration/lab"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pemFile writes a certificate with its key.
func pemFile(t *testing.T, dir, name string, c *tls.Config) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificates[0].Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := filepath.Join(dir, name+".pem")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// nginx starts one in dir. Its ports are text, for its configuration.
func nginx(t *testing.T, dir string, at netip.AddrPort, servers string) {
	t.Helper()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
	access_log %[1]s/access.log;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	default_type text/plain;
	root %[1]s;
%[2]s
}
`, dir, servers)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	checktest.StartServer(t, at, "nginx", "-c", conf)
}

func TestAgainstNginx(t *testing.T) {
	dir, ours := t.TempDir(), checktest.NewAuthority(t)
	at, secure, expired, strict, proxied := checktest.FreeAddress(t), checktest.FreeAddress(t), checktest.FreeAddress(t), checktest.FreeAddress(t), checktest.FreeAddress(t)
	authority := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.Cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	const page = "alive, and well"
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	large, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	if err := large.Truncate(8 << 30); err != nil { // a hole: it takes no room
		t.Fatal(err)
	}
	large.Close()
	nginx(t, dir, at, fmt.Sprintf(`
	server {
		listen %[1]s;
		location = /dribble { limit_rate 20; try_files /page =404; }
		location = /slow { proxy_pass http://%[6]s; }
		location = /empty { return 444; }
		location = /broken { return 503 "no database\n"; }
		location = /counters { stub_status; access_log off; }
		location = /old { return 302 /page; }
		location = /circle { return 302 /circle; }
		location / { try_files $uri =404; }
	}
	server {
		listen %[2]s ssl http2;
		ssl_certificate %[7]s; ssl_certificate_key %[7]s;
		ssl_protocols TLSv1.2;
		location / { return 200 "$server_protocol for $ssl_server_name\n"; }
	}
	server { listen %[3]s ssl; ssl_certificate %[8]s; ssl_certificate_key %[8]s; }
	server {
		listen %[4]s ssl;
		ssl_certificate %[7]s; ssl_certificate_key %[7]s;
		ssl_client_certificate %[9]s; ssl_verify_client on;
		location / { return 200 "for $ssl_client_s_dn_legacy\n"; }
	}
	server { listen %[5]s proxy_protocol; location / { return 200 "from $proxy_protocol_addr\n"; } }
`, at, secure, expired, strict, proxied, checktest.Blackhole(t),
		pemFile(t, dir, "good", ours.Issue(t, -time.Hour, time.Hour, "www.example.org")),
		pemFile(t, dir, "past", ours.Issue(t, -2*time.Hour, -time.Hour, "www.example.org")), authority))
	client := ours.Issue(t, -time.Hour, time.Hour, "lb1").Certificates[0]
	verify := func(change func(*TLSConfig)) *TLSConfig {
		c := &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "www.example.org"}
		if change != nil {
			change(c)
		}
		return c
	}
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(page)))
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"up", Check{Path: "/page", BodyExpect: "^alive"}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"HEAD", Check{Path: "/page", Method: "HEAD"}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"digest", Check{Path: "/page", Digest: sum}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"another digest", Check{Path: "/page", Digest: "md5:" + strings.Repeat("0", 32)}, outcome.Body, outcome.PhaseReceive, ""},
		{"a redirection", Check{Path: "/old", FollowRedirects: 1, BodyExpect: "alive"}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"one that is not followed", Check{Path: "/old"}, outcome.Status, outcome.PhaseReceive, "302"},
		{"in circles", Check{Path: "/circle", FollowRedirects: 3}, outcome.Status, outcome.PhaseReceive, "302"},
		{"wrong status", Check{Path: "/broken"}, outcome.Status, outcome.PhaseReceive, "503"},
		{"no such page", Check{Path: "/none"}, outcome.Status, outcome.PhaseReceive, "404"},
		{"wrong body", Check{Path: "/page", BodyExpect: "dead"}, outcome.Body, outcome.PhaseReceive, "alive"},
		{"what must not be there", Check{Path: "/page", ExpectNot: "well"}, outcome.Body, outcome.PhaseReceive, "alive"},
		{"no answer", Check{Path: "/empty"}, outcome.Closed, outcome.PhaseReceive, "no answer"},
		{"slow", Check{Path: "/slow", Timeout: checktest.Hurry}, outcome.Timeout, outcome.PhaseReceive, "no answer"},
		{"dribbling", Check{Path: "/dribble", BodyExpect: "well", Timeout: time.Second}, outcome.Timeout, outcome.PhaseReceive, "HTTP"},
		{"gigabytes, unread", Check{Path: "/large"}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"gigabytes", Check{Path: "/large", BodyExpect: "x"}, outcome.Body, outcome.PhaseReceive, "200 OK"},
		{"gigabytes by digest", Check{Path: "/large", Digest: sum}, outcome.Body, outcome.PhaseReceive, ""},
		{"TLS where there is none", Check{Type: TypeHTTPS, TLS: verify(nil)}, outcome.TLS, outcome.PhaseTLS, "not TLS"},
		{"none where there is TLS", Check{Address: expired}, outcome.Status, outcome.PhaseReceive, "400 Bad Request"},

		{"https", Check{Type: TypeHTTPS, Address: secure, TLS: verify(nil), BodyExpect: "^HTTP/1.1 for www.example.org"}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"HTTP/2", Check{Type: TypeHTTPS, Address: secure, HTTP2: true, TLS: verify(nil), BodyExpect: "^HTTP/2.0"}, outcome.OK, outcome.PhaseReceive, "200"},
		{"HTTP/2 where there is none", Check{Type: TypeHTTPS, Address: strict, HTTP2: true, TLS: verify(nil)}, outcome.TLS, outcome.PhaseTLS, "no application protocol"},
		{"another name", Check{Type: TypeHTTPS, Address: secure, TLS: verify(func(c *TLSConfig) { c.ServerName = "www.example.com" })}, outcome.TLS, outcome.PhaseTLS, "not www.example.com"},
		{"a foreign authority", Check{Type: TypeHTTPS, Address: secure, TLS: verify(func(c *TLSConfig) { c.CAs = checktest.NewAuthority(t).Pool })}, outcome.TLS, outcome.PhaseTLS, "x509"},
		{"the system's authorities", Check{Type: TypeHTTPS, Address: secure, TLS: &TLSConfig{Verify: true, ServerName: "www.example.org"}}, outcome.TLS, outcome.PhaseTLS, "x509"},
		{"too old", Check{Type: TypeHTTPS, Address: secure, TLS: verify(func(c *TLSConfig) { c.MinVersion = "1.3" })}, outcome.TLS, outcome.PhaseTLS, "protocol version"},
		{"expired", Check{Type: TypeHTTPS, Address: expired, TLS: verify(nil)}, outcome.TLS, outcome.PhaseTLS, "expired"},
		{"expired, not verified", Check{Type: TypeHTTPS, Address: expired, TLS: &TLSConfig{}, Path: "/page"}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"a client's certificate", Check{Type: TypeHTTPS, Address: strict, TLS: verify(func(c *TLSConfig) { c.Certificate = &client })}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"without one", Check{Type: TypeHTTPS, Address: strict, TLS: verify(nil)}, outcome.Status, outcome.PhaseReceive, "400 Bad Request"},

		{"PROXY v1", Check{Address: proxied, ProxyProtocol: "v1", BodyExpect: `from 127\.0\.0\.1`}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"PROXY v2", Check{Address: proxied, ProxyProtocol: "v2", BodyExpect: `^from $`}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"without PROXY", Check{Address: proxied}, outcome.Closed, outcome.PhaseReceive, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.c.Type == "" {
				tt.c.Type = TypeHTTP
			}
			if !tt.c.Address.IsValid() {
				tt.c.Address = at
			}
			checktest.Want(t, once(t, tt.c), tt.reason, tt.phase, tt.detail)
		})
	}
	t.Run("half open", func(t *testing.T) {
		lab.RequireRoot(t) // a raw socket
		asker := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		accepts := func() (n int) { // this question included
			answer, err := asker.Get("http://" + at.String() + "/counters")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, _ := io.ReadAll(answer.Body)
			_, after, _ := strings.Cut(string(text), "requests\n")
			fmt.Sscan(after, &n)
			return n
		}
		logged := func() (all string) {
			for _, file := range []string{"access.log", "error.log"} {
				text, _ := os.ReadFile(filepath.Join(dir, file))
				all += string(text)
			}
			return all
		}
		before, log := accepts(), logged()
		for range 20 {
			checktest.Want(t, once(t, Check{Type: TypeSYN, Address: at}), outcome.OK, outcome.PhaseConnect, "")
		}
		if n := accepts() - before; n != 1 {
			t.Errorf("%d connections were accepted", n-1)
		}
		if now := logged(); now != log {
			t.Errorf("nginx wrote of them: %s", now)
		}
		whole := newConnectProbe(&Check{Address: at}) // which is counted
		if out := whole.Probe(t.Context(), time.Now().Add(checktest.Patience)); out.Reason != outcome.OK {
			t.Error(out)
		}
		if n := accepts() - before; n != 3 {
			t.Errorf("a whole connection: %d", n-2)
		}
	})
}

// TestAgainstOpenSSL: what nginx does not do with TLS.
func TestAgainstOpenSSL(t *testing.T) {
	dir, ours := t.TempDir(), checktest.NewAuthority(t)
	good := pemFile(t, dir, "good", ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1"))
	verify := &TLSConfig{Verify: true, CAs: ours.Pool}
	serve := func(t *testing.T, more ...string) netip.AddrPort {
		at := checktest.FreeAddress(t)
		checktest.StartServer(t, at, "openssl", append([]string{"s_server", "-accept", at.String(), "-cert", good, "-key", good, "-quiet", "-rev"}, more...)...)
		return at
	}
	for _, tt := range []struct {
		name   string
		args   []string
		tls    *TLSConfig
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"TLS 1.3", []string{"-tls1_3"}, verify, outcome.OK, outcome.PhaseReceive, "cba"},
		{"TLS 1.2", []string{"-tls1_2"}, verify, outcome.OK, outcome.PhaseReceive, "cba"},
		{"TLS 1.2 where 1.3 is wanted", []string{"-tls1_2"}, &TLSConfig{Verify: true, CAs: ours.Pool, MinVersion: "1.3"}, outcome.TLS, outcome.PhaseTLS, "protocol version"},
		{"an unsupported cipher", []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-CCM8"}, verify, outcome.TLS, outcome.PhaseTLS, "handshake failure"},
		{"a curve of its own", []string{"-tls1_3", "-groups", "P-521"}, verify, outcome.OK, outcome.PhaseReceive, "cba"},
		{"wants a certificate", []string{"-tls1_2", "-Verify", "1", "-verify_return_error"}, verify, outcome.TLS, outcome.PhaseTLS, "handshake failure"},
		{"a foreign certificate", nil, &TLSConfig{Verify: true}, outcome.TLS, outcome.PhaseTLS, "x509"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := serve(t, tt.args...)
			c := Check{Type: TypeTCP, Address: at, TLS: tt.tls, Send: "abc\n", Expect: "^cba"}
			checktest.Want(t, once(t, c), tt.reason, tt.phase, tt.detail)
		})
	}
	t.Run("no TLS to it", func(t *testing.T) {
		checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: serve(t)}), outcome.Closed, outcome.PhaseReceive, "no answer")
	})
}
