package server

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
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

// TestClientsThatDoNotReadAreBounded: neither requests in progress nor histories in
// memory grow with the clients, and the others are refused at once.
func TestClientsThatDoNotReadAreBounded(t *testing.T) {
	for path, bound := range map[string]int{"/api/v1/events": histories, "/api/v1/charts": publicRequests} {
		s := newServer(t, &stub{view: healthy()})
		s.Events = &event.Recorder{}
		s.Journal = event.NewJournal(filepath.Join(t.TempDir(), "none"), s.Events, s.Log)
		s.Events.Record(event.Event{At: time.Now(), Kind: event.KindDaemon, To: "running"})
		h := s.publicHandler()
		writing, release := make(chan struct{}), make(chan struct{})
		var clients sync.WaitGroup
		for range bound {
			clients.Go(func() {
				h.ServeHTTP(stalled{httptest.NewRecorder(), writing, release}, httptest.NewRequest("GET", path, nil))
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
		clients.Wait()
		w = httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != http.StatusOK {
			t.Errorf("%s: afterwards: %d %s", path, w.Code, w.Body)
		}
	}
}
