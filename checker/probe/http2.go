package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"lvsd/checker/trace"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// http2Response is a response by HTTP/2. The caller reads the body, then calls close.
type http2Response struct {
	*http.Response
	close func()
}

// roundTrip makes one HTTP/2 request on an existing connection, by the standard library,
// whose goroutines end with the connection. The connection's deadline applies.
func roundTrip(ctx context.Context, c net.Conn, r *http.Request) (*http2Response, outcome.Outcome) {
	if s, ok := c.(*trace.TLSConn); ok {
		c = s.Conn // the library needs the type, and frames are of no use in a trace
	}
	if s, ok := c.(*tls.Conn); ok && s.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, outcome.NewOutcome(outcome.Protocol, outcome.PhaseTLS, "the server does not support HTTP/2")
	}
	scheme := r.URL.Scheme
	tracked := &readTracker{Conn: c}
	if _, secure := c.(*tls.Conn); !secure {
		c = tracked
	}
	given := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	t := &http.Transport{DialContext: given, Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: wire.MaxHead}
	if scheme == "https" {
		t.DialTLSContext = given
		t.Protocols.SetHTTP2(true)
	} else {
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	one, err := t.NewClientConn(ctx, scheme, "probe:1") // the connection is given, the address unused
	if err != nil {
		return nil, tracked.correct(fromHTTP2Error(outcome.PhaseSend, err))
	}
	trace.TracerOf(ctx).Note(outcome.PhaseSend, "%s %s, host %s, HTTP/2", r.Method, r.URL.Path, r.Host)
	answer, err := one.RoundTrip(r.WithContext(ctx))
	if err != nil {
		one.Close()
		return nil, tracked.correct(fromHTTP2Error(outcome.PhaseReceive, err))
	}
	trace.TracerOf(ctx).Note(outcome.PhaseReceive, "%s %s", answer.Proto, answer.Status)
	return &http2Response{answer, func() { answer.Body.Close(); one.Close() }}, outcome.Outcome{}
}

// readTracker records whether the server sent anything.
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

// correct corrects an outcome: if the library gave up before the request was made, and
// the server had sent something, that was not HTTP/2, and the connection was not merely
// closed.
func (l *readTracker) correct(out outcome.Outcome) outcome.Outcome {
	if out.Reason == outcome.Closed && l.received.Load() && strings.Contains(out.Detail, notEstablished) {
		out.Reason = outcome.Protocol
	}
	return out
}

// notEstablished is the library's message for a connection that ended before the request
// was made.
const notEstablished = "client conn could not be established"

// fromHTTP2Error is outcome.FromError for errors of the library: what is not an error of
// the kernel is a protocol error.
func fromHTTP2Error(phase string, err error) outcome.Outcome {
	out := outcome.FromError(phase, err, "")
	var alert *net.OpError
	switch {
	case out.Reason != outcome.TLS:
	case errors.As(err, &alert) && alert.Op == "remote error": // how crypto/tls reports an alert of TLS
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

// grpcProbe calls the standard health service (grpc.health.v1.Health/Check) on a
// connection of its own.
type grpcProbe struct {
	netpoll.Dialer
	tls          *tls.Config // nil: none
	host         string      // :authority
	message      []byte
	proxyVersion string // of the PROXY protocol; "": none
}

func newGRPCProbe(c *Check, common *Shared) (Prober, error) {
	p := &grpcProbe{Dialer: newDialer(c), host: hostHeader(c), message: wire.GRPCHealthRequest(c.GRPCService), proxyVersion: c.ProxyProtocol}
	err := checkProxyVersion(c.ProxyProtocol)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		p.tls, err = common.tlsConfig(c, "h2")
	}
	return p, err
}

func (p *grpcProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if out := sendProxyHeader(c, p.proxyVersion, p.To); out.Reason != "" {
		return out
	}
	if p.tls == nil {
		return p.call(ctx, c, "http")
	}
	s, expiry, out := startTLS(c, p.tls)
	if s != nil {
		out = p.call(ctx, s, "https")
	}
	out.CertExpiry = expiry
	return out
}

// call calls Check (gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md).
func (p *grpcProbe) call(ctx context.Context, c net.Conn, scheme string) outcome.Outcome {
	r := &http.Request{Method: "POST", URL: &url.URL{Scheme: scheme, Host: p.host, Path: "/grpc.health.v1.Health/Check"}, Host: p.host,
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"lvsd"}},
		Body:   io.NopCloser(bytes.NewReader(p.message)), ContentLength: int64(len(p.message))}
	answer, out := roundTrip(ctx, c, r)
	if answer == nil {
		return out
	}
	defer answer.close()
	if answer.StatusCode != http.StatusOK {
		return outcome.NewOutcome(outcome.Status, outcome.PhaseReceive, outcome.Printable("HTTP "+answer.Status, outcome.MaxDetail))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, MaxAnswer))
	if err != nil {
		return fromHTTP2Error(outcome.PhaseReceive, err)
	}
	code, text := answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message")
	if code == "" { // a response without a message has it in the header
		code, text = answer.Header.Get("Grpc-Status"), answer.Header.Get("Grpc-Message")
	}
	if code != "0" {
		name := wire.GRPCCodes[code]
		switch {
		case code == "":
			return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, "not a gRPC response: "+outcome.Quote(body[:min(len(body), wire.MaxExcerpt)]))
		case name == "":
			name = "code " + code
		}
		if text != "" {
			name += ": " + text
		}
		return outcome.NewOutcome(outcome.Status, outcome.PhaseReceive, outcome.Printable(name, outcome.MaxDetail))
	}
	status, err := wire.ParseGRPCHealth(body)
	switch {
	case err != nil:
		return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, err.Error()+": "+outcome.Quote(body[:min(len(body), wire.MaxExcerpt)]))
	case status != wire.GRPCServing:
		return outcome.NewOutcome(outcome.Agent, outcome.PhaseReceive, wire.GRPCServingName(status))
	}
	return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, wire.GRPCServingName(status))
}
