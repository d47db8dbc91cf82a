// Gratuitous ARP and unsolicited neighbour advertisements.

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Announce sends gratuitous ARP, as request and reply, for each IPv4 address, or
// a neighbour advertisement for IPv6, and returns the number of frames sent. On
// an interface without ARP it does nothing.
func (p *Port) Announce(addrs []netip.Addr) (frames int, err error) {
	l, err := p.cache.linkByName(p.name)
	if err != nil {
		return 0, fmt.Errorf("failed to inspect interface %s: %w", p.name, err)
	}
	if !hasARP(l.Attrs()) {
		return 0, nil
	}
	conn, err := p.socket(l.Attrs())
	if err != nil {
		return 0, err
	}
	mac := l.Attrs().HardwareAddr
	if p.router.MAC {
		mac = VirtualMAC(p.family, p.router.VRID)
	}
	for _, a := range addrs {
		var forms [][]byte
		to := ethernet.Broadcast
		if a.Is6() {
			var na []byte
			na, err = unsolicited(mac, a, p.forwards())
			forms, to = [][]byte{na}, allNodes
		} else {
			forms, err = gratuitous(mac, a)
		}
		if err != nil {
			return frames, fmt.Errorf("failed to announce %v: %w", a, err)
		}
		for _, frame := range forms {
			if err := p.write(conn, frame, to); err != nil {
				return frames, fmt.Errorf("failed to announce %v on %s: %w", a, p.name, err)
			}
			frames++
		}
	}
	return frames, nil
}

// write sends a frame. After a failure the next one is sent by another socket: it may
// be on another interface of this name.
func (p *Port) write(conn *packet.Conn, frame []byte, to net.HardwareAddr) error {
	_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: to})
	if err != nil {
		p.mu.Lock()
		p.closeARP()
		p.mu.Unlock()
	}
	return err
}

func hasARP(l *netlink.LinkAttrs) bool {
	return l.RawFlags&unix.IFF_NOARP == 0 && l.RawFlags&unix.IFF_LOOPBACK == 0 && len(l.HardwareAddr) == 6
}

// gratuitous returns both forms of RFC 5227 §3 and RFC 9568 §8.1.2; sender and
// target address are the VIP. The target hardware address of the reply is the
// sender's: Linux ignores it otherwise.
func gratuitous(mac net.HardwareAddr, a netip.Addr) (forms [][]byte, err error) {
	for _, form := range []struct {
		op     arp.Operation
		target net.HardwareAddr
	}{
		{arp.OperationRequest, net.HardwareAddr{0, 0, 0, 0, 0, 0}},
		{arp.OperationReply, mac},
	} {
		p, err := arp.NewPacket(form.op, mac, a.Unmap(), form.target, a.Unmap())
		if err != nil {
			return forms, err
		}
		body, err := p.MarshalBinary()
		if err != nil {
			return forms, err
		}
		f := ethernet.Frame{Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: body}
		frame, err := f.MarshalBinary()
		if err != nil {
			return forms, err
		}
		forms = append(forms, frame)
	}
	return forms, nil
}

// allNodes is the MAC address of ff02::1, RFC 2464 §7.
var allNodes = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}

// unsolicited returns the neighbour advertisement of RFC 9568 §8.2.2 and RFC 4861
// §7.2.6: from and for the address, to all nodes, Solicited clear, Override set,
// Router if this host forwards, with the target link-layer address option.
func unsolicited(mac net.HardwareAddr, a netip.Addr, router bool) ([]byte, error) {
	message, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Router: router, Override: true, TargetAddress: a,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, a, netip.IPv6LinkLocalAllNodes())
	if err != nil {
		return nil, err
	}
	return icmpFrame(mac, allNodes, a, netip.IPv6LinkLocalAllNodes(), message)
}

// icmpFrame returns the Ethernet frame of an ICMPv6 message with hop limit 255.
func icmpFrame(mac, to net.HardwareAddr, source, destination netip.Addr, message []byte) ([]byte, error) {
	from, at := source.As16(), destination.As16()
	header := []byte{0x60, 0, 0, 0, 0, byte(len(message)), unix.IPPROTO_ICMPV6, 255}
	f := ethernet.Frame{Destination: to, Source: mac, EtherType: ethernet.EtherTypeIPv6, Payload: slices.Concat(header, from[:], at[:], message)}
	return f.MarshalBinary()
}

// forwards reports whether this host is an IPv6 router on the interface.
func (p *Port) forwards() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + p.name + "/forwarding")
	return err == nil && len(b) > 0 && b[0] != '0'
}

// socket returns a packet socket on the interface, cached until its index
// changes.
func (p *Port) socket(l *netlink.LinkAttrs) (*packet.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.arp != nil && p.arpIndex == l.Index {
		return p.arp, nil
	}
	p.closeARP()
	// Protocol 0: for sending only, nothing is queued.
	conn, err := packet.Listen(&net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.HardwareAddr}, packet.Raw, 0, nil)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("no permission to send ARP on %s: %w: run as root, or grant CAP_NET_RAW", p.name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to open a packet socket on %s: %w", p.name, err)
	}
	p.arp, p.arpIndex = conn, l.Index
	return conn, nil
}

func (p *Port) closeARP() {
	if p.arp != nil {
		_ = p.arp.Close()
		p.arp, p.arpIndex = nil, 0
	}
}
