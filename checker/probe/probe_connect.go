// This file is the probe of type "connect": the TCP handshake, and nothing more.

package probe

import (
	"context"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"time"
)

type connectProbe struct{ one netpoll.LoopProbe }

func newConnectProbe(c *Check) Prober { return &connectProbe{netpoll.LoopProbe{Dialer: newDialer(c)}} }

func (p *connectProbe) LoopProbe() *netpoll.LoopProbe { return &p.one }

func (p *connectProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.one.Dialer.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	c.Close()
	return outcome.Outcome{Reason: outcome.OK, Phase: outcome.PhaseConnect}
}
