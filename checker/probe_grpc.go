// This file is the probe of type "grpc": one question to the standard health
// service, on a connection of its own.

package checker

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

type grpcProbe struct {
	dialer
	tls     *tls.Config // nil: none
	host    string      // :authority
	message []byte
}

func newGRPCProbe(c *Check, common *shared) (prober, error) {
	p := &grpcProbe{dialer: newDialer(c), host: hostOf(c), message: healthRequest(c.GRPCService)}
	var err error
	if c.TLS != nil {
		p.tls, err = common.tlsConfig(c, "h2")
	}
	return p, err
}

func (p *grpcProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.open(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	if p.tls == nil {
		return p.ask(ctx, c, "http")
	}
	s, expiry, out := secure(c, p.tls)
	if s != nil {
		out = p.ask(ctx, s, "https")
	}
	out.expiry = expiry
	return out
}

// ask calls Check (gRPC over HTTP/2, doc/PROTOCOL-HTTP2.md).
func (p *grpcProbe) ask(ctx context.Context, c net.Conn, scheme string) outcome {
	r := &http.Request{Method: "POST", URL: &url.URL{Scheme: scheme, Host: p.host, Path: "/grpc.health.v1.Health/Check"}, Host: p.host,
		Header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"lvsd"}},
		Body:   io.NopCloser(bytes.NewReader(p.message)), ContentLength: int64(len(p.message))}
	answer, out := ask2(ctx, c, r)
	if answer == nil {
		return out
	}
	defer answer.close()
	if answer.StatusCode != http.StatusOK {
		return end(Status, PhaseReceive, printable("HTTP "+answer.Status, detailLimit))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return failed2(PhaseReceive, err)
	}
	code, text := answer.Trailer.Get("Grpc-Status"), answer.Trailer.Get("Grpc-Message")
	if code == "" { // an answer without a message has it in its head
		code, text = answer.Header.Get("Grpc-Status"), answer.Header.Get("Grpc-Message")
	}
	if code != "0" {
		name := grpcCodes[code]
		switch {
		case code == "":
			return end(Protocol, PhaseReceive, "the answer is not gRPC's: "+quoted(body[:min(len(body), seenLimit)]))
		case name == "":
			name = "code " + code
		}
		if text != "" {
			name += ": " + text
		}
		return end(Status, PhaseReceive, printable(name, detailLimit))
	}
	status, err := healthAnswer(body)
	switch {
	case err != nil:
		return end(Protocol, PhaseReceive, err.Error()+": "+quoted(body[:min(len(body), seenLimit)]))
	case status != servingStatus:
		return end(Agent, PhaseReceive, servingName(status))
	}
	return end(OK, PhaseReceive, servingName(status))
}
