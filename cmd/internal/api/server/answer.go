// This file writes responses: as JSON, compressed where the client accepts that, and on
// http_listen with one status for all requests within a moment.

package server

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"lvsd/cmd/internal/httpgzip"
)

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// The client may be gone.
	_ = json.NewEncoder(w).Encode(body)
}

// answerPacked is answer with compression, for long responses.
func answerPacked(w http.ResponseWriter, r *http.Request, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send := encoded{plain: append(text, '\n')}
	if httpgzip.Accepted(r) {
		send.pack()
	}
	send.answer(w, r)
}

// encoded is a response body.
type encoded struct{ plain, packed []byte }

// pack compresses the body if that is worth it.
func (e *encoded) pack() {
	if e.packed != nil || len(e.plain) < packFrom {
		return
	}
	e.packed = httpgzip.Compress(e.plain)
}

const packFrom = 1400 // what fits one packet is not compressed

func (e encoded) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
	body := e.plain
	if httpgzip.Accepted(r) && e.packed != nil {
		h.Set("Content-Encoding", "gzip")
		body = e.packed
	}
	_, _ = w.Write(body) // the client may be gone
}

// shared is one status for all requests within a moment: many clients cost no more
// than one.
type shared struct {
	mu  sync.Mutex
	at  time.Time
	now encoded
}

// sharedFor is the maximum age of a status on http_listen.
const sharedFor = 500 * time.Millisecond

// sharedStatus serves /api/v1/status on http_listen. On the control socket each
// is a new one.
func (s *Server) sharedStatus(w http.ResponseWriter, r *http.Request) {
	now, err := s.shared.get(s, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	now.answer(w, r)
}

func (k *shared) get(s *Server, r *http.Request) (encoded, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at.IsZero() || time.Since(k.at) >= sharedFor {
		text, err := json.Marshal(s.Status(r.Context()))
		if err != nil {
			return encoded{}, err
		}
		k.now, k.at = encoded{plain: append(text, '\n')}, time.Now()
	}
	if httpgzip.Accepted(r) {
		k.now.pack()
	}
	return k.now, nil
}
