// This file lets a host go on serving addresses without answering for them: they
// move to the loopback interface, and the interface answers only for what is on
// it. For IPv6 the first alone does it. It never decides when.

package link

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// loLabel marks our IPv4 addresses on the loopback interface, so that what a
// killed daemon left there is known.
const loLabel = "lo:lvsd"

// quieted counts who needs an interface to be quiet, and remembers what its
// arp_ignore was; the key is the interface's name.
var quieted = struct {
	sync.Mutex
	by map[string]map[*Port]bool
	is map[string]string
}{by: map[string]map[*Port]bool{}, is: map[string]string{}}

// hush moves the addresses to the loopback interface, without a moment in which
// the host has them nowhere. Link-local ones mean nothing there, and go.
func (p *Port) hush(l netlink.Link, ours, want []netip.Prefix, found []entry) (held []netip.Prefix, err error) {
	lo, err := p.handle.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("failed to look at interface lo: %w", err)
	}
	if p.family == IPv4 {
		if err := p.ignoreARP(); err != nil {
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
	p.onLo = true
	for _, q := range ours {
		if slices.ContainsFunc(found, func(e entry) bool { return e.prefix.Addr() == q.Addr() }) {
			if err := p.remove(l, q, found); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return held, errors.Join(errs...)
}

// loAddress is a virtual address as it stands on the loopback interface.
func loAddress(q netip.Prefix) *netlink.Addr {
	bits := q.Addr().BitLen()
	a := &netlink.Addr{IPNet: &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(bits, bits)}}
	if q.Addr().Is6() {
		a.Flags, a.ValidLft = unix.IFA_F_NODAD|unix.IFA_F_NOPREFIXROUTE, math.MaxUint32
		return a
	}
	a.Label, a.Broadcast, a.Scope = loLabel, net.IPv4zero, unix.RT_SCOPE_LINK
	return a
}

// unhush takes the addresses off the loopback interface again, also those that a
// killed daemon left there.
func (p *Port) unhush(ours []netip.Prefix) error {
	defer p.answerARP()
	lo, err := p.handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("failed to look at interface lo: %w", err)
	}
	addrs, err := p.handle.AddrList(lo, int(p.family))
	if err != nil && !p.onLo {
		return nil // most likely there are none
	}
	var errs []error
	for _, q := range ours {
		left := p.onLo || slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
			return a.Label == loLabel && a.IP.Equal(net.IP(q.Addr().AsSlice()))
		})
		if !left {
			continue
		}
		if err := p.handle.AddrDel(lo, loAddress(q)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("failed to remove %v from lo: %w", q, err))
		}
	}
	if len(errs) == 0 {
		p.onLo = false
	}
	return errors.Join(errs...)
}

func arpIgnore(name string) string { return "/proc/sys/net/ipv4/conf/" + name + "/arp_ignore" }

// ignoreARP makes the interface answer only for addresses on it (arp_ignore 1 of
// the kernel's ip-sysctl). What answers for less already stays as it is.
func (p *Port) ignoreARP() error {
	quieted.Lock()
	defer quieted.Unlock()
	users := quieted.by[p.name]
	if users[p] {
		return nil
	}
	if len(users) == 0 {
		b, err := os.ReadFile(arpIgnore(p.name))
		if err != nil {
			return fmt.Errorf("failed to keep %s from answering ARP: %w", p.name, err)
		}
		was := strings.TrimSpace(string(b))
		if was == "0" {
			if err := os.WriteFile(arpIgnore(p.name), []byte("1"), 0); err != nil {
				return fmt.Errorf("failed to keep %s from answering ARP: %w", p.name, err)
			}
		}
		users = map[*Port]bool{}
		quieted.by[p.name], quieted.is[p.name] = users, was
	}
	users[p] = true
	return nil
}

// answerARP undoes ignoreARP when nobody needs it any more.
func (p *Port) answerARP() {
	quieted.Lock()
	defer quieted.Unlock()
	users := quieted.by[p.name]
	if !users[p] {
		return
	}
	delete(users, p)
	if len(users) > 0 {
		return
	}
	if quieted.is[p.name] == "0" {
		_ = os.WriteFile(arpIgnore(p.name), []byte("0"), 0) // the interface may be gone
	}
	delete(quieted.by, p.name)
	delete(quieted.is, p.name)
}
