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
//
// The error may arrive after the probe: a host that does not answer ARP or neighbour
// discovery is reported after three seconds. An unanswered probe therefore leaves its
// socket open, and the outcome of those that are not answered either is that of the
// latest datagram whose fate is known.
type udpProbe struct {
	netpoll.Dialer
	exchange
	reply bool // an answer is required

	pending *netpoll.Conn   // of an earlier datagram, for which an error may arrive; nil: none
	sent    time.Time       // when that was sent
	lost    outcome.Outcome // of the latest datagram whose fate is known; zero: no error arrived
}

// errorDelay is the time after which no error is expected for a datagram any more: three
// solicitations, one second apart (RFC 4861 §10; net.ipv4.neigh.default.mcast_solicit and
// retrans_time_ms), and one second for the way.
const errorDelay = 4 * time.Second

func newUDPProbe(c *Check, common *Shared) (Prober, error) {
	made, err := common.exchange(Step{Send: c.Send, Expect: c.Expect, ExpectText: c.ExpectText, ExpectNot: c.ExpectNot})
	if err != nil {
		return nil, err
	}
	return &udpProbe{Dialer: newDialer(c), exchange: made, reply: c.RequireReply || made.expect.wanted()}, nil
}

func (p *udpProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	start := time.Now()
	c, out := p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return out
	}
	if err := c.SendDatagram(p.message()); err != nil {
		c.Close()
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	out, silent := p.receive(c)
	if !silent {
		c.Close()
		if out.Reason == outcome.OK {
			p.lost = outcome.Outcome{}
		}
		return out
	}
	return p.unanswered(c, start)
}

// receive returns the outcome of the answer. Silent: there was none, and none is required.
func (p *udpProbe) receive(c *netpoll.Conn) (out outcome.Outcome, silent bool) {
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	interim := ""
	for {
		n, err := c.Read(*buf)
		answer := (*buf)[:n]
		switch {
		case err != nil && err != io.EOF: // io.EOF is an empty datagram
			out = outcome.FromError(outcome.PhaseReceive, err, interim)
			if out.Reason == outcome.Refused || out.Reason == outcome.Unreachable {
				p.lost = out
			}
			return out, out.Reason == outcome.Timeout && !p.reply
		case p.expect.refuses(answer):
			return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote(answer)), false
		case !p.expect.wanted() || p.expect.find(answer) >= 0:
			return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Quote(answer)), false
		case p.expect.refuse == nil:
			return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Quote(answer)), false
		case p.expect.refuse.Match(answer):
			return outcome.NewOutcome(outcome.Status, outcome.PhaseReceive, outcome.Quote(answer)), false
		}
		interim = outcome.Quote(answer) // the final answer follows
	}
}

// unanswered returns the outcome of a datagram, sent at a time by c, that was not
// answered.
func (p *udpProbe) unanswered(c *netpoll.Conn, sent time.Time) outcome.Outcome {
	if p.pending != nil {
		err := p.pending.PendingError()
		if err == nil && time.Since(p.sent) < errorDelay {
			c.Close()
			return p.known()
		}
		p.lost = outcome.Outcome{}
		if err != nil {
			p.lost = outcome.FromError(outcome.PhaseReceive, err, "")
		}
		p.pending.Close()
	}
	c.Detach()
	p.pending, p.sent = c, sent
	return p.known()
}

// known returns what is known without an answer.
func (p *udpProbe) known() outcome.Outcome {
	if p.lost.Reason != "" {
		return p.lost
	}
	return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, "no reply, and no rejection")
}

// datagramBuffers are what datagrams are read into; a longer one is cut off.
var datagramBuffers = sync.Pool{New: func() any { b := make([]byte, MaxAnswer); return &b }}
