// This file has the history over HTTP: one JSON array, or with follow=1 a stream of one
// object a line that continues with new events.

package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"lvsd/cmd/internal/event"
)

const (
	// HistoryDefault is how many events are returned by default, HistoryLimit how many
	// with a time or a number in the request.
	HistoryDefault = 1000
	HistoryLimit   = 100_000
)

// EventQuery selects events.
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

// History reads the events from a folder, without a daemon.
func (q EventQuery) History(folder string) ([]event.Event, error) {
	out := event.Query{After: q.After, Limit: HistoryDefault}
	if q.Since > 0 {
		out.Since, out.Limit = time.Now().Add(-q.Since), HistoryLimit
	}
	return event.Read(folder, out)
}

// Events requests the history, oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]event.Event, error) {
	return call[[]event.Event](ctx, c, http.MethodGet, "/api/v1/events?"+q.values().Encode())
}

// FollowEvents passes the history and then new events to each, until the context or
// the daemon ends, which is not an error, or each returns one.
func (c *Client) FollowEvents(ctx context.Context, q EventQuery, each func(event.Event) error) error {
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
			return nil // the daemon ended, or the context
		}
		if err := each(e); err != nil {
			return err
		}
	}
}
