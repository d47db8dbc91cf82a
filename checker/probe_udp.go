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
	dialer
	exchange
	reply bool // one is required
}

func newUDPProbe(c *Check, common *shared) (prober, error) {
	made, err := common.exchange(Step{c.Send, c.Expect, c.ExpectText})
	if err != nil {
		return nil, err
	}
	return &udpProbe{newDialer(c), made, c.RequireReply || made.expect.wanted()}, nil
}

func (p *udpProbe) probe(ctx context.Context, deadline time.Time) outcome {
	c, out := p.openDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return out
	}
	defer c.Close()
	if err := c.send(p.send); err != nil {
		return failed(PhaseSend, err, "")
	}
	buf := datagrams.Get().(*[]byte)
	defer datagrams.Put(buf)
	n, err := c.Read(*buf)
	switch {
	case err != nil && err != io.EOF: // that is an empty datagram
		out = failed(PhaseReceive, err, "")
		if out.reason == Timeout && !p.reply {
			return end(OK, PhaseReceive, "no answer, and no refusal")
		}
		return out
	case p.expect.wanted() && p.expect.in((*buf)[:n]) < 0:
		return end(Body, PhaseReceive, quoted((*buf)[:n]))
	}
	return end(OK, PhaseReceive, quoted((*buf)[:n]))
}
