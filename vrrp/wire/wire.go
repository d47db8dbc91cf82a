// Package wire carries VRRP messages over IPv4 or IPv6, by multicast or unicast,
// through a raw socket that is bound to one interface. It knows addresses and
// octets, and never what a message says.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Protocol is VRRP's IP protocol number, RFC 9568 §5.1.1.4.
const Protocol = 112

// The multicast groups of VRRP, RFC 9568 §5.1.1.2 and §5.1.2.2.
var (
	Group   = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupV6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// MaxPacket is the most that Receive can be given: an IPv4 header with all its
// options and an advert of 255 addresses with what may be behind them, with room
// to see that it is longer.
const MaxPacket = 60 + 8 + 255*16 + 128

// trafficClass is internetwork control, as routing protocols mark their packets.
const trafficClass = 0xc0

// Packet is one received packet. Payload points into Receive's buffer.
type Packet struct {
	Source, Destination netip.Addr
	TTL                 uint8 // or hop limit
	Payload             []byte
}

// Conn is an open socket. Receive and Send may be called at the same time, Close
// at any time.
type Conn struct {
	file     *os.File
	raw      rawConn
	source   netip.Addr
	index    int
	vrid     uint8
	demuxKey demuxKey
	frames   *framer // sends to the group from a virtual MAC address; nil: the kernel does, from the interface's
}

// rawConn is what is used of syscall.RawConn.
type rawConn interface {
	Control(f func(fd uintptr)) error
	Read(f func(fd uintptr) (done bool)) error
}

// Config is what a socket is for.
type Config struct {
	Interface string
	Index     int        // of the interface
	Source    netip.Addr // what it sends from
	VRID      uint8      // whose adverts it is to hear, see others.go

	// Unicast hears what is sent to Source, and not the multicast group.
	Unicast bool

	// MAC is what adverts to the group leave from; nil: the interface's own. What is
	// sent to one host, which is asked for its own, always leaves from that.
	MAC net.HardwareAddr
}

// Open makes a socket. Nothing is left open after an error.
func Open(cfg Config) (*Conn, error) {
	name, index, source, unicast, mac := cfg.Interface, cfg.Index, cfg.Source, cfg.Unicast, cfg.MAC
	if !source.IsValid() || source.Is4In6() {
		return nil, fmt.Errorf("failed to open the VRRP socket on %s: %v is no address to send from", name, source)
	}
	family := unix.AF_INET
	if source.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, Protocol)
	if err != nil {
		return nil, openError(name, "socket", err)
	}
	if what, err := configure(fd, name, index, source, unicast); err != nil {
		_ = unix.Close(fd)
		return nil, openError(name, what, err)
	}
	// The descriptor is non-blocking, so the file is one of the runtime's poller:
	// Close wakes a Receive.
	file := os.NewFile(uintptr(fd), "vrrp:"+name)
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, openError(name, "poll", err)
	}
	c := &Conn{file: file, raw: raw, source: source, index: index, vrid: cfg.VRID}
	if mac != nil && !unicast {
		if c.frames, err = openFramer(name, index, source, mac); err != nil {
			_ = file.Close()
			return nil, err
		}
	}
	if err := c.join(); err != nil {
		_ = c.Close()
		return nil, openError(name, "filter", err)
	}
	return c, nil
}

func openError(name, what string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("failed to open the VRRP socket on %s: %s: %w: run as root, or give CAP_NET_RAW", name, what, err)
	}
	return fmt.Errorf("failed to open the VRRP socket on %s: %s: %w", name, what, err)
}

// A step is one thing to do to a socket.
type option struct {
	what string
	do   func() error
}

// configure binds the socket and says on an error what failed.
func configure(fd int, name string, index int, source netip.Addr, unicast bool) (string, error) {
	// Between socket and bind it hears every interface. So first nothing is let
	// in, then what came in before that is thrown away.
	steps := []option{
		{"filter", func() error { return filter(fd, []bpf.Instruction{bpf.RetConstant{Val: 0}}) }},
		{"bind to the interface", func() error { return unix.BindToDevice(fd, name) }},
	}
	if source.Is4() {
		steps = append(steps, configureV4(fd, index, source, unicast)...)
	} else {
		steps = append(steps, configureV6(fd, index, source, unicast)...)
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return s.what, err
		}
	}
	drain(fd)
	if err := filter(fd, accept); err != nil {
		return "filter", err
	}
	return "", nil
}

func configureV4(fd, index int, source netip.Addr, unicast bool) []option {
	sockopt := func(name, value int) func() error {
		return func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, name, value) }
	}
	steps := []option{{"TTL", sockopt(unix.IP_TTL, 255)}, {"TOS", sockopt(unix.IP_TOS, trafficClass)}}
	if unicast {
		// It sends from what it is bound to.
		return append(steps, option{"bind to " + source.String(), func() error {
			return unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()})
		}})
	}
	member := &unix.IPMreqn{Multiaddr: Group.As4(), Address: source.As4(), Ifindex: int32(index)}
	return append(steps,
		option{"multicast interface", func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, member) }},
		option{"join " + Group.String(), func() error { return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, member) }},
		option{"multicast all", sockopt(unix.IP_MULTICAST_ALL, 0)},
		option{"multicast TTL", sockopt(unix.IP_MULTICAST_TTL, 255)},
		option{"multicast loop", sockopt(unix.IP_MULTICAST_LOOP, 0)},
	)
}

func configureV6(fd, index int, source netip.Addr, unicast bool) []option {
	sockopt := func(name, value int) func() error {
		return func() error { return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, name, value) }
	}
	steps := []option{
		// The kernel has no part in the checksum: what is wrong with a message is
		// for the election to say and count.
		{"hop limit", sockopt(unix.IPV6_UNICAST_HOPS, 255)},
		{"traffic class", sockopt(unix.IPV6_TCLASS, trafficClass)},
		{"hop limits of packets", sockopt(unix.IPV6_RECVHOPLIMIT, 1)},
		{"addresses of packets", sockopt(unix.IPV6_RECVPKTINFO, 1)},
		{"send from " + source.String(), func() error {
			info := make([]byte, unix.SizeofInet6Pktinfo) // struct in6_pktinfo, linux/ipv6.h
			a := source.As16()
			copy(info, a[:])
			binary.NativeEndian.PutUint32(info[16:], uint32(index))
			return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, string(info))
		}},
	}
	if unicast {
		return append(steps, option{"bind to " + source.String(), func() error {
			return unix.Bind(fd, &unix.SockaddrInet6{Addr: source.As16(), ZoneId: zone(source, index)})
		}})
	}
	return append(steps,
		option{"multicast interface", sockopt(unix.IPV6_MULTICAST_IF, index)},
		option{"join " + GroupV6.String(), func() error {
			return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP,
				&unix.IPv6Mreq{Multiaddr: GroupV6.As16(), Interface: uint32(index)})
		}},
		option{"multicast all", sockopt(unix.IPV6_MULTICAST_ALL, 0)},
		option{"multicast hop limit", sockopt(unix.IPV6_MULTICAST_HOPS, 255)},
		option{"multicast loop", sockopt(unix.IPV6_MULTICAST_LOOP, 0)},
	)
}

// zone is the interface, for addresses that mean nothing without one.
func zone(a netip.Addr, index int) uint32 {
	if a.IsLinkLocalUnicast() || a.IsMulticast() {
		return uint32(index)
	}
	return 0
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
func (c *Conn) Close() error {
	c.leave()
	if c.frames != nil {
		_ = c.frames.file.Close()
	}
	return c.file.Close()
}

// Receive waits for the next packet and puts it into buf, of MaxPacket octets or
// more. After Close it returns an error that is os.ErrClosed.
func (c *Conn) Receive(buf []byte) (Packet, error) {
	read := c.readV4
	if c.source.Is6() {
		read = c.readV6
	}
	for {
		var p Packet
		var ok bool
		var failed error
		err := c.raw.Read(func(fd uintptr) bool {
			p, ok, failed = read(int(fd), buf)
			return failed != unix.EAGAIN
		})
		if err != nil {
			// Only a closed file cannot be waited for, and the runtime's word for
			// it is not exported.
			return Packet{}, fmt.Errorf("%w: %w", os.ErrClosed, err)
		}
		switch {
		case failed == unix.EINTR:
		case failed != nil:
			return Packet{}, failed
		case ok:
			return p, nil
		}
	}
}

// readV4 reads without asking for the sender's address, which is in the header
// anyway and would be allocated each time.
func (c *Conn) readV4(fd int, buf []byte) (Packet, bool, error) {
	n, err := unix.Read(fd, buf)
	if err != nil {
		return Packet{}, false, err
	}
	p, ok := parse(buf[:n])
	return p, ok, nil
}

// readV6 reads a packet, whose header the kernel keeps and tells of besides.
func (c *Conn) readV6(fd int, buf []byte) (Packet, bool, error) {
	var control [128]byte
	n, m, _, from, err := unix.Recvmsg(fd, buf, control[:], 0)
	if err != nil {
		return Packet{}, false, err
	}
	six, ok := from.(*unix.SockaddrInet6)
	if !ok {
		return Packet{}, false, nil
	}
	p, ok := parseV6(control[:m])
	p.Source, p.Payload = netip.AddrFrom16(six.Addr), buf[:n]
	return p, ok, nil
}

// parseV6 takes destination and hop limit out of the control messages (RFC 3542
// §6). Without both the packet cannot be judged.
func parseV6(control []byte) (p Packet, ok bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return Packet{}, false
	}
	hops := false
	for _, m := range messages {
		if m.Header.Level != unix.IPPROTO_IPV6 {
			continue
		}
		switch {
		case m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 16:
			p.Destination = netip.AddrFrom16([16]byte(m.Data[:16]))
		case m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			p.TTL, hops = uint8(binary.NativeEndian.Uint32(m.Data)), true
		}
	}
	return p, hops && p.Destination.IsValid()
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

// Send sends a message to an address of the socket's family. It never waits: a
// message that finds no room is an error, and late ones would be worse than none.
func (c *Conn) Send(to netip.Addr, message []byte) error {
	if c.frames != nil && to.IsMulticast() {
		return c.frames.send(to, message)
	}
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		var address unix.Sockaddr
		if c.source.Is4() {
			address = &unix.SockaddrInet4{Addr: to.As4()}
		} else {
			address = &unix.SockaddrInet6{Addr: to.As16(), ZoneId: zone(to, c.index)}
		}
		failed = unix.Sendto(int(fd), message, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, address)
	})
	if err != nil {
		return err
	}
	return failed
}
