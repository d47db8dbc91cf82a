// This file makes one HTTP/2 request on a connection that is there already, by
// the standard library: HTTP/2 is too much to be written once more for the few
// checks that ask for it. Its goroutines end with the connection.

package checker

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// http2Answer is what came of a request. Its body is read by the caller, who then
// calls close.
type http2Answer struct {
	*http.Response
	close func()
}

// RoundTrip makes a request. The connection's deadline is the request's.
func RoundTrip(ctx context.Context, c net.Conn, r *http.Request) (*http2Answer, Outcome) {
	if s, ok := c.(*TLSConn); ok {
		c = s.Conn // the library must see what it is; and its frames say nothing to people
	}
	if s, ok := c.(*tls.Conn); ok && s.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, NewOutcome(Protocol, PhaseTLS, "the server does not agree to HTTP/2")
	}
	scheme := r.URL.Scheme
	heard := &readTracker{Conn: c}
	if _, secure := c.(*tls.Conn); !secure {
		c = heard
	}
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	t := &http.Transport{DialContext: given, Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: headLimit}
	if scheme == "https" {
		t.DialTLSContext = given
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	one, err := t.NewClientConn(ctx, scheme, "probe:1") // what it dials is given
	if err != nil {
		return nil, heard.judge(fromHTTP2Error(PhaseSend, err))
	}
	TracerOf(ctx).Note(PhaseSend, "%s %s, host %s, HTTP/2", r.Method, r.URL.Path, r.Host)
	answer, err := one.RoundTrip(r.WithContext(ctx))
	if err != nil {
		one.Close()
		return nil, heard.judge(fromHTTP2Error(PhaseReceive, err))
	}
	TracerOf(ctx).Note(PhaseReceive, "%s %s", answer.Proto, answer.Status)
	return &http2Answer{answer, func() { answer.Body.Close(); one.Close() }}, Outcome{}
}

// readTracker notes whether the server said anything.
type readTracker struct {
	net.Conn
	received atomic.Bool
}

func (l *readTracker) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.received.Store(true)
	}
	return n, err
}

// judge corrects an outcome: a connection that the library gave up before any
// request was made has not just been closed when the server had said something
// on it, which then was not HTTP/2.
func (l *readTracker) judge(out Outcome) Outcome {
	if out.Reason == Closed && l.received.Load() && strings.Contains(out.Detail, notEstablished) {
		out.Reason = Protocol
	}
	return out
}

// notEstablished are the library's words for a connection that ended before the
// request was made, for whatever reason.
const notEstablished = "client conn could not be established"

// fromHTTP2Error is failed for what the library says: what the kernel did not say is the
// protocol's fault.
func fromHTTP2Error(phase string, err error) Outcome {
	out := FromError(phase, err, "")
	switch {
	case out.Reason != TLS:
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Reason, out.Detail = Timeout, "no answer"
	case errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed), strings.Contains(err.Error(), "EOF"),
		strings.Contains(err.Error(), notEstablished):
		out.Reason = Closed
	default:
		out.Reason = Protocol
	}
	return out
}

// exchange2 makes the request of a check.
func (p *httpProbe) exchange2(ctx context.Context, c net.Conn, r *request, a *Response) Outcome {
	scheme := "http"
	if r.secure {
		scheme = "https"
	}
	q, err := http.NewRequest(r.method, scheme+"://"+r.host+r.path, strings.NewReader(r.body))
	if err != nil {
		return NewOutcome(Protocol, PhaseSend, Printable(err.Error(), MaxDetail))
	}
	q.Host = r.host
	for name, value := range r.headers {
		if !strings.EqualFold(name, "Connection") && !strings.EqualFold(name, "Content-Length") { // RFC 9113 §8.2.2
			q.Header.Set(name, value)
		}
	}
	got, out := RoundTrip(ctx, c, q)
	if got == nil {
		return out
	}
	defer got.close()
	a.status, a.text, a.headComplete = got.StatusCode, http.StatusText(got.StatusCode), true
	a.location = got.Header.Get("Location")
	out = NewOutcome(OK, PhaseReceive, a.statusLine())
	if p.follow > 0 && redirects(a.status) {
		return out
	}
	if a.wantBody && p.accepts(a.status) {
		a.length, a.untilClose = 1<<62, true
		a.state = bodyState
		for buf := make([]byte, 2048); !a.done(); {
			n, err := got.Body.Read(buf)
			a.feed(buf[:n]) // a body cannot be wrong
			if err == io.EOF {
				break
			}
			if err != nil {
				return fromHTTP2Error(PhaseReceive, err)
			}
		}
	}
	return p.judge(a, out)
}
