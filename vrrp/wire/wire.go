// Package wire carries VRRP messages over IPv4 multicast through a raw socket
// that is bound to one interface. It knows addresses and octets, and never what
// a message says.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Protocol is VRRP's IP protocol number, RFC 9568 §5.1.1.4.
const Protocol = 112

// Group is the multicast group of VRRP over IPv4, RFC 9568 §5.1.1.2.
var Group = netip.AddrFrom4([4]byte{224, 0, 0, 18})

// MaxPacket is the most that Receive can be given: an IPv4 header with all its
// options and an advert of 255 IPv4 addresses, with room to see that it is longer.
const MaxPacket = 60 + 8 + 255*4 + 64

// trafficClass is internetwork control, as routing protocols mark their packets.
const trafficClass = 0xc0

// Packet is one received IPv4 packet. Payload points into Receive's buffer.
type Packet struct {
	Source, Destination netip.Addr
	TTL                 uint8
	Payload             []byte
}

// Conn is an open socket. Receive and Send may be called at the same time, Close
// at any time.
type Conn struct {
	file   *os.File
	raw    rawConn
	source netip.Addr
}

// rawConn is what is used of syscall.RawConn.
type rawConn interface {
	Control(f func(fd uintptr)) error
	Read(f func(fd uintptr) (done bool)) error
}

// Open makes a socket on the interface of that name and index, which sends from
// source. Nothing is left open after an error.
func Open(name string, index int, source netip.Addr) (*Conn, error) {
	if !source.Is4() {
		return nil, fmt.Errorf("failed to open the VRRP socket on %s: %v is no IPv4 address to send from", name, source)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, Protocol)
	if err != nil {
		return nil, refused(name, "socket", err)
	}
	if what, err := prepare(fd, name, index, source); err != nil {
		_ = unix.Close(fd)
		return nil, refused(name, what, err)
	}
	// The descriptor is non-blocking, so the file is one of the runtime's poller:
	// Close wakes a Receive.
	file := os.NewFile(uintptr(fd), "vrrp:"+name)
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, refused(name, "poll", err)
	}
	return &Conn{file: file, raw: raw, source: source}, nil
}

func refused(name, what string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("failed to open the VRRP socket on %s: %s: %w: run as root, or give CAP_NET_RAW", name, what, err)
	}
	return fmt.Errorf("failed to open the VRRP socket on %s: %s: %w", name, what, err)
}

// prepare binds the socket and says on an error what failed.
func prepare(fd int, name string, index int, source netip.Addr) (string, error) {
	// Between socket and bind it hears every interface. So first nothing is let
	// in, then what came in before that is thrown away.
	if err := filter(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
		return "filter", err
	}
	if err := unix.BindToDevice(fd, name); err != nil {
		return "bind to the interface", err
	}
	member := &unix.IPMreqn{Multiaddr: Group.As4(), Address: source.As4(), Ifindex: int32(index)}
	for _, o := range []struct {
		what string
		set  func() error
	}{
		{"multicast interface", func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, member) }},
		{"join " + Group.String(), func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, member) }},
		{"multicast all", option(fd, unix.IP_MULTICAST_ALL, 0)},
		{"multicast TTL", option(fd, unix.IP_MULTICAST_TTL, 255)},
		{"TTL", option(fd, unix.IP_TTL, 255)},
		{"multicast loop", option(fd, unix.IP_MULTICAST_LOOP, 0)},
		{"TOS", option(fd, unix.IP_TOS, trafficClass)},
	} {
		if err := o.set(); err != nil {
			return o.what, err
		}
	}
	drain(fd)
	if err := filter(fd, accept); err != nil {
		return "filter", err
	}
	return "", nil
}

func option(fd, name, value int) func() error {
	return func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, name, value) }
}

// accept lets whole packets in. What is wrong with one is for the election to
// say and count, so nothing is hidden from it.
var accept = []bpf.Instruction{bpf.RetConstant{Val: MaxPacket}}

func filter(fd int, program []bpf.Instruction) error {
	code, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filters := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filters[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]})
}

func drain(fd int) {
	var b [1]byte
	for {
		if _, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC); err != nil {
			return
		}
	}
}

// Source is the address that messages are sent from.
func (c *Conn) Source() netip.Addr { return c.source }

// Close ends the socket and a waiting Receive.
func (c *Conn) Close() error { return c.file.Close() }

// Receive waits for the next packet and puts it into buf, of MaxPacket octets or
// more. After Close it returns an error that is os.ErrClosed.
func (c *Conn) Receive(buf []byte) (Packet, error) {
	for {
		var n int
		var failed error
		err := c.raw.Read(func(fd uintptr) bool {
			n, failed = receive(int(fd), buf)
			return failed != unix.EAGAIN
		})
		if err != nil {
			// Only a closed file cannot be waited for, and the runtime's word for
			// it is not exported.
			return Packet{}, fmt.Errorf("%w: %w", os.ErrClosed, err)
		}
		if failed == unix.EINTR {
			continue
		}
		if failed != nil {
			return Packet{}, failed
		}
		if p, ok := parse(buf[:n]); ok {
			return p, nil
		}
	}
}

// receive reads without asking for the sender's address, which is in the header
// anyway and would be allocated each time.
func receive(fd int, buf []byte) (int, error) {
	return unix.Read(fd, buf)
}

// parse takes an IPv4 header off. The kernel has checked it; a packet that is not
// one all the same is left out.
func parse(b []byte) (Packet, bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return Packet{}, false
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total < header || header > len(b) {
		return Packet{}, false
	}
	return Packet{
		Source:      netip.AddrFrom4([4]byte(b[12:16])),
		Destination: netip.AddrFrom4([4]byte(b[16:20])),
		TTL:         b[8],
		Payload:     b[header:min(total, len(b))],
	}, true
}

// Send sends a message to the group. It never waits: a message that finds no
// room is an error, and late ones would be worse than none.
func (c *Conn) Send(message []byte) error {
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		to := &unix.SockaddrInet4{Addr: Group.As4()}
		failed = unix.Sendto(int(fd), message, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, to)
	})
	if err != nil {
		return err
	}
	return failed
}
