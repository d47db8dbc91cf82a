// The virtual MAC address of RFC 9568 §7.3: a macvlan on the instance's interface
// has the addresses and answers for them; the interface itself does not.
//
// The macvlan is created when the port begins to work, is up only while it has
// addresses, and is removed with the port. Its mode is bridge: in private mode
// the kernel would not deliver the adverts of another master, which have the same
// MAC address, to the interface.

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

// Router is the virtual router of a port.
type Router struct {
	VRID uint8 // 0: unknown; no macvlan of an earlier run is looked for
	MAC  bool  // use a virtual MAC address
}

// VirtualMAC returns the MAC address of a virtual router, RFC 9568 §7.3.
func VirtualMAC(family Family, vrid uint8) net.HardwareAddr {
	mac := net.HardwareAddr{0, 0, 0x5e, 0, 1, vrid}
	if family == IPv6 {
		mac[4] = 2
	}
	return mac
}

// vmacAlias begins the alias of our macvlans. The original settings of the
// interface below follow, for the run after a crash.
const vmacAlias = "lvsd: "

// forVMAC is the purpose of the sysctl overrides.
const forVMAC = "virtual MAC"

// vmacName returns the name of the macvlan on an interface. The index
// distinguishes equal VRIDs on different interfaces; base 36 fits IFNAMSIZ.
func (p *Port) vmacName(below int) string {
	version := "4"
	if p.family == IPv6 {
		version = "6"
	}
	return "lvsd" + version + "-" + strconv.Itoa(int(p.router.VRID)) + "-" + strconv.FormatInt(int64(below), 36)
}

// vmacLink returns our macvlan on the interface, or nil.
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
		return nil, fmt.Errorf("failed to inspect interface %s: %w", name, err)
	}
	if s.Type() != "macvlan" || s.Attrs().ParentIndex != parentOfVMAC(l) {
		return nil, fmt.Errorf("interface %s of another program has the name that the virtual MAC needs: delete it (ip link del %s)", name, name)
	}
	return s, nil
}

// parentOfVMAC returns the index of the parent that a macvlan on l has: the kernel makes
// one on a macvlan a sibling of it.
func parentOfVMAC(l netlink.Link) int {
	if l.Type() == "macvlan" {
		return l.Attrs().ParentIndex
	}
	return l.Attrs().Index
}

// vrf returns the VRF that the interface is in, or nil.
func (p *Port) vrf(l netlink.Link) *netlink.Vrf {
	if l.Attrs().MasterIndex == 0 {
		return nil
	}
	master, err := p.cache.linkByIndex(l.Attrs().MasterIndex)
	if err != nil {
		return nil
	}
	vrf, _ := master.(*netlink.Vrf)
	return vrf
}

// vrfIndex returns the index of the VRF that the interface is in, 0 without one.
func (p *Port) vrfIndex(l netlink.Link) int {
	if vrf := p.vrf(l); vrf != nil {
		return vrf.Attrs().Index
	}
	return 0
}

// isUp reports whether l is up; nil is not.
func isUp(l netlink.Link) bool { return l != nil && l.Attrs().RawFlags&unix.IFF_UP != 0 }

// isVMAC reports whether the macvlan has the right MAC address and mode.
func (p *Port) isVMAC(s netlink.Link) bool {
	v, ok := s.(*netlink.Macvlan)
	return ok && v.Mode == netlink.MACVLAN_MODE_BRIDGE && bytes.Equal(s.Attrs().HardwareAddr, VirtualMAC(p.family, p.router.VRID))
}

// ensureVMAC creates the macvlan if it is missing or wrong, and keeps the
// interface below from answering for its addresses.
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
			return nil, fmt.Errorf("%s has unexpected settings and cannot be removed: %w", s.Attrs().Name, err)
		}
		s = nil
	}
	if s == nil {
		if s, err = p.createVMAC(l); err != nil {
			return nil, err
		}
	}
	p.noteVMAC(s)
	if in := p.vrfIndex(l); s.Attrs().MasterIndex != in {
		// Packets to the addresses must be routed like those to the interface.
		if err := p.handle.LinkSetMasterByIndex(s, in); err != nil {
			return nil, fmt.Errorf("failed to move %s to the VRF of %s: %w", s.Attrs().Name, below.Name, err)
		}
	}
	if p.family == IPv6 {
		return s, nil // no override needed for ND
	}
	return s, errors.Join(
		p.override(forVMAC, below.Name, below.Index, arpIgnore, 1),
		p.override(forVMAC, below.Name, below.Index, arpAnnounce, 2),
	)
}

// noteVMAC records the macvlan, for its removal and for notifications.
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

// createVMAC creates the macvlan. The alias saves the settings before they are
// changed.
func (p *Port) createVMAC(l netlink.Link) (netlink.Link, error) {
	below := l.Attrs()
	if err := p.checkVMAC(l); err != nil {
		return nil, err // the interface was missing when the port was opened
	}
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
		return nil, fmt.Errorf("failed to create a macvlan on %s: %w: it may be the port of a bridge or a bond; configure the bridge or bond itself as the interface", below.Name, err)
	case errors.Is(err, unix.EOPNOTSUPP):
		return nil, fmt.Errorf("failed to create a macvlan on %s: %w: not supported by this kernel (modprobe macvlan)", below.Name, err)
	case err != nil && !errors.Is(err, unix.EEXIST):
		return nil, fmt.Errorf("failed to create a macvlan on %s: %w", below.Name, err)
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

// configureVMAC writes the settings of the macvlan before it is set up: it
// answers for its own addresses only, has no other addresses, and accepts packets
// whose replies leave through the interface below.
func (p *Port) configureVMAC(name, below string) error {
	const v4, v6 = "/proc/sys/net/ipv4/conf/", "/proc/sys/net/ipv6/conf/"
	type change struct{ path, value string }
	changes := []change{
		{v4 + name + "/arp_ignore", "1"},
		{v4 + name + "/arp_filter", "0"}, // replies leave through the interface below
		{v4 + name + "/rp_filter", looseFilter()},
	}
	if p.family == IPv6 {
		changes = []change{
			{v6 + name + "/addr_gen_mode", "1"}, // no link-local address derived from the MAC address, which the other directors share
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
	// Without IPv6 in the kernel there is nothing to disable.
	if err := os.WriteFile(v6+name+"/disable_ipv6", []byte(map[Family]string{IPv4: "1", IPv6: "0"}[p.family]), 0); err != nil && p.family == IPv6 {
		return err
	}
	// Forwarding as on the interface below.
	for _, dir := range []string{v4, v6} {
		if is, err := os.ReadFile(dir + below + "/forwarding"); err == nil {
			_ = os.WriteFile(dir+name+"/forwarding", is, 0)
		}
	}
	return nil
}

// looseFilter returns the rp_filter of the macvlan: 0, or 2 (loose) if `all` is 1
// (strict), because the maximum of both applies.
func looseFilter() string {
	if all, err := readSetting("all", "rp_filter"); err == nil && all == 1 {
		return "2"
	}
	return "0"
}

// checkVMAC returns an error if ARP settings of the host would keep the virtual
// MAC address from being answered for.
func (p *Port) checkVMAC(l netlink.Link) error {
	if !hasARP(l.Attrs()) {
		return fmt.Errorf("a virtual MAC address needs an Ethernet interface, which %s is not: remove virtual_mac", p.name)
	}
	if p.family == IPv4 {
		if v, err := readSetting("all", "arp_filter"); err == nil && v != 0 {
			return fmt.Errorf("net.ipv4.conf.all.arp_filter = %d prevents announcing a virtual MAC address: set it to 0", v)
		}
		if v, err := readSetting("all", arpIgnore); err == nil && v > 1 {
			return fmt.Errorf("net.ipv4.conf.all.arp_ignore = %d prevents announcing a virtual MAC address: set it to 1 or 0", v)
		}
	}
	_, err := p.vmacLink(l)
	return err
}

// raiseVMAC sets the macvlan up and, if one of the addresses is link-local,
// routes link-local neighbours through it.
func (p *Port) raiseVMAC(s, l netlink.Link, want []netip.Prefix) error {
	if !isUp(s) {
		if err := p.handle.LinkSetUp(s); err != nil {
			return fmt.Errorf("failed to set %s up: %w", s.Attrs().Name, err)
		}
	}
	if !slices.ContainsFunc(want, func(q netip.Prefix) bool { return q.Addr().Is6() && q.Addr().IsLinkLocalUnicast() }) {
		return nil
	}
	table := unix.RT_TABLE_MAIN
	if vrf := p.vrf(l); vrf != nil {
		table = int(vrf.Table)
	}
	onLink := &net.IPNet{IP: net.ParseIP("fe80::"), Mask: net.CIDRMask(64, 128)}
	err := p.handle.RouteReplace(&netlink.Route{
		LinkIndex: s.Attrs().Index, Dst: onLink, Priority: 256, Scope: unix.RT_SCOPE_LINK,
		Protocol: unix.RTPROT_KERNEL, Table: table, Family: unix.AF_INET6,
	})
	if err != nil {
		return fmt.Errorf("failed to reach link-local neighbours through %s: %w", s.Attrs().Name, err)
	}
	return nil
}

// sweepVMAC removes addresses that a killed run with another configuration left
// on the macvlan.
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
		err = errors.Join(err, p.remove(s, e.prefix))
	}
	return err
}

// lowerVMAC sets the macvlan down, so that no frame from the virtual MAC address
// makes the switch direct traffic to this port.
func (p *Port) lowerVMAC(s netlink.Link) error {
	if !isUp(s) {
		return nil
	}
	if err := p.handle.LinkSetDown(s); err != nil && !isMissing(err) {
		return fmt.Errorf("failed to set %s down: %w", s.Attrs().Name, err)
	}
	return nil
}

// removeVMAC removes the macvlan and restores the settings. A macvlan that this
// port never used stays.
func (p *Port) removeVMAC() error {
	index := p.vmacIndex
	p.noteVMAC(nil)
	defer p.restore(forVMAC)
	if index == 0 {
		return nil
	}
	s, err := p.cache.linkByIndex(index)
	if err == nil && s.Type() == "macvlan" { // the index may have been reused
		err = p.handle.LinkDel(s)
	}
	if err != nil && !isMissing(err) {
		return fmt.Errorf("failed to remove the macvlan of %s: %w", p.name, err)
	}
	return nil
}

// removeLeftoverVMAC removes the macvlan of a killed run when the port now has no
// virtual MAC address.
func (p *Port) removeLeftoverVMAC(l netlink.Link) error {
	s, err := p.vmacLink(l)
	if err != nil || s == nil {
		return nil // none of ours
	}
	p.adoptSettings(l.Attrs().Index, decodeSettings(strings.TrimPrefix(s.Attrs().Alias, vmacAlias)))
	p.noteVMAC(s)
	if p.family == IPv4 { // override and restore write the adopted values
		_ = p.override(forVMAC, l.Attrs().Name, l.Attrs().Index, arpIgnore, 0)
		_ = p.override(forVMAC, l.Attrs().Name, l.Attrs().Index, arpAnnounce, 0)
	}
	return p.removeVMAC()
}
