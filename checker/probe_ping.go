// This file is the probe of type "ping": one or several ICMP echo requests, of
// which one must be answered.

package checker

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

type pingProbe struct {
	Dialer
	count int
}

// rawPing is set once the kernel lets us have no datagram socket for ICMP
// (net.ipv4.ping_group_range): a raw one needs CAP_NET_RAW.
var rawPing atomic.Bool

func newPingProbe(c *Check) Prober {
	d := newDialer(c)
	return &pingProbe{d, max(c.Count, 1)}
}

func (p *pingProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	c, raw, out := p.openICMP(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	e := echo{v6: p.To.Addr().Is6()}
	binary.NativeEndian.PutUint64(e.payload[:], rand.Uint64())
	binary.NativeEndian.PutUint64(e.payload[8:], rand.Uint64())
	begin := time.Now()
	slot := deadline.Sub(begin) / time.Duration(p.count)
	for i := range p.count {
		e.sequence = uint16(i)
		if i == p.count-1 {
			c.SetReadLimit(ctx, deadline)
		} else {
			c.SetReadLimit(ctx, begin.Add(time.Duration(i+1)*slot))
		}
		if _, err := c.Write(e.request()); err != nil {
			return FromError(PhaseSend, err, "")
		}
		out = p.await(c, &e, raw && !e.v6)
		if out.Reason != Timeout || ctx.Err() != nil {
			break
		}
	}
	if out.Reason == Timeout && p.count > 1 {
		out.Detail = "no answer to " + strconv.Itoa(p.count)
	}
	return out
}

// await reads until the answer is among what came.
func (p *pingProbe) await(c *Conn, e *echo, header bool) Outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := c.Read(*buf)
		if err != nil {
			return FromError(PhaseReceive, err, "")
		}
		if e.answeredBy((*buf)[:n], header) {
			return NewOutcome(OK, PhaseReceive, "")
		}
	}
}

func (p *pingProbe) openICMP(ctx context.Context, deadline time.Time) (c *Conn, raw bool, out Outcome) {
	protocol := unix.IPPROTO_ICMP
	if p.To.Addr().Is6() {
		protocol = unix.IPPROTO_ICMPV6
	}
	if !rawPing.Load() {
		c, out = p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, protocol)
		if c != nil || out.Reason != Local {
			return c, false, out
		}
	}
	c, out = p.ConnectDatagram(ctx, deadline, unix.SOCK_RAW, protocol)
	if c != nil {
		rawPing.Store(true)
	}
	return c, true, out
}
