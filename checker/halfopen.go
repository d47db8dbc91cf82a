// This file is what all probes of type "syn" share: a raw socket for each family
// that SYNs go out of and answers come in by, and a few source ports which are
// taken so that nobody else on this machine gets them.
//
// Nobody listens on these ports, so the kernel answers a SYN-ACK with a reset by
// itself, and the server forgets the handshake: its application never hears of it.

package checker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// halfPorts is how many source ports take turns: a server that missed our reset
// still has the old handshake when the next SYN comes.
const halfPorts = 4

// half is one family's.
type half struct {
	v6      bool
	kernel  kernel
	opened  bool
	fd      int
	held    []int // sockets that hold the ports
	ports   []uint16
	turn    int
	waiting map[halfKey]*flight
	batch   []*flight // whose SYNs were not sent yet
	mail    mail
}

type halfKey struct {
	server netip.AddrPort // without a zone: answers come without it
	port   uint16
}

// halves is both families, opened when they are first needed. The loop owns it.
type halves struct{ v4, v6 half }

func newHalves(k kernel) *halves { return &halves{half{kernel: k}, half{kernel: k, v6: true}} }

func (h *halves) of(a netip.Addr) *half {
	if a.Is4() {
		return &h.v4
	}
	return &h.v6
}

// at is the family of a raw socket; nil: it is another socket.
func (h *halves) at(fd int) *half {
	switch {
	case h.v4.opened && h.v4.fd == fd:
		return &h.v4
	case h.v6.opened && h.v6.fd == fd:
		return &h.v6
	}
	return nil
}

// close ends what was opened. A probe that comes later opens it again.
func (h *halves) close() {
	h.v4.close()
	h.v6.close()
}

func (h *half) close() {
	if h.opened {
		unix.Close(h.fd)
		h.letGo()
		h.opened = false
	}
}

// letGo frees the ports.
func (h *half) letGo() {
	for _, fd := range h.held {
		unix.Close(fd)
	}
	h.held, h.ports = nil, nil
}

// begin gives a flight a port and a sequence number, opens what is missing, and
// puts the SYN on the next batch. What went wrong is its outcome.
func (h *halves) begin(f *flight) (out outcome, failed bool) {
	one := h.of(f.light.dialer.to.Addr())
	if !one.opened {
		if err := one.open(); err != nil {
			return local(err), true
		}
	}
	server := unmapped(f.light.dialer.to)
	for range one.ports {
		one.turn++
		key := halfKey{server, one.ports[one.turn%len(one.ports)]}
		if one.waiting[key] == nil {
			f.half, f.sequence = key, rand.Uint32()
			one.waiting[key] = f
			return h.again(f)
		}
	}
	return local(errors.New("too many probes of one port")), true
}

// again sends a flight's SYN with the next batch.
func (h *halves) again(f *flight) (outcome, bool) {
	if err := f.light.syn.address(f); err != nil {
		return failed(PhaseConnect, err, ""), true
	}
	one := h.of(f.light.dialer.to.Addr())
	one.batch = append(one.batch, f)
	return outcome{}, false
}

// end forgets a flight.
func (h *halves) end(f *flight) {
	one := h.of(f.light.dialer.to.Addr())
	if one.waiting[f.half] == f {
		delete(one.waiting, f.half)
	}
}

// flush sends the batches. It hands over each flight whose SYN could not be sent.
func (h *halves) flush(refused func(*flight, error)) {
	h.v4.flush(refused)
	h.v6.flush(refused)
}

func (h *half) flush(refused func(*flight, error)) {
	for rest := h.batch; len(rest) > 0; {
		n, err := h.mail.send(h.fd, rest)
		rest = rest[n:]
		if err != nil {
			refused(rest[0], err)
			rest = rest[1:]
		}
	}
	h.batch = h.batch[:0]
}

// receive hands over each flight that was answered, with the answer.
func (h *half) receive(answered func(*flight, Reason)) {
	for {
		n, err := h.mail.receive(h.fd)
		for i := range n {
			b, from := h.mail.at(i)
			s, ok := parseSegment(b, !h.v6)
			if !ok {
				continue
			}
			f := h.waiting[halfKey{netip.AddrPortFrom(from, s.from), s.to}]
			if f == nil {
				continue
			}
			if reason := s.answers(f.sequence); reason != "" {
				answered(f, reason)
			}
		}
		if err != nil || n < mailRoom {
			return
		}
	}
}

// open takes the ports, and then the socket with a filter for them.
func (h *half) open() (err error) {
	family, any := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if h.v6 {
		family, any = unix.AF_INET6, &unix.SockaddrInet6{}
	}
	defer func() {
		if err != nil {
			h.letGo()
		}
	}()
	for range halfPorts {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		h.held = append(h.held, fd)
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
	if err := h.kernel.watch(fd); err != nil {
		unix.Close(fd)
		return err
	}
	h.fd, h.opened, h.waiting = fd, true, map[halfKey]*flight{}
	return nil
}

// filter lets in what answers a SYN of ours. A raw socket gets a copy of all that
// TCP gets. IPv4's comes with the IP header.
func (h *half) filter(fd int) error {
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
	if h.v6 { // the kernel makes the checksum
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_CHECKSUM, 16)
	}
	return nil
}

// source is the address that the kernel would send from: IPv4's checksum has it
// in it. It holds for a while, and until something fails: addresses come and go.
type source struct {
	from  netip.Addr
	until time.Time
}

const sourceHolds = time.Minute

func (s *source) get(d *dialer, now time.Time) (netip.Addr, error) {
	if now.Before(s.until) {
		return s.from, nil
	}
	fd, to, err := d.socket(unix.SOCK_DGRAM, 0)
	if err != nil {
		return netip.Addr{}, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return netip.Addr{}, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, err
	}
	s.from, s.until = addrPort(sa).Addr(), now.Add(sourceHolds)
	return s.from, nil
}

func (s *source) forget() { s.until = time.Time{} }
