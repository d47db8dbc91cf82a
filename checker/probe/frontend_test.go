package probe

import (
	"crypto/tls"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// prefaces are what servers send before TLS, each but the first after a message of the
// client. The other kinds begin with TLS.
var prefaces = map[string][]string{
	TypeSMTP:   {"220 ready\r\n", "250-mail\r\n250 STARTTLS\r\n", "220 go\r\n"},
	TypeTCP:    {"220 ready\r\n", "220 go\r\n"},
	"imap":     {"* OK ready\r\n", "a OK go\r\n"},
	"pop3":     {"+OK ready\r\n", "+OK go\r\n"},
	"ftp":      {"220 ready\r\n", "234 go\r\n"},
	"nntp":     {"200 ready\r\n", "382 go\r\n"},
	"ldap":     {"", "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"},
	"postgres": {"", "S"},
	"mysql":    {string(byte(len(mysqlGreeting))) + "\x00\x00\x00" + mysqlGreeting},
}

const mysqlGreeting = "\x0a5.5.5-10.11\x00\x01\x00\x00\x0012345678\x00\xfe\xff\x2d\x02\x00\xff\x81\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"123456789012\x00mysql_native_password\x00"

// TestEveryKindInTLS: each kind that can speak TLS sends the PROXY header first, then
// offers the protocol and shows the certificate that the check has; a server that demands a
// certificate and gets none has failed, also with TLS 1.3, in which it says so late.
func TestEveryKindInTLS(t *testing.T) {
	ours := checktest.NewAuthority(t)
	client := ours.Issue(t, -time.Hour, time.Hour, "lb1.example.org").Certificates[0]
	kinds := []string{TypeHTTPS, TypeGRPC, "imaps", "pop3s", "ldaps", "redis", "memcached", "amqp", "rtsp", TypeSIP}
	for kind := range prefaces {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			config := ours.Issue(t, -time.Hour, time.Hour, "server.example.org")
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, ours.Pool
			offered := "lvsd-test"
			switch kind {
			case TypeHTTPS:
				offered = "http/1.1"
			case TypeGRPC:
				offered = "h2"
			}
			config.NextProtos = []string{offered}
			seen := make(chan tls.ConnectionState, 2)
			to := checktest.Serve(t, func(c net.Conn) {
				defer c.Close()
				if line := readLine(c); !strings.HasPrefix(line, "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
					t.Errorf("the connection begins with %q", line)
					return
				}
				for i, text := range prefaces[kind] {
					if i > 0 {
						if _, err := c.Read(make([]byte, 4096)); err != nil {
							t.Error(err)
							return
						}
					}
					io.WriteString(c, text)
				}
				if kind == "mysql" && !read(c, make([]byte, 36)) {
					return
				}
				s := tls.Server(c, config)
				if s.Handshake() == nil {
					s.Close()
				} else {
					io.Copy(io.Discard, c)
				}
				seen <- s.ConnectionState()
			})
			c := Check{Type: kind, Address: to, ProxyProtocol: "v1", DNSTCP: true, Dialogue: &settings{User: "lvsd", Password: "x"},
				TLS: &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "server.example.org", Certificate: &client, ALPN: "lvsd-test"}}
			if kind == TypeTCP {
				c.Steps = []Step{{Expect: "^220 "}, {Send: "STARTTLS\r\n", Expect: "^220 "}, {StartTLS: true}, {Expect: "^220 "}}
			}
			once(t, c)
			state := <-seen
			if !state.HandshakeComplete || state.NegotiatedProtocol != offered || len(state.PeerCertificates) != 1 || state.PeerCertificates[0].DNSNames[0] != "lb1.example.org" {
				t.Errorf("handshake %v, protocol %q, certificates %v", state.HandshakeComplete, state.NegotiatedProtocol, state.PeerCertificates)
			}
			c.TLS = &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "server.example.org", ALPN: "lvsd-test"}
			if out := once(t, c); out.Reason != outcome.TLS || !strings.Contains(out.Detail, "certificate required") {
				t.Errorf("without a certificate: %s %s", out.Reason, out.Detail)
			}
			if state := <-seen; state.HandshakeComplete {
				t.Error("the server accepts no certificate")
			}
		})
	}
}

// readLine reads a line, and nothing after it.
func readLine(c net.Conn) string {
	line, b := "", make([]byte, 1)
	for !strings.HasSuffix(line, "\n") && read(c, b) {
		line += string(b)
	}
	return line
}
