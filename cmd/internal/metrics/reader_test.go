package metrics

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"lvsd/cmd/internal/director"
)

// stalled is a client that does not read: writing to it blocks until it is released.
type stalled struct {
	http.ResponseWriter
	release <-chan struct{}
}

func (s stalled) Write(b []byte) (int, error) {
	<-s.release
	return s.ResponseWriter.Write(b)
}

// TestAClientThatDoesNotReadDelaysNoOther: the lock is for making the text, not for
// writing it.
func TestAClientThatDoesNotReadDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New("1", "c")
		m.Watch(func(ctx context.Context) director.View { return view(ctx) })
		h := m.Handler()
		release := make(chan struct{})
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() {
				h.ServeHTTP(stalled{httptest.NewRecorder(), release}, httptest.NewRequest("GET", "/metrics", nil))
			})
		}
		synctest.Wait()
		for range 2 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			if w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
			}
		}
		close(release)
		clients.Wait()
	})
}
