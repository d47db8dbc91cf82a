// Parked addresses: during a release the host keeps serving the addresses without
// answering ARP/ND for them. They move to lo, and for IPv4 arp_ignore is set on
// the interface.

package link

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// loLabel marks our IPv4 addresses on lo, so that those of a killed daemon are
// recognised.
const loLabel = "lo:lvsd"

// forParked is the purpose of the sysctl override.
const forParked = "parked"

// moveToLoopback adds the addresses to lo before it removes them from the interface.
// Link-local addresses cannot be parked and are removed.
func (p *Port) moveToLoopback(l, below netlink.Link, ours, want []netip.Prefix, found []entry) (held []netip.Prefix, err error) {
	lo, err := p.cache.linkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("failed to inspect interface lo: %w", err)
	}
	if p.family == IPv4 {
		if err := p.override(forParked, p.name, below.Attrs().Index, arpIgnore, 1); err != nil {
			return nil, err
		}
	}
	var errs []error
	for _, q := range want {
		if q.Addr().IsLinkLocalUnicast() {
			continue
		}
		if err := p.handle.AddrAdd(lo, loAddress(q)); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("failed to add %v to lo: %w", q, err))
			continue
		}
		held = append(held, q)
	}
	p.parked = true
	if l != below {
		if err := p.lowerVMAC(l); err != nil {
			errs = append(errs, err)
		}
	}
	for _, q := range ours {
		there := slices.ContainsFunc(found, func(e entry) bool { return e.prefix.Addr() == q.Addr() })
		if there && !p.cache.wantedByOther(p.sub, l.Attrs().Index, q) {
			if err := p.remove(l, q); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return held, errors.Join(errs...)
}

// loAddress returns a virtual address as added to lo.
func loAddress(q netip.Prefix) *netlink.Addr {
	bits := q.Addr().BitLen()
	a := &netlink.Addr{IPNet: &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(bits, bits)}}
	if q.Addr().Is6() {
		a.Flags, a.ValidLft = unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE, math.MaxUint32
		return a
	}
	a.Label, a.Broadcast, a.Scope = loLabel, net.IPv4zero, unix.RT_SCOPE_HOST
	return a
}

// removeFromLoopback removes the addresses from lo. Those of a killed daemon are looked for
// once, by label.
func (p *Port) removeFromLoopback(ours []netip.Prefix) error {
	defer p.restore(forParked)
	if !p.parked && !slices.ContainsFunc(ours, func(q netip.Prefix) bool { return !p.notParked[q] }) {
		return nil
	}
	lo, err := p.cache.linkByName("lo")
	if err != nil {
		return fmt.Errorf("failed to inspect interface lo: %w", err)
	}
	there, err := p.cache.entries(lo.Attrs().Index, ours)
	if err != nil && !p.parked {
		return nil // most likely there are none
	}
	var errs []error
	for _, q := range ours {
		left := p.parked || slices.ContainsFunc(there, func(e entry) bool {
			return e.prefix.Addr() == q.Addr() && e.label == loLabel
		})
		if !left {
			continue
		}
		if err := p.handle.AddrDel(lo, loAddress(q)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("failed to remove %v from lo: %w", q, err))
		}
	}
	if len(errs) == 0 {
		p.parked, p.notParked = false, map[netip.Prefix]bool{}
		for _, q := range ours {
			p.notParked[q] = err == nil
		}
	}
	return errors.Join(errs...)
}
