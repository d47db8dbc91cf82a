// The interface of a VRRP instance: its state, and the virtual addresses on it.

package link

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// requestTimeout bounds the wait for a netlink reply. It cannot bound the wait
// for the kernel's RTNL lock, so nothing in this package may be called by the
// event loop.
const requestTimeout = 2 * time.Second

// Family is the address family of a Port.
type Family int

// The families.
const (
	IPv4 Family = unix.AF_INET
	IPv6 Family = unix.AF_INET6
)

// Port is an interface, identified by name: it may disappear and return with
// another index. Methods may be called from several goroutines unless they say
// otherwise.
type Port struct {
	name      string
	family    Family
	router    Router
	handle    *netlink.Handle
	cache     *addrCache
	sub       *subscriber
	namespace string // the network namespace it was opened in

	mu        sync.Mutex // protects the following
	arp       *packet.Conn
	arpIndex  int
	parked    bool                  // addresses may be on lo, see park.go
	notParked map[netip.Prefix]bool // addresses known not to be on lo
	index     int                   // index of the interface that the addresses were last set on
	vmacIndex int                   // of our macvlan, see vmac.go; 0: none yet
	routes    ExtraRoutes           // set by SetRoutes
	swept     bool                  // the leftovers of a killed run were looked for
	guard     *guard                // see guard.go; nil: none yet
}

// State is the state of an interface.
type State struct {
	Exists  bool
	Index   int
	AdminUp bool           // IFF_UP
	Carrier bool           // and has a carrier
	MAC     string         // hardware address
	Primary netip.Addr     // source address of adverts; the zero Addr: none
	Pending bool           // no Primary yet: duplicate address detection is running
	Present []netip.Prefix // which of the requested addresses are on it, in the requested order

	Elsewhere []LocalHolder // which of them other interfaces of this host have
	Missing   string        // an interface that some of them belong on and that does not exist; empty: none
}

// Open checks the permission to change the interface, without changing anything.
// The interface may be missing. The error names the remedy.
func Open(name string, family Family, router Router) (*Port, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open netlink: %w", err)
	}
	h, err := openCache()
	if err != nil {
		handle.Close()
		return nil, err
	}
	p := &Port{name: name, family: family, router: router, handle: handle, cache: h, sub: h.subscribe(name), namespace: h.namespace}
	if err := p.checkRights(); err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// namespace identifies the network namespace of the calling thread.
func namespace() string {
	here, err := netns.Get()
	if err != nil {
		return ""
	}
	defer here.Close()
	return here.UniqueId()
}

func (p *Port) checkRights() error {
	if err := p.handle.SetSocketTimeout(requestTimeout); err != nil {
		return fmt.Errorf("failed to set the netlink timeout: %w", err)
	}
	l, missing := p.cache.linkByName(p.name)
	if missing != nil && !isMissing(missing) {
		return fmt.Errorf("failed to inspect interface %s: %w", p.name, missing)
	}
	// The kernel checks the permission before it looks up the interface, and no
	// interface has this index: the request cannot change anything.
	nowhere := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1<<31 - 1}}
	err := p.handle.AddrDel(nowhere, address(netip.MustParsePrefix("192.0.2.1/32"), netlink.SCOPE_HOST)) // RFC 5737
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("no permission to change addresses on %s: %w: run as root, or grant CAP_NET_ADMIN", p.name, err)
	}
	if missing != nil {
		return nil
	}
	if hasARP(l.Attrs()) {
		if _, err := p.socket(l.Attrs()); err != nil {
			return err
		}
	}
	if p.router.MAC {
		return p.checkVMAC(l)
	}
	return nil
}

// Close closes the sockets and removes the macvlan of a virtual MAC address.
// Addresses on the interface itself stay.
func (p *Port) Close() error {
	p.endGuard()
	err := p.removeVMAC()
	p.restore(forParked)
	p.mu.Lock()
	p.closeARP()
	p.mu.Unlock()
	p.cache.unsubscribe(p.sub)
	p.cache.close()
	p.handle.Close()
	return err
}

// State returns the state of the interface; a missing interface is a state, not
// an error. ours are the addresses to look for. Primary is source, or the first
// suitable address if source is the zero Addr.
func (p *Port) State(ours []netip.Prefix, source netip.Addr, owner bool) (State, error) {
	l, err := p.cache.linkByName(p.name)
	if isMissing(err) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("failed to inspect interface %s: %w", p.name, err)
	}
	attrs := l.Attrs()
	own, pending, err := p.sourceAddress(attrs.Index, ours, source, owner)
	if err == nil && p.family == IPv6 && !own.IsValid() {
		// The kernel sends no notification for tentative addresses.
		p.cache.invalidate()
		own, pending, err = p.sourceAddress(attrs.Index, ours, source, owner)
	}
	if err != nil {
		return State{}, err
	}
	holding, err := p.cache.entries(attrs.Index, ours)
	if err != nil {
		return State{}, err
	}
	known := []int{attrs.Index}
	if p.router.MAC {
		s, err := p.vmacLink(l)
		if err != nil {
			return State{}, err
		}
		if s != nil {
			known = append(known, s.Attrs().Index)
		}
		if isUp(s) && p.isVMAC(s) && s.Attrs().MasterIndex == p.vrfIndex(l) {
			there, err := p.cache.entries(s.Attrs().Index, ours)
			if err != nil {
				return State{}, err
			}
			holding = append(holding, there...)
		}
	}
	const carrying = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	return State{
		Exists:  true,
		Index:   attrs.Index,
		AdminUp: attrs.RawFlags&unix.IFF_UP != 0,
		Carrier: attrs.RawFlags&carrying == carrying,
		MAC:     attrs.HardwareAddr.String(),
		Primary: own,
		Pending: pending && !own.IsValid(),
		Present: present(holding, ours),

		Elsewhere: p.cache.localHolders(ours, known...),
	}, nil
}

// sourceAddress returns the source address of adverts, and whether one is
// pending.
func (p *Port) sourceAddress(index int, ours []netip.Prefix, source netip.Addr, owner bool) (own netip.Addr, pending bool, err error) {
	err = p.cache.withAddresses(index, func(t *addrTable) {
		p.cache.setOwned(p.sub, ours)
		virtual := func(e entry) bool { return len(p.cache.owners[e.prefix.Addr()]) > 0 } // of any instance
		own = p.primary(t.all, virtual, owner)
		if source.IsValid() {
			own = netip.Addr{}
			if slices.ContainsFunc(t.by[source], entry.usable) {
				own = source
			}
		}
		pending = slices.ContainsFunc(t.all, func(e entry) bool { return e.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == unix.IFA_F_TENTATIVE })
	})
	return own, pending && p.family == IPv6, err
}

// entry is one address of an interface.
type entry struct {
	prefix netip.Prefix // the whole address, with its prefix length
	scope  int
	flags  int // IFA_F_…, linux/if_addr.h
	label  string
}

// usable reports whether packets can be sent from the address: duplicate address
// detection is over and found no duplicate.
func (e entry) usable() bool {
	return e.flags&unix.IFA_F_DADFAILED == 0 && (e.flags&unix.IFA_F_TENTATIVE == 0 || e.flags&unix.IFA_F_OPTIMISTIC != 0)
}

// primary returns the source address of adverts: the first usable address that is
// not virtual. owner allows the virtual addresses of an owner as a last resort:
// they belong to the interface. An advert from a virtual address of another
// director would be dropped by the present master, which has the address too.
func (p *Port) primary(found []entry, virtual func(entry) bool, owner bool) netip.Addr {
	if p.family == IPv6 {
		return primaryV6(found, virtual)
	}
	return primary(found, virtual, owner)
}

// primaryV6 returns the first link-local address that is not virtual (RFC 9568
// §5.1.2.1). Those of other processes have prefix length 128, see address.
func primaryV6(found []entry, virtual func(entry) bool) netip.Addr {
	for _, e := range found {
		if e.prefix.Addr().IsLinkLocalUnicast() && e.usable() && !e.prefix.IsSingleIP() && !virtual(e) {
			return e.prefix.Addr()
		}
	}
	return netip.Addr{}
}

// primary returns the first address that is not virtual, of global scope if there
// is one. Virtual host addresses have host or link scope, see address.
func primary(found []entry, virtual func(entry) bool, owner bool) netip.Addr {
	for _, suitable := range []func(e entry) bool{
		func(e entry) bool { return e.scope == unix.RT_SCOPE_UNIVERSE && !virtual(e) },
		func(e entry) bool { return e.scope < unix.RT_SCOPE_HOST && e.prefix.Bits() < 32 && !virtual(e) },
		func(e entry) bool { return e.scope == unix.RT_SCOPE_UNIVERSE && owner },
	} {
		for _, e := range found {
			if e.prefix.Addr().Is4() && suitable(e) {
				return e.prefix.Addr()
			}
		}
	}
	return netip.Addr{}
}

// present returns which of ours are on the interface, with whatever prefix
// length: the host answers for the address.
func present(found []entry, ours []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range ours {
		if slices.ContainsFunc(found, func(e entry) bool { return e.prefix.Addr() == o.Addr() }) {
			out = append(out, o)
		}
	}
	return out
}

// SetAddresses makes exactly those of ours that are in want present, and returns
// which are present in the end and which were added. It continues after errors.
// An entry with the same address and another prefix length belongs to another
// process and is not removed, nor is one that another Port was asked to have there. With arpSilenced the host serves the addresses
// without answering ARP/ND for them. It must not be called concurrently.
func (p *Port) SetAddresses(ours, want []netip.Prefix, arpSilenced bool) (held, added []netip.Prefix, err error) {
	l, err := p.cache.linkByName(p.name)
	if isMissing(err) {
		left := p.leaveRenamed(ours)
		if len(want) == 0 {
			return nil, nil, errors.Join(left, p.removeFromLoopback(ours))
		}
		return nil, nil, errors.Join(fmt.Errorf("no interface %s", p.name), left)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("failed to inspect interface %s: %w", p.name, err)
	}
	p.index = l.Attrs().Index
	if !p.router.MAC {
		if !p.swept {
			p.swept = true
			if err := p.removeLeftoverVMAC(l); err != nil {
				return nil, nil, err
			}
		}
		return p.setOn(l, l, ours, want, arpSilenced)
	}
	held, added, err = p.setOnVMAC(l, ours, want, arpSilenced)
	if isMissing(err) { // the macvlan was deleted meanwhile
		p.cache.invalidate()
		held, added, err = p.setOnVMAC(l, ours, want, arpSilenced)
	}
	return held, added, err
}

// setOnVMAC implements SetAddresses with a virtual MAC address.
func (p *Port) setOnVMAC(l netlink.Link, ours, want []netip.Prefix, arpSilenced bool) (held, added []netip.Prefix, err error) {
	s, err := p.ensureVMAC(l)
	if err != nil {
		return nil, nil, err
	}
	if !p.swept {
		p.swept = true
		if err := p.sweepVMAC(s, ours); err != nil {
			return nil, nil, err
		}
	}
	revived := !isUp(s)
	if len(want) > 0 && !arpSilenced {
		if err := p.raiseVMAC(s, l, want); err != nil {
			return nil, nil, err
		}
	}
	held, added, err = p.setOn(s, l, ours, want, arpSilenced)
	errs := []error{err}
	if revived && len(want) > 0 {
		added = held // reachable again, even if they were present
	}
	if len(want) == 0 {
		errs = append(errs, p.lowerVMAC(s))
	}
	if found, err := p.cache.entries(l.Attrs().Index, ours); err == nil {
		// Left by a killed run without a virtual MAC address.
		for _, q := range present(found, ours) {
			errs = append(errs, p.remove(l, q))
		}
	}
	return held, added, errors.Join(errs...)
}

// setOn implements SetAddresses on l, the interface that has the addresses. below
// is the instance's interface, usually the same.
func (p *Port) setOn(l, below netlink.Link, ours, want []netip.Prefix, arpSilenced bool) (held, added []netip.Prefix, err error) {
	// Without the list every change is attempted; unnecessary ones do no harm.
	found, listErr := p.cache.entries(l.Attrs().Index, slices.Concat(ours, want))
	there := func(q netip.Prefix) bool {
		return listErr == nil && slices.ContainsFunc(found, func(e entry) bool { return e.prefix.Addr() == q.Addr() })
	}
	if arpSilenced && listErr == nil {
		p.cache.setWanted(p.sub, l.Attrs().Index, nil)
		held, err = p.moveToLoopback(l, below, ours, want, found)
		return held, nil, err
	}
	name := l.Attrs().Name
	p.cache.setWanted(p.sub, l.Attrs().Index, want)
	var errs []error
	for _, q := range ours {
		if slices.Contains(want, q) || listErr == nil && !there(q) || p.cache.wantedByOther(p.sub, l.Attrs().Index, q) {
			continue
		}
		if err := p.remove(l, q); err != nil {
			errs = append(errs, err)
			held = append(held, q)
		}
	}
	scope := hostScope(name)
	for _, q := range want {
		if !there(q) {
			index, e := l.Attrs().Index, entry{prefix: q, scope: unix.RT_SCOPE_HOST, flags: unix.IFA_F_PERMANENT}
			p.cache.expect(index, e)
			err := p.handle.AddrAdd(l, address(q, scope))
			if err != nil && !errors.Is(err, unix.EEXIST) {
				p.cache.unexpect(index, e)
				errs = append(errs, fmt.Errorf("failed to add %v to %s: %w", q, name, err))
				continue
			}
			if err == nil {
				added = append(added, q)
			}
		}
		held = append(held, q)
	}
	if err := p.removeFromLoopback(ours); err != nil {
		errs = append(errs, err)
	}
	return held, added, errors.Join(errs...)
}

func (p *Port) remove(l netlink.Link, q netip.Prefix) error {
	err := p.handle.AddrDel(l, address(q, netlink.SCOPE_HOST))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !isMissing(err) {
		return fmt.Errorf("failed to remove %v from %s: %w", q, l.Attrs().Name, err)
	}
	return nil
}

// leaveRenamed removes our addresses from the interface that had this name when
// they were set: it still has them after a rename.
func (p *Port) leaveRenamed(ours []netip.Prefix) error {
	if p.router.MAC {
		return p.removeVMAC()
	}
	if p.index == 0 {
		return nil
	}
	l, err := p.cache.linkByIndex(p.index)
	if isMissing(err) {
		return nil // the addresses are gone with it
	}
	if err != nil {
		return fmt.Errorf("failed to find the new name of %s: %w", p.name, err)
	}
	var errs []error
	for _, q := range ours {
		errs = append(errs, p.remove(l, q))
	}
	return errors.Join(errs...)
}

// address returns a virtual address as added to an interface: without a broadcast
// address, and with the scope host (see hostScope) if it is a host address, so that the kernel never
// chooses it as a source. Link scope is not enough: the kernel puts addresses of
// link scope before those of global scope and takes the first one for packets to
// 224.0.0.0/24 and 255.255.255.255. With a shared prefix all addresses need the
// same scope; the kernel makes the later ones secondary.
//
// IPv6 addresses are deprecated, which has the same effect, and skip duplicate
// address detection: both directors have them during a release.
func address(q netip.Prefix, host netlink.Scope) *netlink.Addr {
	if q.Addr().Is6() {
		return &netlink.Addr{
			IPNet:       &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(q.Bits(), 128)},
			Flags:       unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE,
			ValidLft:    math.MaxUint32, // infinite
			PreferedLft: 0,
		}
	}
	a := &netlink.Addr{
		IPNet:     &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(q.Bits(), q.Addr().BitLen())},
		Broadcast: net.IPv4zero,
		Scope:     unix.RT_SCOPE_UNIVERSE,
	}
	if q.IsSingleIP() {
		a.Scope = int(host)
	}
	return a
}

// hostScope returns the scope of host addresses on an interface: link scope where
// arp_ignore is 3, with which the kernel does not answer ARP for host scope.
func hostScope(name string) netlink.Scope {
	all, _ := readSetting("all", arpIgnore)
	own, _ := readSetting(name, arpIgnore)
	if max(all, own) == 3 {
		return netlink.SCOPE_LINK
	}
	return netlink.SCOPE_HOST
}

// isMissing reports whether the error means that the interface does not exist.
func isMissing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}

// Watch calls changed after everything that may concern the interface, until ctx
// ends. changed must not block. Notifications can be lost, so the caller also
// checks the interface from time to time.
func (p *Port) Watch(ctx context.Context, changed func()) { p.cache.watch(ctx, p.sub, changed) }
