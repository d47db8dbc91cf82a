// Raw sockets for VRRP messages, IPv4 and IPv6, multicast and unicast.

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Protocol is the IP protocol number of VRRP, RFC 9568 §5.1.1.4.
const Protocol = 112

// The multicast groups of VRRP, RFC 9568 §5.1.1.2 and §5.1.2.2.
var (
	Group   = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	GroupV6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// MaxPacket is the size of the receive buffer: an IPv4 header with all options
// and an advert of 255 addresses with a trailer, and more, so that longer packets
// are noticed.
const MaxPacket = 60 + 8 + 255*16 + 128

// receiveBuffer is the size in octets of the queue for packets that arrive while the
// receiver pauses. The kernel doubles it; a short packet takes about 800.
const receiveBuffer = 4 << 20

// trafficClass is Internetwork Control (CS6), as routing protocols use it.
const trafficClass = 0xc0

// Packet is one received packet. Payload points into the buffer given to Receive.
type Packet struct {
	Source, Destination netip.Addr
	TTL                 uint8 // or hop limit
	Payload             []byte
}

// Conn is an open socket. Receive and Send may be called concurrently, Close at
// any time.
type Conn struct {
	file     *os.File // blocking for the runtime, which does not poll it: see watch.go
	raw      rawConn
	watch    watch
	source   netip.Addr
	index    int
	vrid     uint8
	demuxKey demuxKey
	from     []byte  // IPV6_PKTINFO of source, given with each message; nil: IPv4
	frames   *framer // multicast from a virtual MAC address; nil: from that of the interface
}

// rawConn is the part of syscall.RawConn in use.
type rawConn interface {
	Control(f func(fd uintptr)) error
	Read(f func(fd uintptr) (done bool)) error
}

// Config describes a socket.
type Config struct {
	Interface string
	Index     int        // of the interface
	Source    netip.Addr // source address
	VRID      uint8      // whose adverts it receives, see demux.go

	// Unicast receives packets to Source instead of the multicast group.
	Unicast bool

	// MAC is the source MAC address of multicast adverts; nil: that of the
	// interface. Unicast adverts always use that of the interface.
	MAC net.HardwareAddr
}

// Open opens a socket. After an error nothing is left open.
func Open(cfg Config) (*Conn, error) {
	name, index, source, unicast, mac := cfg.Interface, cfg.Index, cfg.Source, cfg.Unicast, cfg.MAC
	if !source.IsValid() || source.Is4In6() {
		return nil, fmt.Errorf("failed to open the VRRP socket on %s: %v is not an address to send from", name, source)
	}
	family := unix.AF_INET
	if source.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, Protocol)
	if err != nil {
		return nil, openError(name, "socket", err)
	}
	if what, err := configure(fd, name, index, source, unicast); err != nil {
		_ = unix.Close(fd)
		return nil, openError(name, what, err)
	}
	file := os.NewFile(uintptr(fd), "vrrp:"+name)
	raw, err := file.SyscallConn()
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = file.Close()
		return nil, openError(name, "poll", err)
	}
	c := &Conn{file: file, raw: raw, source: source, index: index, vrid: cfg.VRID}
	if source.Is6() {
		c.from = packetInfo(source, index)
	}
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
		return fmt.Errorf("failed to open the VRRP socket on %s: %s: %w: run as root, or grant CAP_NET_RAW", name, what, err)
	}
	return fmt.Errorf("failed to open the VRRP socket on %s: %s: %w", name, what, err)
}

// option is one step of the configuration of a socket.
type option struct {
	what string
	do   func() error
}

// configure sets up the socket. With an error it returns the name of the failed
// step.
func configure(fd int, name string, index int, source netip.Addr, unicast bool) (string, error) {
	// Between socket and bind, packets of every interface arrive. A filter drops
	// them, and what came before the filter is drained.
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
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) // else it is the default
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
		// bind also sets the source address
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
		// The kernel does not compute the checksum: the receive path verifies and
		// counts it.
		{"hop limit", sockopt(unix.IPV6_UNICAST_HOPS, 255)},
		{"traffic class", sockopt(unix.IPV6_TCLASS, trafficClass)},
		{"hop limits of packets", sockopt(unix.IPV6_RECVHOPLIMIT, 1)},
		{"addresses of packets", sockopt(unix.IPV6_RECVPKTINFO, 1)},
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

// zone returns the interface index for addresses that need a scope.
func zone(a netip.Addr, index int) uint32 {
	if a.IsLinkLocalUnicast() || a.IsMulticast() {
		return uint32(index)
	}
	return 0
}

// accept accepts whole packets; the receive path checks and counts what is wrong
// with them.
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

// Source returns the source address.
func (c *Conn) Source() netip.Addr { return c.source }

// Close closes the socket and wakes Receive.
func (c *Conn) Close() error {
	c.leave()
	if c.frames != nil {
		_ = c.frames.file.Close()
	}
	c.watch.close()
	return c.file.Close()
}

// ErrEmpty means that no packet has arrived.
var ErrEmpty = errors.New("no packet has arrived")

// Receive reads the next packet into buf, which has at least MaxPacket octets. While
// there is none it waits, or else returns ErrEmpty. After Close it returns os.ErrClosed.
func (c *Conn) Receive(buf []byte, wait bool) (Packet, error) {
	read := c.readV4
	if c.source.Is6() {
		read = c.readV6
	}
	for {
		var p Packet
		var ok bool
		var failed error
		do := func(fd uintptr) bool {
			p, ok, failed = read(int(fd), buf)
			return failed != unix.EAGAIN
		}
		watched, err := c.watch.get(c.raw, wait)
		if err != nil {
			return Packet{}, err
		}
		if wait {
			err = watched.Read(do)
		} else {
			err = c.raw.Control(func(fd uintptr) { do(fd) })
		}
		if err != nil {
			// The runtime's error for a closed file is not exported, and there is
			// no other reason.
			return Packet{}, fmt.Errorf("%w: %w", os.ErrClosed, err)
		}
		switch {
		case failed == unix.EINTR:
		case failed == unix.EAGAIN:
			return Packet{}, ErrEmpty
		case failed != nil:
			return Packet{}, failed
		case ok:
			return p, nil
		}
	}
}

// readV4 uses read: the sender is in the IP header, and recvfrom would allocate
// it.
func (c *Conn) readV4(fd int, buf []byte) (Packet, bool, error) {
	n, err := unix.Read(fd, buf)
	if err != nil {
		return Packet{}, false, err
	}
	p, ok := parse(buf[:n])
	return p, ok, nil
}

// readV6 reads a packet; the kernel gives the header fields as control messages.
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

// parseV6 returns destination and hop limit from the control messages (RFC 3542
// §6). ok is false if one is missing.
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

// parse splits off the IPv4 header, which the kernel has checked. ok is false if
// it is malformed anyway.
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

// Send sends a message to an address of the socket's family. It does not block: a
// full buffer is an error, since a late advert is worse than none.
func (c *Conn) Send(to netip.Addr, message []byte) error {
	if c.frames != nil && to.IsMulticast() {
		return c.frames.send(to, message)
	}
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
		if c.source.Is4() {
			failed = unix.Sendto(int(fd), message, flags, &unix.SockaddrInet4{Addr: to.As4()})
			return
		}
		_, failed = unix.SendmsgN(int(fd), message, c.from, &unix.SockaddrInet6{Addr: to.As16(), ZoneId: zone(to, c.index)}, flags)
	})
	if err != nil {
		return err
	}
	return failed
}

// packetInfo returns the control message that sets source and interface of one
// IPv6 packet (RFC 3542 §6.2). The checksum of an advert covers the source. As a
// socket option it would not choose the source of a raw socket: the kernel would
// take any link-local address of the interface. It refuses to send from an address
// that the interface does not have.
func packetInfo(source netip.Addr, index int) []byte {
	b := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	info := b[unix.CmsgLen(0):] // struct in6_pktinfo, linux/ipv6.h
	a := source.As16()
	copy(info, a[:])
	binary.NativeEndian.PutUint32(info[16:], uint32(index))
	return b
}
