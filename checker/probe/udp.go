package probe

import (
	"context"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// udpProbe sends one datagram. An ICMP error is a failure; no answer is a success unless
// an answer is required.
type udpProbe struct {
	netpoll.Dialer
	exchange
	reply bool // an answer is required
}

func newUDPProbe(c *Check, common *Shared) (Prober, error) {
	made, err := common.exchange(Step{c.Send, c.Expect, c.ExpectText})
	if err != nil {
		return nil, err
	}
	return &udpProbe{newDialer(c), made, c.RequireReply || made.expect.wanted()}, nil
}

func (p *udpProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, out := p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return out
	}
	defer c.Close()
	if err := c.SendDatagram(p.send); err != nil {
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	n, err := c.Read(*buf)
	switch {
	case err != nil && err != io.EOF: // io.EOF is an empty datagram
		out = outcome.FromError(outcome.PhaseReceive, err, "")
		if out.Reason == outcome.Timeout && !p.reply {
			return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, "no answer, and no refusal")
		}
		return out
	case p.expect.wanted() && p.expect.find((*buf)[:n]) < 0:
		return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote((*buf)[:n]))
	}
	return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Quote((*buf)[:n]))
}

// datagramBuffers are what datagrams are read into; a longer one is cut off.
var datagramBuffers = sync.Pool{New: func() any { b := make([]byte, MaxAnswer); return &b }}
