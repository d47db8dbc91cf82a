// This file gives a virtual router its own MAC address, RFC 9568 §7.3: a macvlan
// on the election's interface, which holds the addresses and answers for them,
// while the interface itself does not. It never decides when.
//
// The macvlan is made when the port begins to work, is up only while it holds
// addresses, and goes with the port. Its mode is bridge: in the private mode the
// kernel would keep the adverts of another master, whose MAC address is the same,
// from the interface that listens for them.

package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Router is the virtual router that a port works for.
type Router struct {
	VRID uint8 // 0: unknown, and no macvlan of an earlier run is looked for
	MAC  bool  // it has a MAC address of its own
}

// VirtualMAC is the MAC address of a virtual router, RFC 9568 §7.3.
func VirtualMAC(family Family, vrid uint8) net.HardwareAddr {
	mac := net.HardwareAddr{0, 0, 0x5e, 0, 1, vrid}
	if family == IPv6 {
		mac[4] = 2
	}
	return mac
}

// vmacAlias begins the alias of our macvlans. Behind it stands what the settings
// of the interface below were, for whoever comes after a killed run.
const vmacAlias = "lvsd: "

// forVMAC is what settings are borrowed for.
const forVMAC = "virtual MAC"

// vmacName is the name of the macvlan on an interface. The index keeps it
// apart from that of the same VRID elsewhere, and by base 36 it fits IFNAMSIZ.
func (p *Port) vmacName(below int) string {
	version := "4"
	if p.family == IPv6 {
		version = "6"
	}
	return "lvsd" + version + "-" + strconv.Itoa(int(p.router.VRID)) + "-" + strconv.FormatInt(int64(below), 36)
}

// vmacLink is our macvlan on the interface; nil when there is none.
func (p *Port) vmacLink(l netlink.Link) (netlink.Link, error) {
	if p.router.VRID == 0 {
		return nil, nil
	}
	name := p.vmacName(l.Attrs().Index)
	s, err := p.cache.linkByName(name)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to look at interface %s: %w", name, err)
	}
	if s.Type() != "macvlan" || s.Attrs().ParentIndex != l.Attrs().Index {
		return nil, fmt.Errorf("interface %s is somebody else's, and the virtual MAC needs its name: delete it (ip link del %s)", name, name)
	}
	return s, nil
}

// isUp reports whether a macvlan can hold addresses that anybody reaches.
func isUp(l netlink.Link) bool { return l != nil && l.Attrs().RawFlags&unix.IFF_UP != 0 }

// isVMAC reports whether the macvlan has the MAC address and mode that it should.
func (p *Port) isVMAC(s netlink.Link) bool {
	v, ok := s.(*netlink.Macvlan)
	return ok && v.Mode == netlink.MACVLAN_MODE_BRIDGE && bytes.Equal(s.Attrs().HardwareAddr, VirtualMAC(p.family, p.router.VRID))
}

// ensureVMAC sees to a macvlan on the interface, and that the interface does
// not answer for what is on it.
func (p *Port) ensureVMAC(l netlink.Link) (netlink.Link, error) {
	below := l.Attrs()
	s, err := p.vmacLink(l)
	if err != nil {
		return nil, err
	}
	if s != nil {
		p.adoptSettings(below.Index, decodeSettings(strings.TrimPrefix(s.Attrs().Alias, vmacAlias)))
	}
	if s != nil && !p.isVMAC(s) {
		if err := p.handle.LinkDel(s); err != nil && !isMissing(err) {
			return nil, fmt.Errorf("%s is not as a virtual router's, and cannot be removed: %w", s.Attrs().Name, err)
		}
		s = nil
	}
	if s == nil {
		if s, err = p.createVMAC(l); err != nil {
			return nil, err
		}
	}
	p.noteVMAC(s)
	if p.family == IPv6 {
		return s, nil // an interface answers only for what is on it by itself
	}
	return s, errors.Join(
		p.override(forVMAC, below.Name, below.Index, arpIgnore, 1),
		p.override(forVMAC, below.Name, below.Index, arpAnnounce, 2),
	)
}

// noteVMAC keeps what is removed in the end, and what changes are told of.
func (p *Port) noteVMAC(s netlink.Link) {
	index, name := 0, ""
	if s != nil {
		index, name = s.Attrs().Index, s.Attrs().Name
	}
	p.vmacIndex = index
	p.cache.mu.Lock()
	p.sub.vmac = name
	p.cache.mu.Unlock()
}

// createVMAC makes the macvlan. The note comes before any change that it notes.
func (p *Port) createVMAC(l netlink.Link) (netlink.Link, error) {
	below := l.Attrs()
	name := p.vmacName(below.Index)
	var was map[setting]int
	if p.family == IPv4 {
		var err error
		if was, err = p.originalSettings(below.Name, below.Index, arpIgnore, arpAnnounce); err != nil {
			return nil, fmt.Errorf("failed to read the settings of %s: %w", below.Name, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr = name, below.Index, VirtualMAC(p.family, p.router.VRID)
	err := p.handle.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE})
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("failed to make a macvlan on %s: %w: it may be the port of a bridge or a bond; name the bridge or bond itself as the interface", below.Name, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, fmt.Errorf("failed to make a macvlan on %s: %w: this kernel has none (modprobe macvlan)", below.Name, err)
	case err != nil && !errors.Is(err, unix.EEXIST):
		return nil, fmt.Errorf("failed to make a macvlan on %s: %w", below.Name, err)
	}
	s, err := p.cache.linkByName(name)
	if err == nil {
		err = p.handle.LinkSetAlias(s, vmacAlias+encodeSettings(was))
	}
	if err == nil {
		err = p.configureVMAC(name, below.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to prepare the macvlan %s: %w", name, err)
	}
	return s, nil
}

// configureVMAC writes the macvlan's own settings, before it is ever up: it answers for
// what is on it and nothing else, has no address but the virtual ones, and takes
// packets from whoever the interface below would send the answer through.
func (p *Port) configureVMAC(name, below string) error {
	const v4, v6 = "/proc/sys/net/ipv4/conf/", "/proc/sys/net/ipv6/conf/"
	type change struct{ path, value string }
	changes := []change{
		{v4 + name + "/arp_ignore", "1"},
		{v4 + name + "/arp_filter", "0"}, // the way back is through the interface below
		{v4 + name + "/rp_filter", looseFilter()},
	}
	if p.family == IPv6 {
		changes = []change{
			{v6 + name + "/addr_gen_mode", "1"}, // no address out of the MAC address, which others have too
			{v6 + name + "/accept_dad", "0"},
			{v6 + name + "/accept_ra", "0"},
			{v6 + name + "/autoconf", "0"},
		}
	}
	for _, c := range changes {
		if err := os.WriteFile(c.path, []byte(c.value), 0); err != nil {
			return err
		}
	}
	// Where there is no IPv6 at all there is nothing to turn off.
	if err := os.WriteFile(v6+name+"/disable_ipv6", []byte(map[Family]string{IPv4: "1", IPv6: "0"}[p.family]), 0); err != nil && p.family == IPv6 {
		return err
	}
	// A router on the interface below is one here.
	for _, dir := range []string{v4, v6} {
		if is, err := os.ReadFile(dir + below + "/forwarding"); err == nil {
			_ = os.WriteFile(dir+name+"/forwarding", is, 0)
		}
	}
	return nil
}

// looseFilter is the rp_filter of the macvlan: none; the loose one where `all`
// asks for the strict one, because the maximum of both holds.
func looseFilter() string {
	if all, err := readSetting("all", "rp_filter"); err == nil && all == 1 {
		return "2"
	}
	return "0"
}

// checkVMAC refuses what would keep a virtual MAC from being answered for.
func (p *Port) checkVMAC(l netlink.Link) error {
	if !hasARP(l.Attrs()) {
		return fmt.Errorf("a virtual MAC address needs an Ethernet interface, which %s is not: leave virtual_mac out", p.name)
	}
	if p.family == IPv4 {
		if v, err := readSetting("all", "arp_filter"); err == nil && v != 0 {
			return fmt.Errorf("net.ipv4.conf.all.arp_filter is %d, and a virtual MAC address would never be told to anybody: set it to 0", v)
		}
		if v, err := readSetting("all", arpIgnore); err == nil && v > 1 {
			return fmt.Errorf("net.ipv4.conf.all.arp_ignore is %d, and a virtual MAC address would never be told to anybody: set it to 1 or 0", v)
		}
	}
	_, err := p.vmacLink(l)
	return err
}

// raiseVMAC sets the macvlan up. Link-local neighbours are reached through it,
// if one of the addresses is link-local.
func (p *Port) raiseVMAC(s netlink.Link, want []netip.Prefix) error {
	if !isUp(s) {
		if err := p.handle.LinkSetUp(s); err != nil {
			return fmt.Errorf("failed to set %s up: %w", s.Attrs().Name, err)
		}
	}
	if !slices.ContainsFunc(want, func(q netip.Prefix) bool { return q.Addr().Is6() && q.Addr().IsLinkLocalUnicast() }) {
		return nil
	}
	onLink := &net.IPNet{IP: net.ParseIP("fe80::"), Mask: net.CIDRMask(64, 128)}
	err := p.handle.RouteReplace(&netlink.Route{
		LinkIndex: s.Attrs().Index, Dst: onLink, Priority: 256, Scope: unix.RT_SCOPE_LINK,
		Protocol: unix.RTPROT_KERNEL, Table: unix.RT_TABLE_MAIN, Family: unix.AF_INET6,
	})
	if err != nil {
		return fmt.Errorf("failed to reach link-local neighbours through %s: %w", s.Attrs().Name, err)
	}
	return nil
}

// sweepVMAC removes what a killed run of another file left on the macvlan, which
// is ours alone.
func (p *Port) sweepVMAC(s netlink.Link, ours []netip.Prefix) error {
	var left []entry
	err := p.cache.withAddresses(s.Attrs().Index, func(t *addrTable) {
		for _, e := range t.all {
			if e.prefix.Addr().Is6() == (p.family == IPv6) && !slices.Contains(ours, e.prefix) {
				left = append(left, e)
			}
		}
	})
	for _, e := range left {
		err = errors.Join(err, p.remove(s, e.prefix, nil))
	}
	return err
}

// lowerVMAC sets the macvlan down: nothing leaves from the virtual MAC address
// any more, which would call the switch back to this port.
func (p *Port) lowerVMAC(s netlink.Link) error {
	if !isUp(s) {
		return nil
	}
	if err := p.handle.LinkSetDown(s); err != nil && !isMissing(err) {
		return fmt.Errorf("failed to set %s down: %w", s.Attrs().Name, err)
	}
	return nil
}

// removeVMAC is for the end: the macvlan goes, and the settings are as they
// were. One that the port never worked with stays.
func (p *Port) removeVMAC() error {
	index := p.vmacIndex
	p.noteVMAC(nil)
	defer p.restore(forVMAC)
	if index == 0 {
		return nil
	}
	s, err := p.cache.linkByIndex(index)
	if err == nil && s.Type() == "macvlan" { // the index may be another's by now
		err = p.handle.LinkDel(s)
	}
	if err != nil && !isMissing(err) {
		return fmt.Errorf("failed to remove the macvlan of %s: %w", p.name, err)
	}
	return nil
}

// removeLeftoverVMAC removes the macvlan of a killed run that had a virtual MAC, when
// the port has none.
func (p *Port) removeLeftoverVMAC(l netlink.Link) error {
	s, err := p.vmacLink(l)
	if err != nil || s == nil {
		return nil // none of ours
	}
	p.adoptSettings(l.Attrs().Index, decodeSettings(strings.TrimPrefix(s.Attrs().Alias, vmacAlias)))
	p.noteVMAC(s)
	if p.family == IPv4 { // borrowed and given back: what was noted is set again
		_ = p.override(forVMAC, l.Attrs().Name, l.Attrs().Index, arpIgnore, 0)
		_ = p.override(forVMAC, l.Attrs().Name, l.Attrs().Index, arpAnnounce, 0)
	}
	return p.removeVMAC()
}
