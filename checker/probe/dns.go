package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// dnsProbe sends one query, by UDP or TCP, and by TCP if the reply by UDP was truncated
// (RFC 7766 §5).
type dnsProbe struct {
	netpoll.Dialer
	wire.Query
	tcp bool
}

func newDNSProbe(c *Check) (Prober, error) {
	q, err := wire.NewQuery(c.DNSName, c.DNSRecord, c.DNSRcode, c.DNSAnswer)
	return &dnsProbe{newDialer(c), q, c.DNSTCP}, err
}

func (p *dnsProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	id := uint16(rand.Uint32())
	message := p.Message(id)
	if !p.tcp {
		reply, out := p.datagram(ctx, deadline, message)
		if reply == nil || !reply.Truncated {
			return out
		}
	}
	out := p.stream(ctx, deadline, id, message)
	if !p.tcp && out.Reason != outcome.OK {
		out.Detail = outcome.Printable("truncated over UDP (TC), and over TCP: "+out.Detail, outcome.MaxDetail)
	}
	return out
}

// datagram queries by UDP. It skips replies to other queries.
func (p *dnsProbe) datagram(ctx context.Context, deadline time.Time, message []byte) (*wire.Reply, outcome.Outcome) {
	c, out := p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return nil, out
	}
	defer c.Close()
	if err := c.SendDatagram(message); err != nil {
		return nil, outcome.FromError(outcome.PhaseSend, err, "")
	}
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	garbage := ""
	for {
		n, err := c.Read(*buf)
		if err != nil && err != io.EOF {
			out := outcome.FromError(outcome.PhaseReceive, err, garbage)
			if out.Reason == outcome.Timeout && garbage != "" {
				out.Reason = outcome.Protocol
			}
			return nil, out
		}
		r, err := p.Parse((*buf)[:n], binary.BigEndian.Uint16(message))
		if err == nil {
			return r, p.evaluate(r)
		}
		garbage = outcome.Printable(err.Error()+": "+outcome.Quote((*buf)[:n]), outcome.MaxDetail)
	}
}

// stream queries by TCP, where a length precedes each message (RFC 1035 §4.2.2).
func (p *dnsProbe) stream(ctx context.Context, deadline time.Time, id uint16, message []byte) outcome.Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(message)))
	if _, err := c.Write(append(framed, message...)); err != nil {
		return outcome.FromError(outcome.PhaseSend, err, "")
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return outcome.FromError(outcome.PhaseReceive, err, "")
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if n, err := io.ReadFull(c, answer); err != nil {
		return outcome.FromError(outcome.PhaseReceive, err, outcome.Quote(answer[:n]))
	}
	r, err := p.Parse(answer, id)
	if err != nil {
		return outcome.NewOutcome(outcome.Protocol, outcome.PhaseReceive, outcome.Printable(err.Error()+": "+outcome.Quote(answer), outcome.MaxDetail))
	}
	return p.evaluate(r)
}

// evaluate compares a reply with what is expected.
func (p *dnsProbe) evaluate(r *wire.Reply) outcome.Outcome {
	switch {
	case r.Code != p.Rcode:
		return outcome.NewOutcome(outcome.Status, outcome.PhaseReceive, wire.RcodeName(r.Code))
	case p.Answer != "" && !r.Found:
		return outcome.NewOutcome(outcome.Body, outcome.PhaseReceive, outcome.Printable(fmt.Sprintf("%s, %s", wire.RcodeName(r.Code), r.Summary()), outcome.MaxDetail))
	}
	return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, outcome.Printable(wire.RcodeName(r.Code)+", "+r.Summary(), outcome.MaxDetail))
}
