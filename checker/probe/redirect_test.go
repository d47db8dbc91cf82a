package probe

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// web is a server of the standard library, in plain text or in TLS, that speaks
// HTTP/2 too.
func web(t *testing.T, secure *tls.Config, h http.Handler) netip.AddrPort {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP2(true)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure != nil {
		s.TLS = secure
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// site replies in the ways that the tests ask for by path.
func site() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s by %s %s", r.Proto, r.Method, r.Host, r.Header.Get("Authorization"), b)
	})
	m.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("0123456789", 100_000))
	})
	m.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 1<<20); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})
	m.HandleFunc("/to/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("l"))
		w.WriteHeader(302)
	})
	m.HandleFunc("/keep", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect) })
	m.HandleFunc("/bad", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
	return m
}

func TestWeb(t *testing.T) {
	ours := checktest.NewAuthority(t)
	plain := web(t, nil, site())
	safe := web(t, ours.Issue(t, -1e12, 3600e9, "127.0.0.1", "www.example.org"), site())
	verify := &TLSConfig{Verify: true, CAs: ours.Pool}
	big := strings.Repeat("0123456789", 100_000)
	sha := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(big)))
	md := fmt.Sprintf("md5:%x", md5.Sum([]byte(big)))
	onlyOld := oldWeb(t)
	tests := []struct {
		name   string
		c      Check
		reason outcome.Reason
		detail string
	}{
		{"expect_not", Check{Path: "/ok", ExpectNot: "maintenance"}, outcome.OK, ""},
		{"expect_not is there", Check{Path: "/ok", ExpectNot: "HTTP/1.1 GET"}, outcome.Body, "HTTP/1.1 GET"},
		{"both", Check{Path: "/ok", BodyExpect: "GET", ExpectNot: "POST"}, outcome.OK, ""},
		{"body of the request", Check{Path: "/ok", Method: "POST", Body: "abc", BodyExpect: "POST .* abc$"}, outcome.OK, ""},
		{"sha256", Check{Path: "/big", Digest: sha}, outcome.OK, ""},
		{"md5", Check{Path: "/big", Digest: md}, outcome.OK, ""},
		{"another digest", Check{Path: "/ok", Digest: sha}, outcome.Body, "the body's digest is"},
		{"gigabytes and a digest", Check{Path: "/huge", Digest: sha}, outcome.Body, "more than 16777216"},
		{"not followed", Check{Path: "/to/?l=/ok"}, outcome.Status, "302"},
		{"followed", Check{Path: "/to/?l=/ok", FollowRedirects: 1, BodyExpect: "HTTP/1.1 GET"}, outcome.OK, "200"},
		{"relative", Check{Path: "/to/x?l=../ok", FollowRedirects: 1, BodyExpect: "HTTP/1.1 GET"}, outcome.OK, "200"},
		{"too often", Check{Path: "/to/?l=/to/?l=/ok", FollowRedirects: 1}, outcome.Status, "302"},
		{"in a circle", Check{Path: "/to/?l=/to/?l=/to/", FollowRedirects: 10}, outcome.Protocol, "without a location"},
		{"another host is asked here", Check{Path: "/to/?l=http://www.example.org:" + fmt.Sprint(plain.Port()) + "/ok", FollowRedirects: 2,
			Headers: map[string]string{"authorization": "me"}, BodyExpect: "^HTTP/1.1 GET www.example.org:[0-9]+ by  $"}, outcome.OK, "200"},
		{"from plain to safe", Check{Path: "/to/?l=https://www.example.org:" + fmt.Sprint(safe.Port()) + "/ok", FollowRedirects: 2, TLS: verify,
			BodyExpect: "GET www.example.org"}, outcome.OK, "200"},
		{"to what is not the web", Check{Path: "/to/?l=ftp://x/", FollowRedirects: 2}, outcome.Protocol, "ftp"},
		{"to a bad page", Check{Path: "/to/?l=/bad", FollowRedirects: 2}, outcome.Status, "503"},
		{"302 makes a GET", Check{Path: "/to/?l=/ok", Method: "POST", Body: "x", FollowRedirects: 2, BodyExpect: "GET"}, outcome.OK, "200"},
		{"307 keeps the method", Check{Path: "/keep", Method: "POST", Body: "xyz", FollowRedirects: 2, BodyExpect: "POST .* xyz"}, outcome.OK, "200"},
		{"http2", Check{Path: "/ok", HTTP2: true, Host: "www.example.org", BodyExpect: "^HTTP/2.0 GET www.example.org"}, outcome.OK, "200 OK"},
		{"http2, body and headers", Check{Path: "/ok", HTTP2: true, Method: "POST", Body: "abc", Headers: map[string]string{"Authorization": "me"}, BodyExpect: "by me abc$"}, outcome.OK, "200 OK"},
		{"http2, wrong status", Check{Path: "/bad", HTTP2: true}, outcome.Status, "503"},
		{"http2, digest", Check{Path: "/big", HTTP2: true, Digest: sha}, outcome.OK, ""},
		{"http2, gigabytes", Check{Path: "/huge", HTTP2: true, BodyExpect: "x"}, outcome.Body, ""},
		{"http2, followed", Check{Path: "/to/?l=/ok", HTTP2: true, FollowRedirects: 1, BodyExpect: "HTTP/2.0"}, outcome.OK, ""},
		{"http2 where it is not known", Check{Address: onlyOld, HTTP2: true}, outcome.Protocol, ""},
		{"https", Check{Type: TypeHTTPS, Path: "/ok", BodyExpect: "HTTP/1.1"}, outcome.OK, ""},
		{"https, http2", Check{Type: TypeHTTPS, Path: "/ok", HTTP2: true, BodyExpect: "HTTP/2.0"}, outcome.OK, ""},
		{"https, to another name", Check{Type: TypeHTTPS, Path: "/to/?l=https://www.example.com:" + fmt.Sprint(safe.Port()), FollowRedirects: 1}, outcome.TLS, "not www.example.com"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.c
			if c.Type == "" {
				c.Type = TypeHTTP
			}
			if !c.Address.IsValid() {
				c.Address = plain
				if c.Type == TypeHTTPS {
					c.Address, c.TLS = safe, verify
				}
			}
			got := once(t, c)
			checktest.Want(t, got, tt.reason, got.Phase, tt.detail)
			if c.Type == TypeHTTPS && got.CertExpiry.IsZero() {
				t.Error("no expiry of the certificate")
			}
		})
	}
	hanging := checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: hanging, HTTP2: true, Timeout: checktest.Hurry}), outcome.Timeout, outcome.PhaseReceive, "no answer")
	got := once(t, Check{Type: TypeHTTP, Address: checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 9999)) }), HTTP2: true})
	if got.Reason != outcome.Closed && got.Reason != outcome.Reset { // by how much the server had read
		t.Errorf("a server that closes: %+v", got)
	}
	for _, c := range []Check{{Digest: "sha1:00"}, {Digest: "md5:00"}, {ProxyProtocol: "v3"}, {ExpectNot: "("}} {
		c.Type, c.Address = TypeHTTP, plain
		if _, err := NewProber(&c, NewShared()); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// oldWeb does not support HTTP/2, and reads on: a server that closes with something
// unread resets.
func oldWeb(t *testing.T) netip.AddrPort {
	return checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) })
}

func TestProxyProtocol(t *testing.T) {
	first := make(chan string, 2) // in the loop and beside it
	to := checktest.Serve(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		line, _ := r.ReadString('\n')
		first <- strings.Replace(line, fmt.Sprint(c.RemoteAddr().(*net.TCPAddr).Port), "PORT", 1)
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: to, ProxyProtocol: "v1"}), outcome.OK, outcome.PhaseReceive, "200 OK")
	for range 2 {
		if got, want := <-first, fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 PORT %d\r\n", to.Port()); got != want {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
	for kind, probes := range map[string]int{TypeTCP: 2, TypeSMTP: 1} {
		once(t, Check{Type: kind, Address: to, ProxyProtocol: "v1", Timeout: checktest.Hurry, Send: "GET / HTTP/1.0\r\n\r\n", Expect: "200 OK"})
		for range probes {
			if got, want := <-first, fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 PORT %d\r\n", to.Port()); got != want {
				t.Errorf("%s: the server got %q, want %q", kind, got, want)
			}
		}
	}
	v4, v6 := netip.MustParseAddrPort("10.0.0.1:258"), netip.MustParseAddrPort("[2001:db8::1%eth0]:1")
	for _, tt := range []struct {
		version  string
		from, to netip.AddrPort
		want     string
	}{
		{"v1", v4, v4, "PROXY TCP4 10.0.0.1 10.0.0.1 258 258\r\n"},
		{"v1", v6, v6, "PROXY TCP6 2001:db8::1 2001:db8::1 1 1\r\n"},
		{"v2", v4, v4, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
		{"v2", v6, v6, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
	} {
		if got := string(wire.ProxyHeader(tt.version, tt.from, tt.to)); got != tt.want {
			t.Errorf("%s is %q, want %q", tt.version, got, tt.want)
		}
	}
}
