// This file is the probe of type "udp": a datagram is sent. "Port unreachable" is
// a refusal; silence is good, unless an answer is wanted.

package checker

import (
	"context"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

type udpProbe struct {
	Dialer
	exchange
	reply bool // one is required
}

func newUDPProbe(c *Check, common *Shared) (Prober, error) {
	made, err := common.exchange(Step{c.Send, c.Expect, c.ExpectText})
	if err != nil {
		return nil, err
	}
	return &udpProbe{newDialer(c), made, c.RequireReply || made.expect.wanted()}, nil
}

func (p *udpProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	c, out := p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return out
	}
	defer c.Close()
	if err := c.SendDatagram(p.send); err != nil {
		return FromError(PhaseSend, err, "")
	}
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	n, err := c.Read(*buf)
	switch {
	case err != nil && err != io.EOF: // that is an empty datagram
		out = FromError(PhaseReceive, err, "")
		if out.Reason == Timeout && !p.reply {
			return NewOutcome(OK, PhaseReceive, "no answer, and no refusal")
		}
		return out
	case p.expect.wanted() && p.expect.find((*buf)[:n]) < 0:
		return NewOutcome(Body, PhaseReceive, Quote((*buf)[:n]))
	}
	return NewOutcome(OK, PhaseReceive, Quote((*buf)[:n]))
}
