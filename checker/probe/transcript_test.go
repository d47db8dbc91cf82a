package probe

import (
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/trace"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// phases and words of a transcript, one line a step.
func script(t Trace) string {
	var b strings.Builder
	for _, l := range t.Steps {
		b.WriteString(l.Phase + ": " + l.Text + "\n")
	}
	return b.String()
}

// TestTranscript: each step of a probe is recorded in order, in TLS the plain text;
// and the result is that of the daemon's own probe.
func TestTranscript(t *testing.T) {
	ours := checktest.NewAuthority(t)
	site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("alive and well")) })
	plain, safe := web(t, nil, site), web(t, ours.Issue(t, -time.Hour, time.Hour, "127.0.0.1"), site)
	for name, c := range map[string]struct {
		check  Check
		reason outcome.Reason
		phases string
		texts  []string
	}{
		"connect": {Check{Type: TypeConnect, Address: plain}, outcome.OK, "connect", []string{"connect: 127.0.0.1:", " to " + plain.String()}},
		"refused": {Check{Type: TypeConnect, Address: checktest.Refusing(t)}, outcome.Refused, "", nil},
		"http":    {Check{Type: TypeHTTP, Address: plain, Path: "/healthz"}, outcome.OK, "connect send receive", []string{"GET /healthz HTTP/1.1", "HTTP/1.1 200 OK"}},
		"https": {Check{Type: TypeHTTPS, Address: safe, TLS: &TLSConfig{Verify: true, CAs: ours.Pool}}, outcome.OK, "connect tls send receive",
			[]string{"TLS 1.3", "certificate of", "verified", "GET / HTTP/1.1", "HTTP/1.1 200 OK"}},
		"https in HTTP/2": {Check{Type: TypeHTTPS, Address: safe, HTTP2: true, TLS: &TLSConfig{Verify: true, CAs: ours.Pool}}, outcome.OK, "connect tls send receive", []string{"h2", "GET /, host", "HTTP/2.0 200 OK"}},
		"not trusted":     {Check{Type: TypeHTTPS, Address: safe, TLS: &TLSConfig{Verify: true}}, outcome.TLS, "connect", nil},
		"a name":          {Check{Type: TypeHTTP, HostName: "localhost", Address: netip.AddrPortFrom(netip.Addr{}, plain.Port()), From: netip.MustParseAddr("127.0.0.1")}, outcome.OK, "name connect send receive", []string{"name: localhost is"}},
		"udp":             {Check{Type: TypeUDP, Address: checktest.Refusing(t), Send: "ping"}, outcome.Refused, "connect send", []string{"4 bytes: ping"}},
		"off":             {Check{Type: TypeOff}, outcome.Off, "", nil},
		"a program":       {Check{Type: TypeExec, Address: plain, Command: []string{"/bin/echo", "fine"}}, outcome.OK, "", nil},
	} {
		c.check.Interval, c.check.Timeout = time.Hour, checktest.Patience
		got, err := Once(t.Context(), c.check)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var phases []string
		for _, l := range got.Steps {
			if len(phases) == 0 || phases[len(phases)-1] != l.Phase {
				phases = append(phases, l.Phase)
			}
		}
		if got.Reason != c.reason || !strings.HasPrefix(strings.Join(phases, " "), c.phases) || c.phases == "" && len(phases) > 0 {
			t.Errorf("%s: %s in phases %q:\n%s", name, got.Reason, phases, script(got))
		}
		for _, text := range c.texts {
			if !strings.Contains(script(got), text) {
				t.Errorf("%s: no %q in\n%s", name, text, script(got))
			}
		}
	}
	if _, err := Once(t.Context(), Check{Type: TypeConnect}); err == nil {
		t.Error("a check without an address is run")
	}
}

// TestTranscriptIsBounded: an endless response does not fill the screen.
func TestTranscriptIsBounded(t *testing.T) {
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 100 {
			w.Write([]byte(strings.Repeat("x", 1000)))
			w.(http.Flusher).Flush()
		}
	})
	got, err := Once(t.Context(), Check{Type: TypeHTTP, Address: web(t, nil, endless), BodyExpect: "y", Interval: time.Hour, Timeout: checktest.Patience})
	if err != nil || len(got.Steps) > trace.MaxLines {
		t.Errorf("%d lines, %v", len(got.Steps), err)
	}
	for _, l := range got.Steps {
		if len(l.Text) > outcome.MaxDetail {
			t.Errorf("a line of %d bytes", len(l.Text))
		}
	}
}
