// This file is the probe of type "syn": the first half of a TCP handshake. The
// server's kernel says that somebody listens; the application is never woken.

package checker

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

type synProbe struct {
	dialer
	halves *halves
	source source
}

func newSYNProbe(c *Check, common *shared) prober {
	return &synProbe{dialer: newDialer(c), halves: common.halves}
}

// synAgain is when a SYN is sent once more (RFC 6298 §2.1).
const synAgain = time.Second

func (p *synProbe) probe(ctx context.Context, deadline time.Time) outcome {
	now := time.Now()
	from, err := p.source.get(&p.dialer, now)
	if err != nil {
		return failed(PhaseConnect, err, "")
	}
	half := p.halves.of(p.to.Addr())
	w := &waiter{rand.Uint32(), make(chan Reason, 1)}
	server := p.to
	if server.Addr().Zone() != "" { // answers are known without it
		server = unmapped(server)
	}
	raw, key, err := half.enter(server, w)
	if err != nil {
		return local(err)
	}
	defer half.leave(key)
	header := synHeader(from, key.port, p.to, w.sequence)
	to, err := sockaddr(p.to)
	if err != nil {
		return failed(PhaseConnect, err, "")
	}
	if v4, ok := to.(*unix.SockaddrInet4); ok {
		v4.Port = 0
	} else {
		to.(*unix.SockaddrInet6).Port = 0 // it would be a protocol
	}
	control := p.control(from)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if e := raw.Control(func(fd uintptr) { err = unix.Sendmsg(int(fd), header, control, to, 0) }); e != nil {
			err = e
		}
		if err != nil {
			p.source.forget()
			return failed(PhaseConnect, err, "")
		}
		again := min(synAgain, time.Until(deadline))
		timer.Reset(again)
		select {
		case reason := <-w.answer:
			if reason == Refused {
				return end(Refused, PhaseConnect, "connection refused")
			}
			return end(reason, PhaseConnect, "")
		case <-timer.C:
			if again < synAgain {
				return end(Timeout, PhaseConnect, "no answer")
			}
		case <-ctx.Done():
			return outcome{}
		}
	}
}

// local is an error that is this machine's, whatever it is.
func local(err error) outcome {
	return end(Local, PhaseConnect, printable(brief(err), detailLimit))
}

// control is what goes with each SYN: the source address, which the checksum was
// made with, and the mark.
func (p *synProbe) control(from netip.Addr) []byte {
	var b []byte
	if from.Is4() {
		b = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()})
	} else {
		b = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()})
	}
	if p.mark == 0 {
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
	binary.NativeEndian.PutUint32(b[at+unix.CmsgLen(0):], p.mark)
	return b
}
