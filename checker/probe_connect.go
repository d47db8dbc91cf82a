// This file is the probe of type "connect": the TCP handshake, and nothing more.

package checker

import (
	"context"
	"time"
)

type connectProbe struct{ one LoopProbe }

func newConnectProbe(c *Check) Prober { return &connectProbe{LoopProbe{Dialer: newDialer(c)}} }

func (p *connectProbe) LoopProbe() *LoopProbe { return &p.one }

func (p *connectProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	c, out := p.one.Dialer.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	c.Close()
	return Outcome{Reason: OK, Phase: PhaseConnect}
}
