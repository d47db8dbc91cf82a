// Package hush keeps this director from resetting connections that it does not
// know yet: a packet to a service's address that IPVS knows no connection for
// reaches the kernel's own TCP, which answers it with a reset. For the addresses
// that it is given there is no way for such answers: a routing rule blackholes what
// this host itself sends from there. Whoever sent the packet sends it again, and by
// then the connection is known. What IPVS forwards is not touched.
//
// Routing rules and not a packet filter: every kernel that balances has them, and
// nobody's filter is disturbed.
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
	// priority and origin make the rules known as ours: VRRP's protocol number.
	priority = 112
	origin   = 112
)

// Hush is the rules. The zero value knows of none.
type Hush struct {
	mu   sync.Mutex
	have map[netip.AddrPort]struct{} // nil: what there is must be read
}

// Set makes the rules those of these addresses and ports of TCP.
func (h *Hush) Set(want map[netip.AddrPort]struct{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.have == nil {
		if err := h.read(); err != nil {
			return err
		}
	}
	var errs []error
	for a := range h.have {
		if _, wanted := want[a]; wanted {
			continue
		}
		if err := netlink.RuleDel(rule(a)); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("failed to remove the routing rule of %v: %w", a, err))
			continue
		}
		delete(h.have, a)
	}
	for a := range want {
		if _, there := h.have[a]; there {
			continue
		}
		if err := netlink.RuleAdd(rule(a)); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, fmt.Errorf("failed to add the routing rule of %v: %w", a, err))
			continue
		}
		h.have[a] = struct{}{}
	}
	return errors.Join(errs...)
}

// read takes up what an earlier run left.
func (h *Hush) read() error {
	have := map[netip.AddrPort]struct{}{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := netlink.RuleListFiltered(family, &netlink.Rule{Priority: priority}, netlink.RT_FILTER_PRIORITY)
		if err != nil && family == unix.AF_INET { // a kernel without IPv6 has no rules of it
			return fmt.Errorf("failed to read the routing rules: %w", err)
		}
		for _, r := range rules {
			if a, ours := addressOf(r); ours {
				have[a] = struct{}{}
			}
		}
	}
	h.have = have
	return nil
}

// Close removes the rules.
func (h *Hush) Close() error {
	h.mu.Lock()
	none := len(h.have) == 0
	h.mu.Unlock()
	if none {
		return nil
	}
	return h.Set(nil)
}

// Sweep removes the rules of a run that was killed, and says how many there were.
func (h *Hush) Sweep() (n int, err error) {
	h.mu.Lock()
	err = h.read()
	n = len(h.have)
	h.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return n, h.Set(nil)
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

// addressOf is the reverse of rule; false for somebody else's.
func addressOf(r netlink.Rule) (netip.AddrPort, bool) {
	if r.Priority != priority || r.Protocol != origin || r.Src == nil || r.Sport == nil { // the library does not read the type
		return netip.AddrPort{}, false
	}
	a, ok := netip.AddrFromSlice(r.Src.IP)
	return netip.AddrPortFrom(a.Unmap(), r.Sport.Start), ok
}
