// This file is the probe of type "connect": the TCP handshake, and nothing more.

package checker

import (
	"context"
	"time"
)

type connectProbe struct{ one light }

func newConnectProbe(c *Check) prober { return &connectProbe{light{dialer: newDialer(c)}} }

func (p *connectProbe) light() *light { return &p.one }

func (p *connectProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.one.dialer.open(ctx, deadline)
	if c == nil {
		return out
	}
	c.Close()
	return outcome{reason: OK, phase: PhaseConnect}
}
