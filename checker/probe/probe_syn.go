package probe

import (
	"context"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"time"
)

// synProbe sends a SYN and ends at the SYN-ACK: the server's kernel answers, and
// the application never sees a connection.
type synProbe struct {
	loopProbe netpoll.LoopProbe
	syn       netpoll.SYN
}

func newSYNProbe(c *Check) Prober {
	p := &synProbe{}
	p.loopProbe = netpoll.LoopProbe{Dialer: newDialer(c), SYN: &p.syn}
	return p
}

func (p *synProbe) LoopProbe() *netpoll.LoopProbe { return &p.loopProbe }

func (p *synProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	return netpoll.RunBlocking(ctx, deadline, &p.loopProbe)
}
