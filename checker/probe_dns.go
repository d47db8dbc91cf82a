// This file is the probe of type "dns": one query, by UDP or TCP, and by TCP where
// the answer by UDP was cut short (RFC 7766 §5).

package checker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

type dnsProbe struct {
	Dialer
	query
	tcp bool
}

func newDNSProbe(c *Check) (Prober, error) {
	q, err := newQuery(c)
	return &dnsProbe{newDialer(c), q, c.DNSTCP}, err
}

func (p *dnsProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	id := uint16(rand.Uint32())
	message := p.message(id)
	if !p.tcp {
		reply, out := p.datagram(ctx, deadline, message)
		if reply == nil || !reply.truncated {
			return out
		}
	}
	return p.stream(ctx, deadline, id, message)
}

// datagram asks by UDP. What answers another question is not for us.
func (p *dnsProbe) datagram(ctx context.Context, deadline time.Time, message []byte) (*reply, Outcome) {
	c, out := p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return nil, out
	}
	defer c.Close()
	if err := c.SendDatagram(message); err != nil {
		return nil, FromError(PhaseSend, err, "")
	}
	buf := datagramBuffers.Get().(*[]byte)
	defer datagramBuffers.Put(buf)
	garbage := ""
	for {
		n, err := c.Read(*buf)
		if err != nil && err != io.EOF {
			out := FromError(PhaseReceive, err, garbage)
			if out.Reason == Timeout && garbage != "" {
				out.Reason = Protocol
			}
			return nil, out
		}
		r, err := p.read((*buf)[:n], binary.BigEndian.Uint16(message))
		if err == nil {
			return r, p.judge(r)
		}
		garbage = Printable(err.Error()+": "+Quote((*buf)[:n]), MaxDetail)
	}
}

// stream asks by TCP, where each message has its length in front (RFC 1035
// §4.2.2).
func (p *dnsProbe) stream(ctx context.Context, deadline time.Time, id uint16, message []byte) Outcome {
	c, out := p.Connect(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(message)))
	if _, err := c.Write(append(framed, message...)); err != nil {
		return FromError(PhaseSend, err, "")
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return FromError(PhaseReceive, err, "")
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if n, err := io.ReadFull(c, answer); err != nil {
		return FromError(PhaseReceive, err, Quote(answer[:n]))
	}
	r, err := p.read(answer, id)
	if err != nil {
		return NewOutcome(Protocol, PhaseReceive, Printable(err.Error()+": "+Quote(answer), MaxDetail))
	}
	return p.judge(r)
}

// judge compares what came with what is wanted.
func (p *dnsProbe) judge(r *reply) Outcome {
	switch {
	case r.code != p.rcode:
		return NewOutcome(Status, PhaseReceive, rcodeName(r.code))
	case p.answer != "" && !r.found:
		return NewOutcome(Body, PhaseReceive, Printable(fmt.Sprintf("%s, %s", rcodeName(r.code), r.summary()), MaxDetail))
	}
	return NewOutcome(OK, PhaseReceive, Printable(rcodeName(r.code)+", "+r.summary(), MaxDetail))
}

// rcodes are the names of RFC 1035 §4.1.1, as dig says them.
var rcodes = map[string]dnsmessage.RCode{"": dnsmessage.RCodeSuccess, "NOERROR": dnsmessage.RCodeSuccess,
	"FORMERR": dnsmessage.RCodeFormatError, "SERVFAIL": dnsmessage.RCodeServerFailure, "NXDOMAIN": dnsmessage.RCodeNameError,
	"NOTIMP": dnsmessage.RCodeNotImplemented, "REFUSED": dnsmessage.RCodeRefused}

func rcodeName(c dnsmessage.RCode) string {
	for name, known := range rcodes {
		if known == c && name != "" {
			return name
		}
	}
	return fmt.Sprintf("rcode %d", c)
}
