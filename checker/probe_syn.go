// This file is the probe of type "syn": the first half of a TCP handshake. The
// server's kernel says that somebody listens; the application is never woken.

package checker

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

type synProbe struct {
	one    LoopProbe
	source sourceAddr
	// What goes with each SYN: the name of the server, and control messages with
	// the source address, for which they were made.
	to      rawSockaddr
	from    netip.Addr
	control []byte
}

func newSYNProbe(c *Check) Prober {
	p := &synProbe{}
	p.one = LoopProbe{Dialer: newDialer(c), SYN: p}
	return p
}

func (p *synProbe) LoopProbe() *LoopProbe { return &p.one }

func (p *synProbe) Probe(ctx context.Context, deadline time.Time) Outcome {
	return RunBlocking(ctx, deadline, &p.one)
}

// synRetransmit is when a SYN is sent once more (RFC 6298 §2.1).
const synRetransmit = time.Second

// address finds out where a SYN comes from and goes to.
func (p *synProbe) address(f *Inflight) error {
	from, err := p.source.resolve(&p.one.Dialer, f.Started)
	if err != nil {
		return err
	}
	if from != p.from || p.to.n == 0 || p.one.Dialer.To.Addr().Zone() != "" {
		if p.to, err = p.one.Dialer.rawSockaddr(); err != nil {
			return err
		}
		p.to.clearPort() // it would be a protocol
		p.from, p.control = from, p.options(from)
	}
	return nil
}

// synOutcome is what an answer to a SYN means.
func synOutcome(reason Reason) Outcome {
	if reason == Refused {
		return NewOutcome(Refused, PhaseConnect, "connection refused")
	}
	return NewOutcome(reason, PhaseConnect, "")
}

// LocalFailure is an error that is this machine's, whatever it is.
func LocalFailure(err error) Outcome {
	return NewOutcome(Local, PhaseConnect, Printable(errorText(err), MaxDetail))
}

// options are the source address, which the checksum is made with, and the mark.
func (p *synProbe) options(from netip.Addr) []byte {
	var b []byte
	if from.Is4() {
		b = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()})
	} else {
		b = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()})
	}
	mark := p.one.Dialer.Mark
	if mark == 0 {
		return b
	}
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(4))...)
	// struct cmsghdr is a length of a machine word, level and type.
	word := unix.CmsgLen(0) - 8
	if word == 8 {
		binary.NativeEndian.PutUint64(b[at:], uint64(unix.CmsgLen(4)))
	} else {
		binary.NativeEndian.PutUint32(b[at:], uint32(unix.CmsgLen(4)))
	}
	binary.NativeEndian.PutUint32(b[at+word:], unix.SOL_SOCKET)
	binary.NativeEndian.PutUint32(b[at+word+4:], unix.SO_MARK)
	binary.NativeEndian.PutUint32(b[at+unix.CmsgLen(0):], mark)
	return b
}
