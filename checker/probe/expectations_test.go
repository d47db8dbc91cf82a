package probe

import (
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"net/http"
	"testing"
)

// TestHTTPExpectations: of headers and of a JSON document, by HTTP/1.1 and HTTP/2.
func TestHTTPExpectations(t *testing.T) {
	const body = `{"status": "ok", "queue": 12.50, "checks": [{"name": "a/b", "ok": true}]}`
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-Role", "primary")
		w.Header().Add("X-Tag", "one")
		w.Header().Add("X-Tag", "two")
		w.Write([]byte(body))
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	to := l.Addr().(*net.TCPAddr).AddrPort()
	for _, tt := range []struct {
		name   string
		c      Check
		reason outcome.Reason
		detail string
	}{
		{"header", Check{Response: &Response{Headers: map[string]string{"x-role": "^primary$"}}}, outcome.OK, ""},
		{"any value", Check{Response: &Response{Headers: map[string]string{"X-Role": ""}}}, outcome.OK, ""},
		{"several values", Check{Response: &Response{Headers: map[string]string{"X-Tag": "^one, two$"}}}, outcome.OK, ""},
		{"another value", Check{Response: &Response{Headers: map[string]string{"X-Role": "^replica$"}}}, outcome.Body, `x-role: "primary"`},
		{"no such header", Check{Response: &Response{Headers: map[string]string{"X-None": ""}}}, outcome.Body, `x-none: ""`},
		{"values", Check{Response: &Response{JSON: map[string]string{"/status": "ok", "/checks/0/ok": "true", "/queue": "12.50", "/checks/0/name": "a/b"}}}, outcome.OK, ""},
		{"another value there", Check{Response: &Response{JSON: map[string]string{"/status": "bad"}}}, outcome.Body, `/status is "ok"`},
		{"nothing there", Check{Response: &Response{JSON: map[string]string{"/checks/1/ok": "true"}}}, outcome.Body, "nothing at /checks/1/ok"},
	} {
		for _, http2 := range []bool{false, true} {
			c := tt.c
			c.Type, c.Address, c.HTTP2 = TypeHTTP, to, http2
			t.Run(tt.name, func(t *testing.T) { checktest.Want(t, once(t, c), tt.reason, outcome.PhaseReceive, tt.detail) })
		}
	}
	plain := checktest.Serve(t, checktest.Answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	checktest.Want(t, once(t, Check{Type: TypeHTTP, Address: plain, Response: &Response{JSON: map[string]string{"": "ok"}}}), outcome.Body, outcome.PhaseReceive, "not JSON")
}

// TestDrainOn: a status or a header requests a drain, each response decides again, and a
// failure does not change it.
func TestDrainOn(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		c            Check
		reason       outcome.Reason
		report       *outcome.AgentReport
	}{
		{"status", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainStatus: []StatusRange{{404, 404}}}}, outcome.OK, &outcome.AgentReport{Weight: 100, Drain: true}},
		{"no drain", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainStatus: []StatusRange{{404, 404}}}}, outcome.OK, &outcome.NoReport},
		{"down", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainStatus: []StatusRange{{404, 404}}}}, outcome.Status, nil},
		{"header", "HTTP/1.1 200 OK\r\nX-Drain: yes\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainHeader: "X-Drain", DrainMatch: "^yes$"}}, outcome.OK, &outcome.AgentReport{Weight: 100, Drain: true}},
		{"any header", "HTTP/1.1 200 OK\r\nx-drain:\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainHeader: "X-Drain"}}, outcome.OK, &outcome.AgentReport{Weight: 100, Drain: true}},
		{"another value", "HTTP/1.1 200 OK\r\nX-Drain: no\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainHeader: "X-Drain", DrainMatch: "^yes$"}}, outcome.OK, &outcome.NoReport},
		{"down with the header", "HTTP/1.1 503 No\r\nX-Drain: yes\r\nContent-Length: 0\r\n\r\n", Check{Response: &Response{DrainHeader: "X-Drain"}}, outcome.Status, nil},
		{"not wanted", "HTTP/1.1 200 OK\r\nX-Drain: yes\r\nContent-Length: 0\r\n\r\n", Check{}, outcome.OK, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Type, tt.c.Address = TypeHTTP, checktest.Serve(t, checktest.Answering(tt.answer))
			out := once(t, tt.c)
			if out.Reason != tt.reason || (out.Report == nil) != (tt.report == nil) || out.Report != nil && *out.Report != *tt.report {
				t.Errorf("%+v, report %+v", out, out.Report)
			}
		})
	}
}
