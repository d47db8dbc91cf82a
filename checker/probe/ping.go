package probe

import (
	"context"
	"encoding/binary"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// pingProbe sends up to count ICMP echo requests (RFC 792, RFC 4443 §4), one after
// the other at equal distances within the timeout. One reply is enough.
type pingProbe struct {
	netpoll.Dialer
	count int
}

// rawPing is set once the kernel refuses a datagram socket for ICMP
// (net.ipv4.ping_group_range); a raw socket needs CAP_NET_RAW.
var rawPing atomic.Bool

func newPingProbe(c *Check) Prober {
	return &pingProbe{newDialer(c), max(c.Count, 1)}
}

func (p *pingProbe) Probe(ctx context.Context, deadline time.Time) outcome.Outcome {
	c, raw, out := p.openICMP(ctx, deadline)
	if c == nil {
		return out
	}
	defer c.Close()
	e := echo{v6: p.To.Addr().Is6(), ipHeader: raw && p.To.Addr().Is4()}
	binary.NativeEndian.PutUint64(e.payload[:], rand.Uint64())
	binary.NativeEndian.PutUint64(e.payload[8:], rand.Uint64())
	start := time.Now()
	slot := deadline.Sub(start) / time.Duration(p.count)
	for i := range p.count {
		e.sequence = i
		if i == p.count-1 {
			c.SetReadLimit(ctx, deadline)
		} else {
			c.SetReadLimit(ctx, start.Add(time.Duration(i+1)*slot))
		}
		if _, err := c.Write(e.request()); err != nil {
			return outcome.FromError(outcome.PhaseSend, err, "")
		}
		out = e.await(c)
		if out.Reason != outcome.Timeout || ctx.Err() != nil {
			break
		}
	}
	if out.Reason == outcome.Timeout && p.count > 1 {
		out.Detail = "no reply to " + strconv.Itoa(p.count)
	}
	return out
}

// openICMP opens a datagram socket where the kernel allows one, else a raw socket.
func (p *pingProbe) openICMP(ctx context.Context, deadline time.Time) (c *netpoll.Conn, raw bool, out outcome.Outcome) {
	protocol := unix.IPPROTO_ICMP
	if p.To.Addr().Is6() {
		protocol = unix.IPPROTO_ICMPV6
	}
	if !rawPing.Load() {
		c, out = p.ConnectDatagram(ctx, deadline, unix.SOCK_DGRAM, protocol)
		if c != nil || out.Reason != outcome.Local {
			return c, false, out
		}
	}
	c, out = p.ConnectDatagram(ctx, deadline, unix.SOCK_RAW, protocol)
	if c != nil {
		rawPing.Store(true)
	}
	return c, true, out
}

// echo is one echo request and what identifies its reply: a random payload. The
// kernel sets the identifier of a datagram socket, and the checksum for IPv6.
type echo struct {
	v6       bool
	ipHeader bool // replies start with an IPv4 header (raw socket)
	sequence int
	payload  [16]byte
}

func (e *echo) request() []byte {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{
		ID: int(binary.BigEndian.Uint16(e.payload[:])), Seq: e.sequence, Data: e.payload[:]}}
	if e.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	b, _ := m.Marshal(nil) // fails only for bodies that this is not
	return b
}

// await reads until a reply to this request, or to an earlier one, arrives.
func (e *echo) await(c *netpoll.Conn) outcome.Outcome {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := c.Read(*buf)
		if err != nil {
			return outcome.FromError(outcome.PhaseReceive, err, "")
		}
		if e.isReply((*buf)[:n]) {
			return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, "")
		}
	}
}

func (e *echo) isReply(b []byte) bool {
	if e.ipHeader {
		h, err := ipv4.ParseHeader(b)
		if err != nil || h.Len < ipv4.HeaderLen || h.Len > len(b) {
			return false
		}
		b = b[h.Len:]
	}
	protocol, reply := unix.IPPROTO_ICMP, icmp.Type(ipv4.ICMPTypeEchoReply)
	if e.v6 {
		protocol, reply = unix.IPPROTO_ICMPV6, ipv6.ICMPTypeEchoReply
	}
	m, err := icmp.ParseMessage(protocol, b)
	if err != nil || m.Type != reply || m.Code != 0 {
		return false
	}
	body, ok := m.Body.(*icmp.Echo)
	return ok && body.Seq <= e.sequence && string(body.Data) == string(e.payload[:])
}
