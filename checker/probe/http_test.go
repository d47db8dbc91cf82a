package probe

import (
	"crypto/tls"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHTTP(t *testing.T) {
	endless := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			checktest.ReadRequest(c)
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
			checktest.ReadRequest(c)
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
		return func(c net.Conn) { checktest.ReadRequest(c); io.WriteString(c, head); io.Copy(io.Discard, c) }
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		serve  func(net.Conn)
		vary   func(*Check)
		reason outcome.Reason
		detail string
	}{
		{"ok", checktest.Answering(ok + "\r\n"), nil, outcome.OK, "200 OK"},
		{"the body never comes", hanging(ok + "Content-Length: 9\r\n\r\n"), nil, outcome.Timeout, "200 OK"},
		{"the body is not read", hanging(ok + "Content-Length: 9\r\n\r\n"), func(c *Check) { c.ReadLimit = -1 }, outcome.OK, "200 OK"},
		{"the body is cut short", checktest.Answering(ok + "Content-Length: 9\r\n\r\nalive"), nil, outcome.Closed, "200 OK"},
		{"the chunks are broken", checktest.Answering(ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), nil, outcome.Protocol, "chunk size"},
		{"beyond the limit", checktest.Answering(ok + "Content-Length: 9\r\n\r\nnot alive"), func(c *Check) { c.BodyExpect, c.ReadLimit = "alive", 5 }, outcome.Body, `200 OK, body of more than 5 bytes (read_limit) "not a"`},
		{"lenient", checktest.Answering("HTTP/1.1  200 OK\r\nnonsense\r\nX: " + strings.Repeat("x", 20<<10) + "\r\nContent-Length: 5, 5\r\n\r\nalive"),
			func(c *Check) { c.BodyExpect = "^alive$" }, outcome.OK, "200 OK"},
		{"wrong status", checktest.Answering("HTTP/1.1 503 Service Unavailable\r\n\r\n"), nil, outcome.Status, "503 Service Unavailable"},
		{"wrong status, and the body never comes", hanging("HTTP/1.1 500 no\r\nContent-Length: 3\r\n\r\n"),
			func(c *Check) { c.BodyExpect = "x" }, outcome.Status, "500 no"},
		{"a status that is asked for", checktest.Answering("HTTP/1.1 301 Moved\r\n\r\n"),
			func(c *Check) { c.Status = []StatusRange{{200, 200}, {300, 399}} }, outcome.OK, "301 Moved"},
		{"200 where it is not asked for", checktest.Answering(ok + "\r\n"), func(c *Check) { c.Status = []StatusRange{{204, 204}} }, outcome.Status, "200 OK"},
		{"body", checktest.Answering(ok + "Content-Length: 5\r\n\r\nalive and more"), func(c *Check) { c.BodyExpect = "^alive$" }, outcome.OK, "200 OK"},
		{"body to the end", checktest.Answering("HTTP/1.0 200 OK\r\n\r\nalive"), func(c *Check) { c.BodyExpect = "^alive$" }, outcome.OK, "200 OK"},
		{"chunked body", checktest.Answering(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nal\r\n3;x=y\r\nive\r\n0\r\nT: r\r\n\r\n"),
			func(c *Check) { c.BodyExpect = "^alive$" }, outcome.OK, "200 OK"},
		{"wrong body", checktest.Answering(ok + "Content-Length: 4\r\n\r\ndea\x01"), func(c *Check) { c.BodyExpect = "alive" }, outcome.Body, `200 OK, body "dea\x01"`},
		{"no body", checktest.Answering(ok + "Content-Length: 0\r\n\r\n"), func(c *Check) { c.BodyExpect = "." }, outcome.Body, `body ""`},
		{"body cut short", checktest.Answering(ok + "Content-Length: 9\r\n\r\nalive"), func(c *Check) { c.BodyExpect = "alive" }, outcome.Closed, "200 OK"},
		{"chunks cut short", checktest.Answering(ok + "Transfer-Encoding: chunked\r\n\r\n9\r\nalive"), func(c *Check) { c.BodyExpect = "alive" }, outcome.Closed, "200 OK"},
		{"head cut short", checktest.Answering("HTTP/1.1 200 OK\r\nServ"), nil, outcome.Closed, `200 OK\r\nServ`},
		{"HEAD", checktest.Answering(ok + "Content-Length: 5\r\n\r\n"), func(c *Check) { c.Method, c.BodyExpect = "HEAD", "^$" }, outcome.OK, "200 OK"},
		{"interim answers", checktest.Answering("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "\r\n"), nil, outcome.OK, "200 OK"},
		{"closed at once", func(c net.Conn) { checktest.ReadRequest(c) }, nil, outcome.Closed, "no answer"},
		{"silent", hanging(""), nil, outcome.Timeout, "no answer"},
		{"hangs in the head", hanging("HTTP/1.1 2"), nil, outcome.Timeout, `"HTTP/1.1 2"`},
		{"dribbles the head", dribbling(ok + "X-"), nil, outcome.Timeout, "200 OK"},
		{"dribbles the body", dribbling(ok + "\r\n"), func(c *Check) { c.BodyExpect = "alive" }, outcome.Timeout, "200 OK"},
		{"dribbles what is expected", dribbling(ok + "\r\nalive"), func(c *Check) { c.BodyExpect = "alive" }, outcome.Timeout, "200 OK"},
		{"gigabytes of head", endless(ok), nil, outcome.Protocol, "262144 bytes"},
		{"gigabytes of body, unread", endless(ok + "\r\n"), nil, outcome.OK, "200 OK"},
		{"gigabytes of body", endless(ok + "\r\n"), func(c *Check) { c.BodyExpect = "alive" }, outcome.Body, `a: b`},
		{"garbage", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); io.Copy(io.Discard, c) }, nil, outcome.Protocol, `"SSH-2.0-OpenSSH_9.2`},
		{"binary garbage", hanging("\x15\x03\x01\x00\x02\x02\x16"), nil, outcome.Protocol, `\x15\x03`},
		{"a status of four digits", checktest.Answering("HTTP/1.1 2000 OK\r\n\r\n"), nil, outcome.Protocol, "2000"},
		{"reset", func(c net.Conn) { checktest.ReadRequest(c); c.(*net.TCPConn).SetLinger(0) }, nil, outcome.Reset, "reset by peer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeHTTP, Address: checktest.Serve(t, tt.serve)}
			if tt.reason == outcome.Timeout {
				c.Timeout = checktest.Hurry
			}
			if tt.vary != nil {
				tt.vary(&c)
			}
			checktest.Want(t, once(t, c), tt.reason, outcome.PhaseReceive, tt.detail)
		})
	}
	checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: checktest.Refusing(t)}), outcome.Refused, outcome.PhaseConnect, "")
	checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: checktest.Blackhole(t), Timeout: checktest.Hurry}), outcome.Timeout, outcome.PhaseConnect, "")
}

// TestHTTPDisturbsNoServer: a server can send its whole response, also where nothing is
// expected of it or its status decides, and sees the connection end without a reset.
func TestHTTPDisturbsNoServer(t *testing.T) {
	for _, tt := range []struct {
		status string
		c      Check
		want   outcome.Reason
	}{
		{"200 OK", Check{}, outcome.OK},
		{"404 Not Found", Check{Response: &Response{DrainStatus: []StatusRange{{404, 404}}}}, outcome.OK},
		{"503 Busy", Check{}, outcome.Status},
		{"503 Busy\r\nConnection: keep-alive", Check{}, outcome.Status},
	} {
		ended := make(chan error, 2) // in the loop and outside of it
		tt.c.Type, tt.c.Address = TypeHTTP, checktest.Serve(t, func(c net.Conn) { ended <- respondSlowly(c, tt.status) })
		checktest.Want(t, once(t, tt.c), tt.want, outcome.PhaseReceive, tt.status[:6])
		for range 2 {
			if err := <-ended; err != io.EOF {
				t.Errorf("%s: the server sees %v", tt.status, err)
			}
		}
	}
}

// respondSlowly sends a response of 100 KB in several pieces, of which the last leaves
// together with the FIN, and returns how the connection ended.
func respondSlowly(c net.Conn, status string) error {
	checktest.ReadRequest(c)
	for _, s := range []string{"HTTP/1.1 " + status + "\r\nContent-Length: 102400\r\n\r\n", strings.Repeat("x", 51200)} {
		io.WriteString(c, s)
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
	if err == nil {
		_, err = io.WriteString(c, strings.Repeat("x", 51200))
	}
	if err == nil {
		err = c.(*net.TCPConn).CloseWrite()
	}
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return err
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
		if err != nil || string(got.Bytes()) != tt.want {
			t.Errorf("got %+v, %v\nwant %q", got, err, tt.want)
		}
	}
	// A real server accepts it.
	seen := make(chan *http.Request, 2) // one in the loop and one beside it
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r; io.WriteString(w, "fine") }))
	defer s.Close()
	to := netip.MustParseAddrPort(s.Listener.Addr().String())
	checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: to, Path: "/x", Host: "a.b", BodyExpect: "^fine$"}), outcome.OK, outcome.PhaseReceive, "200 OK")
	for range 2 {
		if r := <-seen; r.Host != "a.b" || r.URL.Path != "/x" || r.UserAgent() != "lvsd" || !r.Close {
			t.Errorf("the server saw %+v", r)
		}
	}
}

func TestHTTPS(t *testing.T) {
	ours, foreign := checktest.NewAuthority(t), checktest.NewAuthority(t)
	secure := func(cfg *tls.Config, serve func(net.Conn)) netip.AddrPort {
		return checktest.Serve(t, func(c net.Conn) {
			s := tls.Server(c, cfg)
			if s.Handshake() == nil {
				serve(s)
				s.Close()
			}
		})
	}
	alive := checktest.Answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive")
	good := ours.Issue(t, -time.Hour, time.Hour, "www.example.org", "127.0.0.1")
	strict := good.Clone()
	strict.ClientAuth = tls.RequireAnyClientCert
	old := good.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	verify := &TLSConfig{Verify: true, CAs: ours.Pool}
	tests := []struct {
		name   string
		to     netip.AddrPort
		vary   func(*Check)
		reason outcome.Reason
		phase  string
		detail string
	}{
		{"by address", secure(good, alive), nil, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"by host", secure(good, alive), func(c *Check) { c.Host = "www.example.org:8443" }, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"by server name", secure(good, alive), func(c *Check) {
			c.Host, c.TLS = "other", &TLSConfig{Verify: true, CAs: ours.Pool, ServerName: "www.example.org"}
		}, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"body", secure(good, alive), func(c *Check) { c.BodyExpect = "^alive$" }, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"another name", secure(good, alive), func(c *Check) { c.Host = "www.example.com" }, outcome.TLS, outcome.PhaseTLS, "not www.example.com"},
		{"foreign", secure(foreign.Issue(t, -time.Hour, time.Hour, "127.0.0.1"), alive), nil, outcome.TLS, outcome.PhaseTLS, "unknown authority"},
		{"foreign to the system", secure(good, alive), func(c *Check) { c.TLS = nil }, outcome.TLS, outcome.PhaseTLS, "x509"},
		{"expired", secure(ours.Issue(t, -2*time.Hour, -time.Hour, "127.0.0.1"), alive), nil, outcome.TLS, outcome.PhaseTLS, "expired"},
		{"not yet", secure(ours.Issue(t, time.Hour, 2*time.Hour, "127.0.0.1"), alive), nil, outcome.TLS, outcome.PhaseTLS, "not yet valid"},
		{"unverified", secure(foreign.Issue(t, -2*time.Hour, -time.Hour, "x"), alive), func(c *Check) { c.TLS = &TLSConfig{} }, outcome.OK, outcome.PhaseReceive, "200 OK"},
		{"too old a version", secure(old, alive), nil, outcome.TLS, outcome.PhaseTLS, "protocol version"},
		{"asks for a certificate", secure(strict, alive), nil, outcome.TLS, "", "certificate required"},
		{"no TLS", checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n"); io.Copy(io.Discard, c) }), nil, outcome.TLS, outcome.PhaseTLS, `not TLS: "HTTP/"`},
		{"hangs in the handshake", checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }), func(c *Check) { c.Timeout = checktest.Hurry }, outcome.Timeout, outcome.PhaseTLS, "no answer"},
		{"dribbles in the handshake", checktest.Serve(t, func(c net.Conn) {
			io.WriteString(c, "\x16\x03\x03\x40\x00")
			for {
				if _, err := c.Write([]byte{2}); err != nil {
					return
				}
				pause(c, 20*time.Millisecond)
			}
		}), func(c *Check) { c.Timeout = checktest.Hurry }, outcome.Timeout, outcome.PhaseTLS, ""},
		{"closes in the handshake", checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 4096)) }), nil, outcome.Closed, outcome.PhaseTLS, ""},
		{"wrong status", secure(good, checktest.Answering("HTTP/1.1 500 Oops\r\n\r\n")), nil, outcome.Status, outcome.PhaseReceive, "500 Oops"},
		{"cut short without a farewell", checktest.Serve(t, func(c net.Conn) {
			s := tls.Server(c, good)
			checktest.ReadRequest(s)
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nali")
		}), func(c *Check) { c.BodyExpect = "alive" }, outcome.Closed, outcome.PhaseReceive, "200 OK"},
		{"refused", checktest.Refusing(t), nil, outcome.Refused, outcome.PhaseConnect, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeHTTPS, Address: tt.to, TLS: verify}
			if tt.vary != nil {
				tt.vary(&c)
			}
			got := once(t, c)
			if tt.phase == "" { // in TLS 1.3 a client learns late that it is refused
				got.Phase = ""
			}
			checktest.Want(t, got, tt.reason, tt.phase, tt.detail)
		})
	}
}
