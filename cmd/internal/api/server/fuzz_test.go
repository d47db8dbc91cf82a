package server

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/event"
)

// FuzzPort sends arbitrary requests to the public port: it responds, never with an
// internal error, and never with markup from the request.
func FuzzPort(f *testing.F) {
	for _, seed := range [][2]string{
		{"GET", "/"}, {"GET", "/api/v1/status"}, {"GET", "/api/v1/events?since=1h&limit=5"}, {"GET", "/api/v1/events?after=-1"}, {"GET", "/api/v1/events?limit=99999999999999999999"},
		{"GET", "/api/v1/why?service=web&real_server=10.0.0.9:80"}, {"GET", "/api/v1/why?service=<script>"}, {"GET", "/api/v1/charts?service=web&service=x"},
		{"GET", "/metrics"}, {"GET", "/healthz"}, {"POST", "/control/v1/reload"}, {"GET", "/../etc/passwd"}, {"HEAD", "//"}, {"GET", "/api/v1/events?since=%zz"}, {"GET", "/api/v1/events?since=-9223372036854775808ns"},
	} {
		f.Add(seed[0], seed[1], "gzip")
	}
	s := newServer(f, &stub{view: healthy()})
	s.Events.Record(event.Event{Kind: event.KindDaemon, To: "running"})
	h := s.publicHandler()
	f.Fuzz(func(t *testing.T, method, target, encoding string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.ContainsAny(method, " \t\r\n\x00") || method == "" || u.Query().Get("follow") != "" {
			return // net/http refuses it before us; a stream does not end
		}
		r := &http.Request{Method: method, URL: u, Host: "lb1", Header: http.Header{"Accept-Encoding": {encoding}}, Body: http.NoBody}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code >= 500 {
			t.Errorf("%s %q: %d %s", method, target, w.Code, w.Body)
		}
		if method != http.MethodGet && method != http.MethodHead && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s %q: %d", method, target, w.Code)
		}
		if kind := w.Header().Get("Content-Type"); strings.HasPrefix(kind, "text/html") && w.Code == 200 && u.Path != "/" {
			t.Errorf("%s %q answers a page: %s", method, target, kind)
		}
	})
}

// FuzzEventQuery: an accepted query is within its limits.
func FuzzEventQuery(f *testing.F) {
	for _, seed := range []string{"", "since=1h", "since=2026-12-01T06:00:00Z", "after=5&limit=3", "limit=0", "follow=1", "follow=maybe", "since=1e999h", "limit=%31"} {
		f.Add(seed)
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, _, err := eventQuery(v, now)
		if err == nil && (q.Limit < 1 || q.Limit > api.HistoryLimit) {
			t.Errorf("%q: a limit of %d", query, q.Limit)
		}
	})
}
