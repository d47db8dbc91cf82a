package api

// Events over HTTP: the history as one JSON array, or with follow=1 as a stream
// of one object a line that goes on with what happens.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"lvsd/cmd/internal/event"
)

const (
	// historyDefault is how many events are answered unless more are asked for:
	// with a time or a number of its own, historyLimit of them.
	historyDefault = 1000
	historyLimit   = 100_000
	// followers is how many streams there are at once.
	followers = 16
	// followRoom is how far a stream may lie behind before it ends.
	followRoom = 1024
	// followBeat is how often an idle stream says that it is there, by an empty
	// line; followWrite how long a client may take to read.
	followBeat  = 15 * time.Second
	followWrite = 10 * time.Second
)

// events answers GET /api/v1/events?since=1h&after=ID&limit=N&follow=1.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q, follow, err := eventQuery(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if follow {
		s.followEvents(w, r, q)
		return
	}
	history, err := s.history(s.Events.Recent(), q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, append([]event.Event{}, history...))
}

// eventQuery reads a request's parameters.
func eventQuery(v url.Values, now time.Time) (q event.Query, follow bool, err error) {
	q.Limit = historyDefault
	if since := v.Get("since"); since != "" {
		q.Limit = historyLimit
		if ago, e := time.ParseDuration(since); e == nil {
			q.Since = now.Add(-ago)
		} else if q.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return q, false, fmt.Errorf("since must be a duration such as 1h, or a time such as 2026-12-01T06:00:00Z, not %q", since)
		}
	}
	if after := v.Get("after"); after != "" {
		q.Limit = historyLimit
		if q.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return q, false, fmt.Errorf("after must be the id of an event, not %q", after)
		}
	}
	if limit := v.Get("limit"); limit != "" {
		n, e := strconv.Atoi(limit)
		if e != nil || n < 1 || n > historyLimit {
			return q, false, fmt.Errorf("limit must be 1 to %d, not %q", historyLimit, limit)
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

// history is what the journal has, or what is in memory where there is none.
func (s *Server) history(recent []event.Event, q event.Query) ([]event.Event, error) {
	if s.Journal == nil {
		return recent, nil
	}
	return s.Journal.History(recent, q)
}

// followEvents streams until the client goes, falls behind, or the listener
// closes.
func (s *Server) followEvents(w http.ResponseWriter, r *http.Request, q event.Query) {
	if s.following.Add(1) > followers {
		s.following.Add(-1)
		http.Error(w, fmt.Sprintf("%d clients follow the events already", followers), http.StatusServiceUnavailable)
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
	beat := time.NewTicker(followBeat)
	defer beat.Stop()
	for out.flush() && news.Missed() == 0 {
		select {
		case e := <-news.C:
			if !out.line(e) {
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

// stream writes lines to a client that may be slow, but not stand still.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s stream) line(e event.Event) bool {
	return s.hurry() && json.NewEncoder(s.w).Encode(e) == nil
}

func (s stream) empty() bool {
	_, err := s.w.Write([]byte("\n"))
	return err == nil
}

func (s stream) flush() bool { return s.hurry() && s.control.Flush() == nil }

func (s stream) hurry() bool { return s.control.SetWriteDeadline(time.Now().Add(followWrite)) == nil }

// closingKey is where a request's context has its listener's end.
type closingKey struct{}

// closing is closed when the listener that took a request is about to close: a
// stream would otherwise hold it open.
func closing(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(closingKey{}).(chan struct{})
	return c
}

// EventQuery says which events a client asks for.
type EventQuery struct {
	Since time.Duration // how far back; 0: the newest 1,000
	After uint64        // only those with a greater id
}

func (q EventQuery) values() url.Values {
	v := url.Values{}
	if q.Since > 0 {
		v.Set("since", q.Since.String())
	}
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	return v
}

// History asks a folder instead of a daemon.
func (q EventQuery) History(folder string) ([]event.Event, error) {
	out := event.Query{After: q.After, Limit: historyDefault}
	if q.Since > 0 {
		out.Since, out.Limit = time.Now().Add(-q.Since), historyLimit
	}
	return event.Read(folder, out)
}

// Events asks for the history, oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]event.Event, error) {
	return call[[]event.Event](ctx, c, http.MethodGet, "/api/v1/events?"+q.values().Encode())
}

// FollowEvents tells the history and then what happens, until the context or
// the daemon ends, which is no error, or told answers one.
func (c *Client) FollowEvents(ctx context.Context, q EventQuery, tell func(event.Event) error) error {
	v := q.values()
	v.Set("follow", "1")
	resp, err := c.ask(ctx, http.MethodGet, "/api/v1/events?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var e event.Event
		if lines.Decode(&e) != nil {
			return nil // the daemon ended, or we do
		}
		if err := tell(e); err != nil {
			return err
		}
	}
}
