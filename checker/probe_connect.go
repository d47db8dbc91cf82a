// This file is the probe of type "connect": the TCP handshake, and nothing more.

package checker

import (
	"context"
	"time"
)

type connectProbe struct{ dialer }

func (p *connectProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.open(ctx, deadline)
	if c == nil {
		return out
	}
	c.Close()
	return outcome{reason: OK, phase: PhaseConnect}
}
