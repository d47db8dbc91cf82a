package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lvsd/cmd/internal/event"
)

// stalled is a client that does not read.
type stalled struct {
	*httptest.ResponseRecorder
	writing chan<- struct{}
	release <-chan struct{}
}

func (s stalled) Write(b []byte) (int, error) {
	select {
	case s.writing <- struct{}{}:
	case <-s.release:
	}
	<-s.release
	return len(b), nil
}

func (s stalled) SetWriteDeadline(time.Time) error { return nil }

// TestClientsThatDoNotReadAreBounded: neither requests in progress nor histories in
// memory grow with the clients, and the others are refused at once.
func TestClientsThatDoNotReadAreBounded(t *testing.T) {
	for path, bound := range map[string]int{"/api/v1/events?since=1h": histories, "/api/v1/events?follow=1&limit=100000": histories, "/api/v1/events": publicRequests, "/api/v1/charts": publicRequests} {
		s := newServer(t, &stub{view: healthy()})
		s.Events = &event.Recorder{}
		s.Journal = event.NewJournal(filepath.Join(t.TempDir(), "none"), s.Events, s.Log)
		s.Events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "running"})
		h := s.publicHandler()
		writing, release := make(chan struct{}), make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range bound {
			clients.Go(func() {
				h.ServeHTTP(stalled{httptest.NewRecorder(), writing, release}, httptest.NewRequestWithContext(ctx, "GET", path, nil))
			})
		}
		for range bound {
			<-writing
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "already") {
			t.Errorf("%s: a client above the bound: %d %s", path, w.Code, w.Body)
		}
		close(release)
		leave()
		clients.Wait()
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != http.StatusOK {
			t.Errorf("%s: afterwards: %d %s", path, w.Code, w.Body)
		}
	}
}

// httpBudget is what docs/security.md promises all of http_listen to take at most, in
// bytes.
const httpBudget = 256 << 20

// TestMemoryOfThePort: as many clients as there may be, who ask for the most and do not
// read, take no more memory than promised.
func TestMemoryOfThePort(t *testing.T) {
	folder := t.TempDir()
	id := uint64(time.Now().UnixMicro())
	for n := range 8 { // what a history on disk has at most
		var text []byte
		for len(text) < 2<<20 {
			id++
			line, err := json.Marshal(event.Event{ID: id, At: time.Now(), Director: "lb1", Kind: event.KindHealth, Level: event.Warn, Service: "web",
				RealServer: "10.0.0.20:80", From: "up", To: "down", Reason: strings.Repeat("x", 100)})
			if err != nil {
				t.Fatal(err)
			}
			text = append(append(text, line...), '\n')
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("events-%08d.jsonl", n+1)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, &stub{view: healthy()})
	s.Journal = event.NewJournal(folder, s.Events, s.Log)
	h := s.publicHandler()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	writing, release := make(chan struct{}), make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for n := range publicRequests {
		path := []string{"/api/v1/events?since=24h", "/api/v1/events?since=24h&follow=1", "/api/v1/events", "/api/v1/status"}[n%4]
		clients.Go(func() {
			h.ServeHTTP(stalled{httptest.NewRecorder(), writing, release}, httptest.NewRequestWithContext(ctx, "GET", path, nil))
		})
	}
	for range publicRequests {
		<-writing
	}
	if took := used() - before; took > httpBudget {
		t.Errorf("%d MiB", took>>20)
	} else {
		t.Logf("%d MiB", took>>20)
	}
	close(release)
	leave()
	clients.Wait()
}

// TestTheCommandWaitsForNoReader: why on the control socket is made while clients of
// http_listen wait for theirs.
func TestTheCommandWaitsForNoReader(t *testing.T) {
	s := newServer(t, &stub{view: healthy()})
	s.explaining.Lock()
	defer s.explaining.Unlock()
	w := httptest.NewRecorder()
	s.changing().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/why?service=web", nil))
	if w.Code != http.StatusOK {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
