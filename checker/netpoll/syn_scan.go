package netpoll

import (
	"errors"
	"fmt"
	"lvsd/checker/outcome"
	"lvsd/checker/probe/wire"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// synPorts is how many source ports are used in turn: a server that missed the reset
// still has the old handshake when the next SYN arrives.
const synPorts = 4

// synFamily is the SYN scan of one address family: a raw socket that SYNs leave by and
// replies arrive on, and source ports that are bound so that no other process gets
// them. Nothing listens on these ports, so the kernel replies to a SYN-ACK with a
// reset, and the application of the server never sees a connection.
type synFamily struct {
	v6          bool
	poller      Poller
	opened      bool
	fd          int
	portSockets []int // bound to the ports
	ports       []uint16
	nextPort    int
	waiting     map[synKey]*Inflight
	queue       []*Inflight // whose SYNs are to be sent
	batch       sendBatch
}

type synKey struct {
	server netip.AddrPort // without a zone, as in replies
	port   uint16
}

// synScan is both families, opened at first use. The loop owns it.
type synScan struct{ v4, v6 synFamily }

func newSYNScan(k Poller) *synScan {
	return &synScan{synFamily{poller: k}, synFamily{poller: k, v6: true}}
}

func (h *synScan) family(a netip.Addr) *synFamily {
	if a.Is4() {
		return &h.v4
	}
	return &h.v6
}

// byFD returns the family whose raw socket has the descriptor, or nil.
func (h *synScan) byFD(fd int) *synFamily {
	switch {
	case h.v4.opened && h.v4.fd == fd:
		return &h.v4
	case h.v6.opened && h.v6.fd == fd:
		return &h.v6
	}
	return nil
}

// close closes what was opened; a later probe opens it again.
func (h *synScan) close() {
	h.v4.close()
	h.v6.close()
}

func (h *synFamily) close() {
	if h.opened {
		unix.Close(h.fd)
		h.releasePorts()
		h.opened = false
	}
}

// releasePorts closes the sockets that are bound to the source ports.
func (h *synFamily) releasePorts() {
	for _, fd := range h.portSockets {
		unix.Close(fd)
	}
	h.portSockets, h.ports = nil, nil
}

// start gives a probe a source port and a sequence number, opens what is missing, and
// queues the SYN. On failure it returns the outcome.
func (h *synScan) start(f *Inflight) (out outcome.Outcome, failed bool) {
	one := h.family(f.Probe.Dialer.To.Addr())
	if !one.opened {
		if err := one.open(); err != nil {
			return outcome.LocalFailure(err), true
		}
	}
	server := wire.Unmapped(f.Probe.Dialer.To)
	for range one.ports {
		one.nextPort++
		key := synKey{server, one.ports[one.nextPort%len(one.ports)]}
		if one.waiting[key] == nil {
			f.synKey, f.synSeq = key, rand.Uint32()
			one.waiting[key] = f
			return h.resend(f)
		}
	}
	return outcome.LocalFailure(errors.New("too many probes of one port")), true
}

// resend queues the SYN of a probe.
func (h *synScan) resend(f *Inflight) (outcome.Outcome, bool) {
	if err := f.Probe.SYN.prepare(&f.Probe.Dialer, f.Started); err != nil {
		return outcome.FromError(outcome.PhaseConnect, err, ""), true
	}
	one := h.family(f.Probe.Dialer.To.Addr())
	one.queue = append(one.queue, f)
	return outcome.Outcome{}, false
}

// forget drops a probe.
func (h *synScan) forget(f *Inflight) {
	one := h.family(f.Probe.Dialer.To.Addr())
	if one.waiting[f.synKey] == f {
		delete(one.waiting, f.synKey)
	}
}

// flush sends the queued SYNs. It calls failed for each that could not be sent.
func (h *synScan) flush(failed func(*Inflight, error)) {
	h.v4.flush(failed)
	h.v6.flush(failed)
}

func (h *synFamily) flush(failed func(*Inflight, error)) {
	for rest := h.queue; len(rest) > 0; {
		n, err := h.batch.send(h.fd, rest)
		rest = rest[n:]
		if err != nil {
			failed(rest[0], err)
			rest = rest[1:]
		}
	}
	h.queue = h.queue[:0]
}

// receive calls answered for each probe whose SYN was answered.
func (h *synFamily) receive(answered func(*Inflight, outcome.Reason)) {
	for {
		n, err := h.batch.receive(h.fd)
		for i := range n {
			b, from := h.batch.segment(i)
			s, ok := parseSegment(b, !h.v6)
			if !ok {
				continue
			}
			f := h.waiting[synKey{netip.AddrPortFrom(from, s.from), s.to}]
			if f == nil {
				continue
			}
			if reason := s.reply(f.synSeq); reason != "" {
				answered(f, reason)
			}
		}
		if err != nil || n < batchSize {
			return
		}
	}
}

// open binds the source ports, then opens the raw socket with a filter for them.
func (h *synFamily) open() (err error) {
	family, any := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if h.v6 {
		family, any = unix.AF_INET6, &unix.SockaddrInet6{}
	}
	defer func() {
		if err != nil {
			h.releasePorts()
		}
	}()
	for range synPorts {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		h.portSockets = append(h.portSockets, fd)
		if h.v6 {
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1)
		}
		if err := unix.Bind(fd, any); err != nil {
			return err
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		h.ports = append(h.ports, addrPort(sa).Port())
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("failed to open a raw socket: %w", err)
	}
	if err := h.filter(fd); err != nil {
		unix.Close(fd)
		return err
	}
	if err := h.poller.Watch(fd); err != nil {
		unix.Close(fd)
		return err
	}
	h.fd, h.opened, h.waiting = fd, true, map[synKey]*Inflight{}
	return nil
}

// filter lets only replies to our SYNs in: a raw socket receives a copy of every TCP
// segment. Those of IPv4 start with the IP header.
func (h *synFamily) filter(fd int) error {
	program := []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX, Val: 0}}
	if !h.v6 {
		program = []bpf.Instruction{bpf.LoadMemShift{Off: 0}}
	}
	program = append(program, bpf.LoadIndirect{Off: 13, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: flagSYN | flagRST, SkipTrue: 1}, bpf.RetConstant{},
		bpf.LoadIndirect{Off: 2, Size: 2})
	for i, port := range h.ports {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: uint8(len(h.ports) - i)})
	}
	program = append(program, bpf.RetConstant{}, bpf.RetConstant{Val: 128})
	assembled, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(assembled))
	for i, in := range assembled {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil {
		return fmt.Errorf("failed to attach a filter: %w", err)
	}
	if h.v6 { // the kernel computes the checksum, at offset 16
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_CHECKSUM, 16)
	}
	return nil
}
