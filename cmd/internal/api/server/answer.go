// This file writes responses: as JSON, compressed where the client accepts that, and on
// http_listen with one status for all requests within a moment.

package server

import (
	"encoding/json"
	"net/http"
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
	packed, err := encode(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writePacked(w, r, packed)
}

func encode(body any) (*httpgzip.Body, error) {
	text, err := json.Marshal(body)
	return httpgzip.NewBody(append(text, '\n')), err
}

func writePacked(w http.ResponseWriter, r *http.Request, body *httpgzip.Body) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	body.Write(w, r)
}

// statusAge is the maximum age of a status on http_listen: many clients cost no more
// than one.
const statusAge = 500 * time.Millisecond

// sharedStatus serves /api/v1/status on http_listen. On the control socket each
// is a new one.
func (s *Server) sharedStatus(w http.ResponseWriter, r *http.Request) {
	body, err := s.status.Get(r.Context(), httpgzip.Age(statusAge), func(*httpgzip.Body) (*httpgzip.Body, error) { return encode(s.Status(r.Context())) })
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writePacked(w, r, body)
}
