package connhandover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// priority and origin mark the rules as ours: VRRP's protocol number.
	priority = 112
	origin   = 112
)

// Rules are the routing rules of the RST guard. The zero value has read none yet.
type Rules struct {
	mu   sync.Mutex
	have map[netip.AddrPort]struct{} // nil: not read yet
}

// Set replaces the guarded addresses and ports of TCP.
func (r *Rules) Set(want map[netip.AddrPort]struct{}) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have == nil {
		if err := r.read(); err != nil {
			return err
		}
	}
	var errs []error
	for a := range r.have {
		if _, wanted := want[a]; wanted {
			continue
		}
		if err := netlink.RuleDel(rule(a)); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("failed to remove the routing rule of %v: %w", a, err))
			continue
		}
		delete(r.have, a)
	}
	for a := range want {
		if _, there := r.have[a]; there {
			continue
		}
		if err := netlink.RuleAdd(rule(a)); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("failed to add the routing rule of %v: %w", a, err))
			continue
		}
		r.have[a] = struct{}{}
	}
	return errors.Join(errs...)
}

// read adopts the rules that an earlier run left.
func (r *Rules) read() error {
	have := map[netip.AddrPort]struct{}{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := netlink.RuleListFiltered(family, &netlink.Rule{Priority: priority}, netlink.RT_FILTER_PRIORITY)
		if err != nil && family == unix.AF_INET { // a kernel without IPv6 has no rules of it
			return fmt.Errorf("failed to read the routing rules: %w", err)
		}
		for _, rule := range rules {
			if a, ours := addressOf(rule); ours {
				have[a] = struct{}{}
			}
		}
	}
	r.have = have
	return nil
}

// Close removes the rules.
func (r *Rules) Close() error {
	r.mu.Lock()
	none := len(r.have) == 0
	r.mu.Unlock()
	if none {
		return nil
	}
	return r.Set(nil)
}

// RemoveStale removes the rules that a killed run left, and returns how many there were.
func (r *Rules) RemoveStale() (n int, err error) {
	r.mu.Lock()
	err = r.read()
	n = len(r.have)
	r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return n, r.Set(nil)
}

// rule is that of an address.
func rule(a netip.AddrPort) *netlink.Rule {
	r := netlink.NewRule()
	r.Priority, r.Protocol, r.Type = priority, origin, unix.RTN_BLACKHOLE
	r.Family = unix.AF_INET
	if a.Addr().Is6() {
		r.Family = unix.AF_INET6
	}
	bits := a.Addr().BitLen()
	r.Src = &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(bits, bits)}
	r.IPProto = unix.IPPROTO_TCP
	r.Sport = netlink.NewRulePortRange(a.Port(), a.Port())
	return r
}

// addressOf is the reverse of rule; false for a rule that is not ours.
func addressOf(r netlink.Rule) (netip.AddrPort, bool) {
	if r.Priority != priority || r.Protocol != origin || r.Src == nil || r.Sport == nil { // the library does not read the type
		return netip.AddrPort{}, false
	}
	a, ok := netip.AddrFromSlice(r.Src.IP)
	return netip.AddrPortFrom(a.Unmap(), r.Sport.Start), ok
}
