package checker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestHTTP(t *testing.T) {
	endless := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head)
			for b := []byte(strings.Repeat("a: b\r\n", 4<<10)); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}
	}
	dribbling := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			readRequest(c)
			io.WriteString(c, head)
			for {
				if _, err := io.WriteString(c, "y"); err != nil {
					return
				}
				pause(c, 20*time.Millisecond)
			}
		}
	}
	hanging := func(head string) func(net.Conn) {
		return func(c net.Conn) { readRequest(c); io.WriteString(c, head); io.Copy(io.Discard, c) }
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		serve  func(net.Conn)
		vary   func(*Check)
		reason Reason
		detail string
	}{
		{"ok", answering(ok + "\r\n"), nil, OK, "200 OK"},
		{"the body is not read", hanging(ok + "Content-Length: 9\r\n\r\n"), nil, OK, "200 OK"},
		{"wrong status", answering("HTTP/1.1 503 Service Unavailable\r\n\r\n"), nil, Status, "503 Service Unavailable"},
		{"wrong status, and the body never comes", hanging("HTTP/1.1 500 no\r\nContent-Length: 3\r\n\r\n"),
			func(c *Check) { c.BodyExpect = "x" }, Status, "500 no"},
		{"a status that is asked for", answering("HTTP/1.1 301 Moved\r\n\r\n"),
			func(c *Check) { c.Status = []StatusRange{{200, 200}, {300, 399}} }, OK, "301 Moved"},
		{"200 where it is not asked for", answering(ok + "\r\n"), func(c *Check) { c.Status = []StatusRange{{204, 204}} }, Status, "200 OK"},
		{"body", answering(ok + "Content-Length: 5\r\n\r\nalive and more"), func(c *Check) { c.BodyExpect = "^alive$" }, OK, "200 OK"},
		{"body to the end", answering("HTTP/1.0 200 OK\r\n\r\nalive"), func(c *Check) { c.BodyExpect = "^alive$" }, OK, "200 OK"},
		{"chunked body", answering(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nal\r\n3;x=y\r\nive\r\n0\r\nT: r\r\n\r\n"),
			func(c *Check) { c.BodyExpect = "^alive$" }, OK, "200 OK"},
		{"wrong body", answering(ok + "Content-Length: 4\r\n\r\ndea\x01"), func(c *Check) { c.BodyExpect = "alive" }, Body, `200 OK, body "dea\x01"`},
		{"no body", answering(ok + "Content-Length: 0\r\n\r\n"), func(c *Check) { c.BodyExpect = "." }, Body, `body ""`},
		{"body cut short", answering(ok + "Content-Length: 9\r\n\r\nalive"), func(c *Check) { c.BodyExpect = "alive" }, Closed, "200 OK"},
		{"chunks cut short", answering(ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nalive"), func(c *Check) { c.BodyExpect = "alive" }, Closed, "200 OK"},
		{"head cut short", answering("HTTP/1.1 200 OK\r\nServ"), nil, Closed, `200 OK\r\nServ`},
		{"HEAD", answering(ok + "Content-Length: 5\r\n\r\n"), func(c *Check) { c.Method, c.BodyExpect = "HEAD", "^$" }, OK, "200 OK"},
		{"interim answers", answering("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "\r\n"), nil, OK, "200 OK"},
		{"closed at once", func(c net.Conn) { readRequest(c) }, nil, Closed, "no answer"},
		{"silent", hanging(""), nil, Timeout, "no answer"},
		{"hangs in the head", hanging("HTTP/1.1 2"), nil, Timeout, `"HTTP/1.1 2"`},
		{"dribbles the head", dribbling(ok + "X-"), nil, Timeout, "200 OK"},
		{"dribbles the body", dribbling(ok + "\r\n"), func(c *Check) { c.BodyExpect = "alive" }, Timeout, "200 OK"},
		{"dribbles what is expected", dribbling(ok + "\r\nalive"), func(c *Check) { c.BodyExpect = "alive" }, Timeout, "200 OK"},
		{"gigabytes of head", endless(ok), nil, Protocol, "16384 bytes"},
		{"gigabytes of body, unread", endless(ok + "\r\n"), nil, OK, "200 OK"},
		{"gigabytes of body", endless(ok + "\r\n"), func(c *Check) { c.BodyExpect = "alive" }, Body, `a: b`},
		{"garbage", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); io.Copy(io.Discard, c) }, nil, Protocol, `"SSH-2.0-OpenSSH_9.2`},
		{"binary garbage", hanging("\x15\x03\x01\x00\x02\x02\x16"), nil, Protocol, `\x15\x03`},
		{"a status of four digits", answering("HTTP/1.1 2000 OK\r\n\r\n"), nil, Protocol, "2000"},
		{"reset", func(c net.Conn) { readRequest(c); c.(*net.TCPConn).SetLinger(0) }, nil, Reset, "reset by peer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeHTTP, Address: server(t, tt.serve)}
			if tt.reason == Timeout {
				c.Timeout = hurry
			}
			if tt.vary != nil {
				tt.vary(&c)
			}
			want(t, once(t, c), tt.reason, PhaseReceive, tt.detail)
		})
	}
	want(t, once(t, Check{Type: TypeHTTP, Address: refusing(t)}), Refused, PhaseConnect, "")
	want(t, once(t, Check{Type: TypeHTTP, Address: blackhole(t), Timeout: hurry}), Timeout, PhaseConnect, "")
}

func TestRequest(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("10.0.0.9:8080"), netip.MustParseAddrPort("[fe80::1%eth0]:80")
	common := "Accept: */*\r\nConnection: close\r\nUser-Agent: lvsd\r\n\r\n"
	tests := []struct {
		c    Check
		want string
	}{
		{Check{Type: TypeHTTP, Address: v4}, "GET / HTTP/1.1\r\nHost: 10.0.0.9:8080\r\n" + common},
		{Check{Type: TypeHTTP, Address: v6}, "GET / HTTP/1.1\r\nHost: [fe80::1]\r\n" + common},
		{Check{Type: TypeHTTPS, Address: v6}, "GET / HTTP/1.1\r\nHost: [fe80::1]:80\r\n" + common},
		{Check{Type: TypeHTTP, Address: v4, Method: "HEAD", Path: "/healthz?a=b", Host: "www.example.org"},
			"HEAD /healthz?a=b HTTP/1.1\r\nHost: www.example.org\r\n" + common},
		{Check{Type: TypeHTTP, Address: v4, Headers: map[string]string{"user-agent": "me", "X-B": "2", "X-A": "1", "host": "h"}},
			"GET / HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nConnection: close\r\nX-A: 1\r\nX-B: 2\r\nuser-agent: me\r\n\r\n"},
		{Check{Type: TypeHTTP, Address: v4, Method: "POST"},
			"POST / HTTP/1.1\r\nHost: 10.0.0.9:8080\r\nAccept: */*\r\nConnection: close\r\nContent-Length: 0\r\nUser-Agent: lvsd\r\n\r\n"},
	}
	for _, tt := range tests {
		got, err := requestOf(&tt.c)
		if err != nil || string(got.bytes()) != tt.want {
			t.Errorf("got %+v, %v\nwant %q", got, err, tt.want)
		}
	}
	// A real server understands it.
	seen := make(chan *http.Request, 2) // one in the loop and one beside it
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r; io.WriteString(w, "fine") }))
	defer s.Close()
	to := netip.MustParseAddrPort(s.Listener.Addr().String())
	want(t, once(t, Check{Type: TypeHTTP, Address: to, Path: "/x", Host: "a.b", BodyExpect: "^fine$"}), OK, PhaseReceive, "200 OK")
	for range 2 {
		if r := <-seen; r.Host != "a.b" || r.URL.Path != "/x" || r.UserAgent() != "lvsd" || !r.Close {
			t.Errorf("the server saw %+v", r)
		}
	}
}

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	model := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, model, model, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(t *testing.T, from, to time.Duration, names ...string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	model := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			model.IPAddresses = append(model.IPAddresses, ip)
		} else {
			model.DNSNames = append(model.DNSNames, name)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, model, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
}

func TestHTTPS(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	secure := func(cfg *tls.Config, serve func(net.Conn)) netip.AddrPort {
		return server(t, func(c net.Conn) {
			s := tls.Server(c, cfg)
			if s.Handshake() == nil {
				serve(s)
				s.Close()
			}
		})
	}
	alive := answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")
	good := ours.issue(t, -time.Hour, time.Hour, "www.example.org", "127.0.0.1")
	strict := good.Clone()
	strict.ClientAuth = tls.RequireAnyClientCert
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	verify := &TLSConfig{Verify: true, CAs: ours.pool}
	tests := []struct {
		name   string
		to     netip.AddrPort
		vary   func(*Check)
		reason Reason
		phase  string
		detail string
	}{
		{"by address", secure(good, alive), nil, OK, PhaseReceive, "200 OK"},
		{"by host", secure(good, alive), func(c *Check) { c.Host = "www.example.org:8443" }, OK, PhaseReceive, "200 OK"},
		{"by server name", secure(good, alive), func(c *Check) {
			c.Host, c.TLS = "other", &TLSConfig{Verify: true, CAs: ours.pool, ServerName: "www.example.org"}
		}, OK, PhaseReceive, "200 OK"},
		{"body", secure(good, alive), func(c *Check) { c.BodyExpect = "^alive$" }, OK, PhaseReceive, "200 OK"},
		{"another name", secure(good, alive), func(c *Check) { c.Host = "www.example.com" }, TLS, PhaseTLS, "not www.example.com"},
		{"foreign", secure(foreign.issue(t, -time.Hour, time.Hour, "127.0.0.1"), alive), nil, TLS, PhaseTLS, "unknown authority"},
		{"foreign to the system", secure(good, alive), func(c *Check) { c.TLS = nil }, TLS, PhaseTLS, "x509"},
		{"expired", secure(ours.issue(t, -2*time.Hour, -time.Hour, "127.0.0.1"), alive), nil, TLS, PhaseTLS, "expired"},
		{"not yet", secure(ours.issue(t, time.Hour, 2*time.Hour, "127.0.0.1"), alive), nil, TLS, PhaseTLS, "not yet valid"},
		{"unverified", secure(foreign.issue(t, -2*time.Hour, -time.Hour, "x"), alive), func(c *Check) { c.TLS = &TLSConfig{} }, OK, PhaseReceive, "200 OK"},
		{"too old a version", secure(old, alive), nil, TLS, PhaseTLS, "protocol version"},
		{"asks for a certificate", secure(strict, alive), nil, TLS, "", "certificate required"},
		{"no TLS", server(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n"); io.Copy(io.Discard, c) }), nil, TLS, PhaseTLS, `not TLS: "HTTP/"`},
		{"hangs in the handshake", server(t, func(c net.Conn) { io.Copy(io.Discard, c) }), func(c *Check) { c.Timeout = hurry }, Timeout, PhaseTLS, "no answer"},
		{"dribbles in the handshake", server(t, func(c net.Conn) {
			io.WriteString(c, "\x16\x03\x03\x40\x00")
			for {
				if _, err := c.Write([]byte{2}); err != nil {
					return
				}
				pause(c, 20*time.Millisecond)
			}
		}), func(c *Check) { c.Timeout = hurry }, Timeout, PhaseTLS, ""},
		{"closes in the handshake", server(t, func(c net.Conn) { c.Read(make([]byte, 4096)) }), nil, Closed, PhaseTLS, ""},
		{"wrong status", secure(good, answering("HTTP/1.1 500 Oops\r\n\r\n")), nil, Status, PhaseReceive, "500 Oops"},
		{"cut short without a farewell", server(t, func(c net.Conn) {
			s := tls.Server(c, good)
			readRequest(s)
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nali")
		}), func(c *Check) { c.BodyExpect = "alive" }, Closed, PhaseReceive, "200 OK"},
		{"refused", refusing(t), nil, Refused, PhaseConnect, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeHTTPS, Address: tt.to, TLS: verify}
			if tt.vary != nil {
				tt.vary(&c)
			}
			got := once(t, c)
			if tt.phase == "" { // in TLS 1.3 a client learns late that it is not wanted
				got.Phase = ""
			}
			want(t, got, tt.reason, tt.phase, tt.detail)
		})
	}
}

func TestReasonOfErrno(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Reason
	}{
		{io.EOF, Closed}, {io.ErrUnexpectedEOF, Closed}, {fmt.Errorf("x: %w", io.EOF), Closed},
		{errnoError("ECONNREFUSED"), Refused}, {errnoError("ETIMEDOUT"), Timeout}, {errnoError("ECONNRESET"), Reset},
		{errnoError("EPIPE"), Reset}, {errnoError("EHOSTUNREACH"), Unreachable}, {errnoError("ENETUNREACH"), Unreachable},
		{errnoError("EMFILE"), Local}, {errnoError("ENFILE"), Local}, {errnoError("ENOBUFS"), Local}, {errnoError("ENOMEM"), Local},
		{errnoError("EADDRNOTAVAIL"), Local}, {errnoError("EADDRINUSE"), Local}, {errnoError("EPERM"), Local},
		{errnoError("EACCES"), Local}, {errnoError("EINVAL"), Local}, {errnoError("ENODEV"), Local},
	} {
		if got := ReasonOf(tt.err); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 5, ""}, {"abc", 3, "abc"}, {"abcd", 3, "..."}, {"abcdef", 5, "ab..."}, {"a\x00b", 9, `a\x00b`},
		{"\r\n\t\"\\", 20, `\r\n\t"\`}, {"aé", 20, `a\xc3\xa9`}, {"\x00\x00", 7, `\x00...`}, {"\x00\x00", 6, "..."}, {"\x00\x00", 8, `\x00\x00`},
	} {
		if got := Printable(tt.in, tt.limit); got != tt.want || len(got) > tt.limit {
			t.Errorf("%q in %d bytes is %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}
