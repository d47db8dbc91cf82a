package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/event"
)

const (
	// followers is the maximum number of concurrent streams.
	followers = 16
	// histories is how many responses with more than the newest 1,000 events are in
	// progress on http_listen at once: each has up to 100,000 in memory until its client
	// has read them.
	histories = 2
	// followRoom is how many events a stream may lag before it ends.
	followRoom = 1024
	// followBeat is the interval of empty lines on an idle stream; followWrite bounds one
	// write.
	followBeat  = 15 * time.Second
	followWrite = 10 * time.Second
)

// events serves GET /api/v1/events?since=1h&after=ID&limit=N&follow=1.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q, follow, err := eventQuery(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	release, ok := s.reserveHistory(r, q)
	defer release()
	if !ok {
		w.Header().Set("Retry-After", "1")
		http.Error(w, fmt.Sprintf("%d clients are reading the history already", histories), http.StatusServiceUnavailable)
		return
	}
	if follow {
		s.followEvents(w, r, q, release)
		return
	}
	history, err := s.history(s.Events.Recent(), q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, append([]event.Event{}, history...))
}

// reserveHistory reports whether a request may have its events in memory, until release
// is called. Commands always may.
func (s *Server) reserveHistory(r *http.Request, q event.Query) (release func(), ok bool) {
	if public, _ := r.Context().Value(publicKey{}).(bool); !public || q.Limit <= api.HistoryDefault {
		return func() {}, true
	}
	n := s.histories.Add(1)
	return sync.OnceFunc(func() { s.histories.Add(-1) }), n <= histories
}

// eventQuery parses a request's parameters.
func eventQuery(v url.Values, now time.Time) (q event.Query, follow bool, err error) {
	q.Limit = api.HistoryDefault
	if since := v.Get("since"); since != "" {
		q.Limit = api.HistoryLimit
		if ago, e := time.ParseDuration(since); e == nil {
			q.Since = now.Add(-ago)
		} else if q.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return q, false, fmt.Errorf("since must be a duration such as 1h, or a time such as 2026-12-01T06:00:00Z, not %q", since)
		}
	}
	if after := v.Get("after"); after != "" {
		q.Limit = api.HistoryLimit
		if q.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return q, false, fmt.Errorf("after must be the id of an event, not %q", after)
		}
	}
	if limit := v.Get("limit"); limit != "" {
		n, e := strconv.Atoi(limit)
		if e != nil || n < 1 || n > api.HistoryLimit {
			return q, false, fmt.Errorf("limit must be 1 to %d, not %q", api.HistoryLimit, limit)
		}
		q.Limit = n
	}
	if text := v.Get("follow"); text != "" {
		if follow, err = strconv.ParseBool(text); err != nil {
			return q, false, fmt.Errorf("follow must be 0 or 1, not %q", text)
		}
	}
	return q, follow, nil
}

// history returns what the journal has, or the events in memory without one.
func (s *Server) history(recent []event.Event, q event.Query) ([]event.Event, error) {
	if s.Journal == nil {
		return recent, nil
	}
	return s.Journal.History(recent, q)
}

// followEvents streams until the client disconnects or lags, or the listener closes.
// release is called when the history is no longer in memory.
func (s *Server) followEvents(w http.ResponseWriter, r *http.Request, q event.Query, release func()) {
	if s.following.Add(1) > followers {
		s.following.Add(-1)
		http.Error(w, fmt.Sprintf("%d clients are following the events already", followers), http.StatusServiceUnavailable)
		return
	}
	defer s.following.Add(-1)
	news, recent := s.Events.Follow(followRoom)
	defer s.Events.Unfollow(news)
	history, err := s.history(recent, q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := stream{w: w, control: http.NewResponseController(w)}
	for _, e := range history {
		if !out.line(e) {
			return
		}
	}
	release()
	beat := time.NewTicker(followBeat)
	defer beat.Stop()
	for out.flush() && news.Missed() == 0 {
		select {
		case e := <-news.C:
			if !out.line(*e) {
				return
			}
		case <-beat.C:
			if !out.empty() {
				return
			}
		case <-r.Context().Done():
			return
		case <-closing(r.Context()):
			return
		}
	}
}

// stream writes lines with a deadline, which a flush ends: in HTTP/2 one that passes while
// nothing is written resets the stream.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s stream) line(e event.Event) bool {
	return s.setDeadline() && json.NewEncoder(s.w).Encode(e) == nil
}

func (s stream) empty() bool {
	if !s.setDeadline() {
		return false
	}
	_, err := s.w.Write([]byte("\n"))
	return err == nil
}

func (s stream) flush() bool {
	return s.setDeadline() && s.control.Flush() == nil && s.control.SetWriteDeadline(time.Time{}) == nil
}

func (s stream) setDeadline() bool {
	return s.control.SetWriteDeadline(time.Now().Add(followWrite)) == nil
}

// closingKey is the context key of closing.
type closingKey struct{}

// closing is closed when the listener of a request is about to close: a stream would
// otherwise keep it open.
func closing(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(closingKey{}).(chan struct{})
	return c
}
