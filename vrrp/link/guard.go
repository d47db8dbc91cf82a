// Other holders of our addresses: hosts on the LAN that use one of them, found by
// their ARP packets (RFC 5227 §2.4) or neighbour advertisements and by asking, other
// interfaces of this host that have one, and other ports that want one.

package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	// sightingGap is the least time between two messages that are read, so that a
	// flood of them costs nothing.
	sightingGap = 20 * time.Millisecond
	// guardLimit is how many addresses are listened for: a filter has at most 4096
	// instructions.
	guardLimit = 1000
)

// Sighting is another host that uses one of our addresses.
type Sighting struct {
	Address   netip.Addr
	MAC       string // its hardware address
	Solicited bool   // it replied to Probe, and only to this host
	Interface string // on which it was seen
}

// LocalHolder is one of our addresses on another interface of this host.
type LocalHolder struct {
	Address   netip.Addr
	Interface string
}

// guard listens for other holders of addresses on one interface.
type guard struct {
	index   int
	addrs   []netip.Addr
	conn    guardConn
	closing chan struct{}
	ended   chan struct{} // closed when it no longer listens
}

// guardConn receives the messages that may show another holder.
type guardConn interface {
	receive(buf []byte) (s Sighting, ok bool, err error)
	SetBPF(filter []bpf.RawInstruction) error
	Close() error
}

// Guard calls found, in a goroutine of its own, for each other host that uses one of the
// addresses, until it is called again; without addresses it finds none. Call it periodically:
// it opens another socket after the interface failed. It must not be called concurrently.
func (p *Port) Guard(addrs []netip.Addr, found func(Sighting)) error {
	addrs = addrs[:min(len(addrs), guardLimit)]
	if len(addrs) == 0 && p.guard == nil {
		return nil
	}
	l, err := p.cache.linkByName(p.name)
	if err != nil || !hasARP(l.Attrs()) {
		return nil // without an interface there is no other host
	}
	if g := p.guard; g != nil {
		select {
		case <-g.ended:
			p.endGuard()
		default:
			if g.index != l.Attrs().Index {
				p.endGuard()
			}
		}
	}
	filter, err := bpf.Assemble(guardFilter(addrs))
	if err != nil {
		return err
	}
	if g := p.guard; g != nil {
		if slices.Equal(g.addrs, addrs) {
			return nil
		}
		g.addrs = slices.Clone(addrs)
		return g.conn.SetBPF(filter)
	}
	if len(addrs) == 0 {
		return nil
	}
	var conn guardConn
	if p.family == IPv6 {
		conn, err = listenND(p.name, filter)
	} else {
		conn, err = listenARP(&net.Interface{Index: l.Attrs().Index, Name: p.name, HardwareAddr: l.Attrs().HardwareAddr}, filter)
	}
	if err != nil {
		return fmt.Errorf("failed to listen on %s for address conflicts: %w", p.name, err)
	}
	g := &guard{index: l.Attrs().Index, addrs: slices.Clone(addrs), conn: conn, closing: make(chan struct{}), ended: make(chan struct{})}
	p.guard = g
	go g.listen(p.isOurs, func(s Sighting) {
		s.Interface = p.name
		found(s)
	})
	return nil
}

// endGuard closes the socket of Guard.
func (p *Port) endGuard() {
	if g := p.guard; g != nil {
		close(g.closing)
		_ = g.conn.Close()
		<-g.ended
		p.guard = nil
	}
}

func (g *guard) listen(isOurs func(mac string) bool, found func(Sighting)) {
	defer close(g.ended)
	buf := make([]byte, 1500)
	for {
		s, ok, err := g.conn.receive(buf)
		if err != nil {
			return
		}
		if ok && !isOurs(s.MAC) {
			found(s)
		}
		select {
		case <-time.After(sightingGap):
		case <-g.closing:
			return
		}
	}
}

// isOurs reports whether a hardware address is this host's or the virtual router's.
func (p *Port) isOurs(mac string) bool {
	if p.router.MAC && mac == VirtualMAC(p.family, p.router.VRID).String() {
		return true
	}
	l, err := p.cache.linkByName(p.name)
	return err != nil || mac == l.Attrs().HardwareAddr.String()
}

// guardFilter returns a filter for ARP packets from the addresses, as Ethernet
// frames, or for neighbour advertisements of them, from the ICMPv6 header on. Of IPv6
// addresses it compares the last four octets.
func guardFilter(addrs []netip.Addr) []bpf.Instruction {
	if len(addrs) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: 0}}
	}
	offset := uint32(arpFrame + 14)
	if addrs[0].Is6() {
		offset = 8 + 12
	}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: offset, Size: 4}}
	for _, a := range addrs {
		octets := a.AsSlice()
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(octets[len(octets)-4:]), SkipFalse: 1},
			bpf.RetConstant{Val: 1500})
	}
	return append(program, bpf.RetConstant{Val: 0})
}

// arpFrame is the length of the Ethernet header before an ARP packet.
const arpFrame = 14

// arpConn receives ARP packets.
type arpConn struct {
	*packet.Conn
	mac net.HardwareAddr // of the interface
}

func listenARP(l *net.Interface, filter []bpf.RawInstruction) (guardConn, error) {
	c, err := packet.Listen(l, packet.Raw, unix.ETH_P_ARP, &packet.Config{Filter: filter})
	if err != nil {
		return nil, err
	}
	return arpConn{c, l.HardwareAddr}, nil
}

func (c arpConn) receive(buf []byte) (Sighting, bool, error) {
	n, _, err := c.ReadFrom(buf)
	if err != nil {
		return Sighting{}, false, err
	}
	s, ok := parseARP(buf[:n], c.mac)
	return s, ok, nil
}

// parseARP returns the sender of an ARP packet over Ethernet (RFC 826). It is solicited
// if it is a reply to the hardware address own.
func parseARP(frame []byte, own net.HardwareAddr) (s Sighting, ok bool) {
	if len(frame) < arpFrame {
		return s, false
	}
	var p arp.Packet
	if p.UnmarshalBinary(frame[arpFrame:]) != nil || len(p.SenderHardwareAddr) != 6 || !p.SenderIP.Is4() {
		return s, false
	}
	unicast := frame[0]&1 == 0
	return Sighting{
		Address: p.SenderIP, MAC: p.SenderHardwareAddr.String(),
		Solicited: unicast && p.Operation == arp.OperationReply && slices.Equal(p.TargetHardwareAddr, own),
	}, true
}

// ndConn receives neighbour advertisements.
type ndConn struct{ *ipv6.PacketConn }

func listenND(name string, filter []bpf.RawInstruction) (guardConn, error) {
	var failed error
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		err := c.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), name) })
		return errors.Join(err, failed)
	}}
	plain, err := config.ListenPacket(context.Background(), "ip6:58", "::")
	if err != nil {
		return nil, err
	}
	c := ndConn{ipv6.NewPacketConn(plain)}
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeNeighborAdvertisement)
	if err := errors.Join(c.SetBPF(filter), c.SetICMPFilter(&only), c.SetControlMessage(ipv6.FlagHopLimit, true)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c ndConn) receive(buf []byte) (Sighting, bool, error) {
	n, control, _, err := c.ReadFrom(buf)
	if err != nil {
		return Sighting{}, false, err
	}
	if control == nil || control.HopLimit != 255 { // from beyond a router, RFC 4861 §7.1.2
		return Sighting{}, false, nil
	}
	s, ok := parseND(buf[:n])
	return s, ok, nil
}

// parseND returns the sender of a neighbour advertisement. One without the hardware
// address changes no neighbour cache.
func parseND(message []byte) (s Sighting, ok bool) {
	m, err := ndp.ParseMessage(message)
	na, isNA := m.(*ndp.NeighborAdvertisement)
	if err != nil || !isNA {
		return s, false
	}
	for _, o := range na.Options {
		if target, is := o.(*ndp.LinkLayerAddress); is && target.Direction == ndp.Target {
			return Sighting{Address: na.TargetAddress, MAC: target.Addr.String(), Solicited: na.Solicited}, true
		}
	}
	return s, false
}

// Probe asks the LAN who has the addresses; hosts that reply are found by Guard. It
// changes no neighbour cache but this host's: ARP probes have no sender address (RFC
// 5227 §1.1), and solicitations come from source, a link-local address of this host.
func (p *Port) Probe(addrs []netip.Addr, source netip.Addr) error {
	l, err := p.cache.linkByName(p.name)
	if err != nil {
		return fmt.Errorf("failed to inspect interface %s: %w", p.name, err)
	}
	if !hasARP(l.Attrs()) || p.family == IPv6 && !source.Is6() {
		return nil
	}
	conn, err := p.socket(l.Attrs())
	if err != nil {
		return err
	}
	for _, a := range addrs {
		frame, to, err := question(l.Attrs().HardwareAddr, a, source)
		if err == nil {
			err = p.write(conn, frame, to)
		}
		if err != nil {
			return fmt.Errorf("failed to send an ARP or ND request on %s for %v: %w", p.name, a, err)
		}
	}
	return nil
}

// question returns a frame that asks who has the address.
func question(mac net.HardwareAddr, a, source netip.Addr) (frame []byte, to net.HardwareAddr, err error) {
	if a.Is4() {
		p, err := arp.NewPacket(arp.OperationRequest, mac, netip.IPv4Unspecified(), net.HardwareAddr{0, 0, 0, 0, 0, 0}, a)
		if err != nil {
			return nil, nil, err
		}
		body, err := p.MarshalBinary()
		if err != nil {
			return nil, nil, err
		}
		f := ethernet.Frame{Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: body}
		frame, err = f.MarshalBinary()
		return frame, f.Destination, err
	}
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return nil, nil, err
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
		TargetAddress: a, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}},
	}, source, group)
	if err != nil {
		return nil, nil, err
	}
	six := group.As16()
	to = net.HardwareAddr{0x33, 0x33, six[12], six[13], six[14], six[15]} // RFC 2464 §7
	frame, err = icmpFrame(mac, to, source, group, body)
	return frame, to, err
}

// localHolders returns which of our addresses other interfaces have, by address and name.
// Link-local ones are unique to an interface only, and addresses of an interface
// without ARP, such as lo, may be there for a real server. The cache is as of the last
// read.
func (h *addrCache) localHolders(ours []netip.Prefix, except ...int) (out []LocalHolder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for index, t := range h.addrs {
		l := h.links[index]
		if l == nil || slices.Contains(except, index) || !hasARP(l.Attrs()) {
			continue
		}
		for _, q := range ours {
			if len(t.by[q.Addr()]) > 0 && !q.Addr().IsLinkLocalUnicast() {
				out = append(out, LocalHolder{q.Addr(), l.Attrs().Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b LocalHolder) int {
		if c := a.Address.Compare(b.Address); c != 0 {
			return c
		}
		return strings.Compare(a.Interface, b.Interface)
	})
	return out
}

// setWanted records which addresses a port wants on an interface.
func (h *addrCache) setWanted(c *subscriber, index int, want []netip.Prefix) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.claims, c.claimsOn = want, index
}

// wantedByOther reports whether another port wants the address on the interface: a
// reload moved it from one instance to another, and it must not leave the interface.
func (h *addrCache) wantedByOther(c *subscriber, index int, q netip.Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for other := range h.subscribers {
		if other != c && other.claimsOn == index && slices.Contains(other.claims, q) {
			return true
		}
	}
	return false
}
