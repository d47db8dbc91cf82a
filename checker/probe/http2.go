// This file makes one HTTP/2 request on a connection that is there already, by
// the standard library: HTTP/2 is too much to be written once more for the few
// checks that ask for it. Its goroutines end with the connection.

package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"lvsd/checker/trace"
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
func RoundTrip(ctx context.Context, c net.Conn, r *http.Request) (*http2Answer, outcome.Outcome) {
	if s, ok := c.(*trace.TLSConn); ok {
		c = s.Conn // the library must see what it is; and its frames say nothing to people
	}
	if s, ok := c.(*tls.Conn); ok && s.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, outcome.NewOutcome(outcome.Protocol, outcome.PhaseTLS, "the server does not agree to HTTP/2")
	}
	scheme := r.URL.Scheme
	heard := &readTracker{Conn: c}
	if _, secure := c.(*tls.Conn); !secure {
		c = heard
	}
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	t := &http.Transport{DialContext: given, Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: wire.MaxHead}
	if scheme == "https" {
		t.DialTLSContext = given
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	one, err := t.NewClientConn(ctx, scheme, "probe:1") // what it dials is given
	if err != nil {
		return nil, heard.judge(fromHTTP2Error(outcome.PhaseSend, err))
	}
	trace.TracerOf(ctx).Note(outcome.PhaseSend, "%s %s, host %s, HTTP/2", r.Method, r.URL.Path, r.Host)
	answer, err := one.RoundTrip(r.WithContext(ctx))
	if err != nil {
		one.Close()
		return nil, heard.judge(fromHTTP2Error(outcome.PhaseReceive, err))
	}
	trace.TracerOf(ctx).Note(outcome.PhaseReceive, "%s %s", answer.Proto, answer.Status)
	return &http2Answer{answer, func() { answer.Body.Close(); one.Close() }}, outcome.Outcome{}
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
func (l *readTracker) judge(out outcome.Outcome) outcome.Outcome {
	if out.Reason == outcome.Closed && l.received.Load() && strings.Contains(out.Detail, notEstablished) {
		out.Reason = outcome.Protocol
	}
	return out
}

// notEstablished are the library's words for a connection that ended before the
// request was made, for whatever reason.
const notEstablished = "client conn could not be established"

// fromHTTP2Error is failed for what the library says: what the kernel did not say is the
// protocol's fault.
func fromHTTP2Error(phase string, err error) outcome.Outcome {
	out := outcome.FromError(phase, err, "")
	switch {
	case out.Reason != outcome.TLS:
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Reason, out.Detail = outcome.Timeout, "no answer"
	case errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed), strings.Contains(err.Error(), "EOF"),
		strings.Contains(err.Error(), notEstablished):
		out.Reason = outcome.Closed
	default:
		out.Reason = outcome.Protocol
	}
	return out
}
