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
	dialer
	query
	tcp bool
}

func newDNSProbe(c *Check) (prober, error) {
	q, err := newQuery(c)
	return &dnsProbe{newDialer(c), q, c.DNSTCP}, err
}

func (p *dnsProbe) probe(ctx context.Context, deadline time.Time) outcome {
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
func (p *dnsProbe) datagram(ctx context.Context, deadline time.Time, message []byte) (*reply, outcome) {
	c, out := p.openDatagram(ctx, deadline, unix.SOCK_DGRAM, 0)
	if c == nil {
		return nil, out
	}
	defer c.Close()
	if err := c.send(message); err != nil {
		return nil, failed(PhaseSend, err, "")
	}
	buf := datagrams.Get().(*[]byte)
	defer datagrams.Put(buf)
	garbage := ""
	for {
		n, err := c.Read(*buf)
		if err != nil && err != io.EOF {
			out := failed(PhaseReceive, err, garbage)
			if out.reason == Timeout && garbage != "" {
				out.reason = Protocol
			}
			return nil, out
		}
		r, err := p.read((*buf)[:n], binary.BigEndian.Uint16(message))
		if err == nil {
			return r, p.judge(r)
		}
		garbage = printable(err.Error()+": "+quoted((*buf)[:n]), detailLimit)
	}
}

// stream asks by TCP, where each message has its length in front (RFC 1035
// §4.2.2).
func (p *dnsProbe) stream(ctx context.Context, deadline time.Time, id uint16, message []byte) outcome {
	c, out := p.open(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(message)))
	if _, err := c.Write(append(framed, message...)); err != nil {
		return failed(PhaseSend, err, "")
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return failed(PhaseReceive, err, "")
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if n, err := io.ReadFull(c, answer); err != nil {
		return failed(PhaseReceive, err, quoted(answer[:n]))
	}
	r, err := p.read(answer, id)
	if err != nil {
		return end(Protocol, PhaseReceive, printable(err.Error()+": "+quoted(answer), detailLimit))
	}
	return p.judge(r)
}

// judge compares what came with what is wanted.
func (p *dnsProbe) judge(r *reply) outcome {
	switch {
	case r.code != p.rcode:
		return end(Status, PhaseReceive, rcodeName(r.code))
	case p.answer != "" && !r.found:
		return end(Body, PhaseReceive, printable(fmt.Sprintf("%s, %s", rcodeName(r.code), r.said()), detailLimit))
	}
	return end(OK, PhaseReceive, printable(rcodeName(r.code)+", "+r.said(), detailLimit))
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
