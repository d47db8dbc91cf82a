package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"net"
	"net/http"
	"net/url"
	"time"
)

// grpcProbe calls the standard health service (grpc.health.v1.Health/Check) on a
// connection of its own.
type grpcProbe struct {
	netpoll.Dialer
	tls     *tls.Config // nil: none
	host    string      // :authority
	message []byte
}

func newGRPCProbe(c *Check, common *Shared) (Prober, error) {
	p := &grpcProbe{Dialer: newDialer(c), host: hostHeader(c), message: wire.GRPCHealthRequest(c.GRPCService)}
	var err error
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
			return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, "the answer is not gRPC's: "+outcome.Quote(body[:min(len(body), wire.MaxExcerpt)]))
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
