// This file sends events to a webhook, each message by one POST. A failed one is repeated a few
// times; while the other side is down, each event is tried once.

package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"lvsd/cmd/internal/event"
)

const (
	postDeadline = 5 * time.Second // of one attempt
	postTries    = 3
	postPause    = time.Second // before the second attempt; doubled before the next
)

type webhook struct {
	url    string
	shown  string // without what may be secret: user, path and query
	format format
	client http.Client
	down   bool // the previous event was not sent
}

func newWebhook(address, format string) *webhook {
	w := &webhook{url: address, shown: "of the file", format: formats[format]}
	if u, err := url.Parse(address); err == nil {
		w.shown = u.Scheme + "://" + u.Host
	}
	w.client = http.Client{Timeout: postDeadline, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a redirected POST would become a GET
	}, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, TLSHandshakeTimeout: postDeadline}}
	return w
}

func (w *webhook) send(ctx context.Context, events []event.Event) error {
	text, err := w.format.encode(events)
	if err != nil || text == nil {
		return err
	}
	pause := postPause
	for try := 1; ; try++ {
		again, err := w.post(ctx, text)
		if err == nil {
			w.down = false
			return nil
		}
		if !again || w.down || try == postTries {
			w.down = true
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

// post tries once, and reports whether another attempt makes sense.
func (w *webhook) post(ctx context.Context, text []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "lvsd")
	resp, err := w.client.Do(req)
	if err != nil {
		if inner, ok := err.(*url.Error); ok {
			err = inner.Err // without the URL, which may contain a password
		}
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch code := resp.StatusCode; {
	case code >= 200 && code <= 299:
		return false, nil
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		return true, fmt.Errorf("answered %s", resp.Status)
	default:
		return false, fmt.Errorf("answered %s", resp.Status)
	}
}
