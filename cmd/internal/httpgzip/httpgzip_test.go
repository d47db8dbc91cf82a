package httpgzip

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

func TestTaken(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP;q=0.5": true, "br": false, "gzip;q=0": false, "gzip; q=0, br": false, "xgzip": false,
	} {
		if got := Accepted(&http.Request{Header: http.Header{"Accept-Encoding": {accept}}}); got != want {
			t.Errorf("%q: %v", accept, got)
		}
	}
}

func TestPack(t *testing.T) {
	want := bytes.Repeat([]byte("lvsd_up 1\n"), 1000)
	z, err := gzip.NewReader(bytes.NewReader(Compress(want)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// stalled is a client that does not read until it is released.
type stalled struct {
	*httptest.ResponseRecorder
	writing, read chan struct{}
}

func (s stalled) Write(b []byte) (int, error) {
	s.writing <- struct{}{}
	<-s.read
	return len(b), nil
}

// TestBudget: what is written to clients that do not read is bounded, each body counts once,
// and one that is larger than the budget is written alone.
func TestBudget(t *testing.T) {
	defer func(limit int) { budget.limit = limit }(budget.limit)
	budget.limit = 1000
	text := make([]byte, 500)
	first, second, large := NewBody(text), NewBody(text), NewBody(make([]byte, 2000))
	code := func(b *Body) int {
		w := httptest.NewRecorder()
		b.Write(w, httptest.NewRequest("GET", "/", nil))
		return w.Code
	}
	for _, b := range []*Body{first, large} {
		s := stalled{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() { b.Write(s, httptest.NewRequest("GET", "/", nil)) })
			<-s.writing
		}
		if got := Age(time.Second); got != 10*time.Second {
			t.Errorf("age %v", got)
		}
		if got := code(second); got != http.StatusServiceUnavailable {
			t.Errorf("%d beside a body of %d octets", got, b.Len())
		}
		if got := code(b); got != http.StatusOK {
			t.Errorf("%d for the same body", got)
		}
		close(s.read)
		clients.Wait()
		if got := code(second); got != http.StatusOK || budget.used != 0 || Age(time.Second) != time.Second {
			t.Errorf("%d afterwards, %d octets in use", got, budget.used)
		}
	}
}
