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
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// halfPorts is how many source ports take turns: a server that missed our reset
// still has the old handshake when the next SYN comes.
const halfPorts = 4

// half is one family's.
type half struct {
	v6 bool

	mu      sync.Mutex
	file    *os.File
	raw     syscall.RawConn
	held    []int // sockets that hold the ports
	ports   []uint16
	turn    int
	waiting map[halfKey]*waiter
	reader  sync.WaitGroup
}

type halfKey struct {
	server netip.AddrPort
	port   uint16
}

// waiter is one SYN that is not answered yet.
type waiter struct {
	sequence uint32
	answer   chan Reason // with room for one
}

// halves is both families, opened when they are first needed.
type halves struct{ v4, v6 half }

func newHalves() *halves { return &halves{v6: half{v6: true}} }

func (h *halves) of(a netip.Addr) *half {
	if a.Is4() {
		return &h.v4
	}
	return &h.v6
}

// close ends what was opened. A probe that comes later opens it again.
func (h *halves) close() {
	h.v4.close()
	h.v6.close()
}

func (h *half) close() {
	h.mu.Lock()
	if h.file != nil {
		h.file.Close()
		h.file = nil
		h.letGo()
	}
	h.mu.Unlock()
	h.reader.Wait()
}

// letGo frees the ports.
func (h *half) letGo() {
	for _, fd := range h.held {
		unix.Close(fd)
	}
	h.held, h.ports = nil, nil
}

// enter opens what is missing, and registers a SYN under a port of its own.
func (h *half) enter(server netip.AddrPort, w *waiter) (raw syscall.RawConn, key halfKey, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == nil {
		if err := h.open(); err != nil {
			return nil, key, err
		}
	}
	for range h.ports {
		h.turn++
		key = halfKey{server, h.ports[h.turn%len(h.ports)]}
		if h.waiting[key] == nil {
			h.waiting[key] = w
			return h.raw, key, nil
		}
	}
	return nil, key, errors.New("too many probes of one port")
}

func (h *half) leave(key halfKey) {
	h.mu.Lock()
	delete(h.waiting, key)
	h.mu.Unlock()
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
	h.file = os.NewFile(uintptr(fd), "syn")
	if h.raw, err = h.file.SyscallConn(); err != nil {
		return err
	}
	h.waiting = map[halfKey]*waiter{}
	raw := h.raw
	h.reader.Go(func() { h.read(raw) })
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

// read gives each answer to the probe that waits for it, until the socket is
// closed.
func (h *half) read(raw syscall.RawConn) {
	buf := make([]byte, 256)
	for {
		var n int
		var from unix.Sockaddr
		var err error
		if raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf, 0)
			return err != unix.EAGAIN
		}) != nil {
			return // closed
		}
		if s, ok := parseSegment(buf[:max(n, 0)], !h.v6); ok && err == nil {
			h.deliver(addrPort(from).Addr(), s)
		}
	}
}

func (h *half) deliver(from netip.Addr, s segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := halfKey{netip.AddrPortFrom(from, s.from), s.to}
	w := h.waiting[key]
	if w == nil {
		return
	}
	if reason := s.answers(w.sequence); reason != "" {
		delete(h.waiting, key)
		w.answer <- reason
	}
}

// source is the address that the kernel would send from: IPv4's checksum has it
// in it. It holds for a while: addresses come and go.
type source struct {
	mu    sync.Mutex
	from  netip.Addr
	until time.Time
}

const sourceHolds = 5 * time.Second

func (s *source) get(d *dialer, now time.Time) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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

func (s *source) forget() {
	s.mu.Lock()
	s.until = time.Time{}
	s.mu.Unlock()
}
