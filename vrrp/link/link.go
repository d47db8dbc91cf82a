// Package link looks after one network interface for an election: its state, the
// virtual addresses on it, and the gratuitous ARP or unsolicited neighbour
// advertisements that tell the neighbours. It is told what to do and never knows
// why.
package link

import (
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

// requestTimeout bounds the wait for an answer of the kernel's. It cannot bound
// the kernel's own work under its lock, so nothing here may be called from where
// an advert could be delayed.
const requestTimeout = 2 * time.Second

// Family is what the addresses of a port are of.
type Family int

// The families.
const (
	IPv4 Family = unix.AF_INET
	IPv6 Family = unix.AF_INET6
)

// Port is an interface by its name. It may be gone and come back with another
// index. Methods may be called from several goroutines.
type Port struct {
	name      string
	family    Family
	router    Router
	handle    *netlink.Handle
	cache     *addrCache
	sub       *subscriber
	namespace string // which network namespace it was opened in

	mu        sync.Mutex // of what follows
	arp       *packet.Conn
	arpIndex  int
	parked    bool                  // some addresses may be on the loopback interface, see hush
	notParked map[netip.Prefix]bool // those that are known not to be there
	index     int                   // of the interface that the addresses were last set on
	vmacIndex int                   // of our macvlan, see vmac.go; 0: none that this port has seen to
	routes    ExtraRoutes           // routes and rules that are there by Move, see along.go
	swept     bool                  // a macvlan that a killed run left was looked for
}

// State is what an interface is like.
type State struct {
	Exists  bool
	Index   int
	AdminUp bool           // set up
	Carrier bool           // and able to carry packets
	Primary netip.Addr     // the address that adverts are sent from; the zero Addr: none
	Pending bool           // no Primary, but there will be one when the kernel knows that nobody else has it
	Present []netip.Prefix // those asked about that are on it, in the order asked
}

// Open finds the interface, for addresses of one family and of a virtual router,
// and proves the rights to change it, without changing anything. The error names
// the remedy.
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

// namespace names the network namespace of the calling thread.
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
	l, err := p.cache.linkByName(p.name)
	if isMissing(err) {
		return fmt.Errorf("no interface %s on this host: correct `interface`, or create it first (ip link show)", p.name)
	}
	if err != nil {
		return fmt.Errorf("failed to look at interface %s: %w", p.name, err)
	}
	// The kernel looks at the rights before it looks for the interface, and there
	// is none with this index: a question about rights that can change nothing.
	nowhere := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: 1<<31 - 1}}
	err = p.handle.AddrDel(nowhere, address(netip.MustParsePrefix("192.0.2.1/32"))) // RFC 5737
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("no right to change addresses on %s: %w: run as root, or give CAP_NET_ADMIN", p.name, err)
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

// Close frees the sockets, and removes the macvlan of a virtual MAC address. Other
// addresses it leaves as they are.
func (p *Port) Close() error {
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

// State reads the state of the interface. A missing interface is a state, not an
// error. Of the addresses it looks for those in ours. Adverts are to be sent from
// source, or from the first address that fits when source is the zero Addr.
func (p *Port) State(ours []netip.Prefix, source netip.Addr) (State, error) {
	l, err := p.cache.linkByName(p.name)
	if isMissing(err) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("failed to look at interface %s: %w", p.name, err)
	}
	attrs := l.Attrs()
	own, pending, err := p.sourceAddress(attrs.Index, ours, source)
	if err == nil && p.family == IPv6 && !own.IsValid() {
		// Of an address that it still asks for the kernel tells nothing yet.
		p.cache.invalidate()
		own, pending, err = p.sourceAddress(attrs.Index, ours, source)
	}
	if err != nil {
		return State{}, err
	}
	holding, err := p.cache.entries(attrs.Index, ours)
	if err != nil {
		return State{}, err
	}
	if p.router.MAC {
		s, err := p.vmacLink(l)
		if err != nil {
			return State{}, err
		}
		if isUp(s) && p.isVMAC(s) {
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
		Primary: own,
		Pending: pending && !own.IsValid(),
		Present: present(holding, ours),
	}, nil
}

// sourceAddress is the address that adverts are sent from, and whether there will be one.
func (p *Port) sourceAddress(index int, ours []netip.Prefix, source netip.Addr) (own netip.Addr, pending bool, err error) {
	err = p.cache.withAddresses(index, func(t *addrTable) {
		p.cache.setOwned(p.sub, ours)
		own = p.primary(t.all, ours)
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

// An entry is one address of the interface.
type entry struct {
	prefix netip.Prefix // with all bits of the address
	scope  int
	flags  int // IFA_F_…, linux/if_addr.h
	label  string
}

// usable reports whether the address can be sent from: not while the kernel still
// asks whether somebody else has it, nor when somebody does.
func (e entry) usable() bool {
	return e.flags&unix.IFA_F_DADFAILED == 0 && (e.flags&unix.IFA_F_TENTATIVE == 0 || e.flags&unix.IFA_F_OPTIMISTIC != 0)
}

// primary is the address that adverts are sent from. An interface has those of both
// families.
func (p *Port) primary(found []entry, ours []netip.Prefix) netip.Addr {
	if p.family == IPv6 {
		return primaryV6(found, ours)
	}
	return primary(found, ours)
}

// primaryV6 is the first link-local address that is nobody's virtual one (RFC
// 9568 §5.1.2.1). Virtual ones are host addresses, see address.
func primaryV6(found []entry, ours []netip.Prefix) netip.Addr {
	for _, e := range found {
		if e.prefix.Addr().IsLinkLocalUnicast() && e.usable() && !e.prefix.IsSingleIP() && !slices.Contains(ours, e.prefix) {
			return e.prefix.Addr()
		}
	}
	return netip.Addr{}
}

// primary is the address that the interface's own packets come from: the first
// that is nobody's virtual address. Virtual ones have link scope, see scope; an
// owner's, which are the interface's own, are the last resort.
func primary(found []entry, ours []netip.Prefix) netip.Addr {
	for _, e := range found {
		if e.prefix.Addr().Is4() && e.scope == unix.RT_SCOPE_UNIVERSE && !slices.Contains(ours, e.prefix) {
			return e.prefix.Addr()
		}
	}
	for _, e := range found {
		if e.prefix.Addr().Is4() && !slices.Contains(ours, e.prefix) && e.scope < unix.RT_SCOPE_HOST && e.prefix.Bits() < 32 {
			return e.prefix.Addr()
		}
	}
	for _, e := range found {
		if e.prefix.Addr().Is4() && e.scope == unix.RT_SCOPE_UNIVERSE {
			return e.prefix.Addr()
		}
	}
	return netip.Addr{}
}

// present is which of ours are there, in whatever form: what counts is whether
// the host answers for the address.
func present(found []entry, ours []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range ours {
		if slices.ContainsFunc(found, func(e entry) bool { return e.prefix.Addr() == o.Addr() }) {
			out = append(out, o)
		}
	}
	return out
}

// SetAddresses makes the interface hold of ours exactly those in want, and says which it
// holds in the end and which it had to add. Everything that can be done is done
// even if something fails. Entries that are not exactly one of ours (the same
// address with another prefix length) are somebody else's and not removed.
// Quiet, the host serves the addresses and answers nobody's question for them. It
// is not to be called by two goroutines at once.
func (p *Port) SetAddresses(ours, want []netip.Prefix, quiet bool) (held, added []netip.Prefix, err error) {
	l, err := p.cache.linkByName(p.name)
	if isMissing(err) {
		left := p.leaveRenamed(ours)
		if len(want) == 0 {
			return nil, nil, errors.Join(left, p.unpark(ours))
		}
		return nil, nil, errors.Join(fmt.Errorf("no interface %s", p.name), left)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("failed to look at interface %s: %w", p.name, err)
	}
	p.index = l.Attrs().Index
	if !p.router.MAC {
		if !p.swept {
			p.swept = true
			if err := p.removeLeftoverVMAC(l); err != nil {
				return nil, nil, err
			}
		}
		return p.setOn(l, l, ours, want, quiet)
	}
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
	if len(want) > 0 && !quiet {
		if err := p.raiseVMAC(s, want); err != nil {
			return nil, nil, err
		}
	}
	held, added, err = p.setOn(s, l, ours, want, quiet)
	errs := []error{err}
	if revived && len(want) > 0 {
		added = held // reached again, even if they were on it
	}
	if len(want) == 0 {
		errs = append(errs, p.lowerVMAC(s))
	}
	if found, err := p.cache.entries(l.Attrs().Index, ours); err == nil {
		// What a killed run without a virtual MAC left.
		for _, q := range present(found, ours) {
			errs = append(errs, p.remove(l, q, found))
		}
	}
	return held, added, errors.Join(errs...)
}

// setOn does what Set says on the interface that holds the addresses; below is
// the election's own, and mostly the same.
func (p *Port) setOn(l, below netlink.Link, ours, want []netip.Prefix, quiet bool) (held, added []netip.Prefix, err error) {
	// Without the list every step is tried blindly; each is harmless when it is
	// not needed.
	found, listErr := p.cache.entries(l.Attrs().Index, slices.Concat(ours, want))
	there := func(q netip.Prefix) bool {
		return listErr == nil && slices.ContainsFunc(found, func(e entry) bool { return e.prefix.Addr() == q.Addr() })
	}
	if quiet && listErr == nil {
		held, err = p.park(l, below, ours, want, found)
		return held, nil, err
	}
	name := l.Attrs().Name
	var errs []error
	for _, q := range ours {
		if slices.Contains(want, q) || listErr == nil && !there(q) {
			continue
		}
		if err := p.remove(l, q, found); err != nil {
			errs = append(errs, err)
			held = append(held, q)
		}
	}
	for _, q := range want {
		if !there(q) {
			index, e := l.Attrs().Index, entry{prefix: q, scope: unix.RT_SCOPE_LINK, flags: unix.IFA_F_PERMANENT}
			p.cache.expect(index, e)
			err := p.handle.AddrAdd(l, address(q))
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
	if err := p.unpark(ours); err != nil {
		errs = append(errs, err)
	}
	return held, added, errors.Join(errs...)
}

func (p *Port) remove(l netlink.Link, q netip.Prefix, found []entry) error {
	err := p.handle.AddrDel(l, address(q))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !isMissing(err) {
		return fmt.Errorf("failed to remove %v from %s: %w", q, l.Attrs().Name, err)
	}
	for _, e := range found {
		if e.prefix.Addr() == q.Addr() && e.prefix != q {
			return fmt.Errorf("%v stays on %s: somebody else added it, remove it by hand (ip address del %v dev %s)", e.prefix, l.Attrs().Name, e.prefix, l.Attrs().Name)
		}
	}
	return nil
}

// leaveRenamed takes our addresses off the interface that had the name when they
// were set: renamed, it still holds them, beside whoever is master now.
func (p *Port) leaveRenamed(ours []netip.Prefix) error {
	if p.router.MAC {
		return p.removeVMAC()
	}
	if p.index == 0 {
		return nil
	}
	l, err := p.cache.linkByIndex(p.index)
	if isMissing(err) {
		return nil // gone, and the addresses with it
	}
	if err != nil {
		return fmt.Errorf("failed to look for what %s was renamed to: %w", p.name, err)
	}
	var errs []error
	for _, q := range ours {
		errs = append(errs, p.remove(l, q, nil))
	}
	return errors.Join(errs...)
}

// address is how a virtual address is put on an interface: without a broadcast
// address, and with link scope when it is a host address, so that the kernel
// never picks it as the source of traffic to elsewhere, whatever was added to the
// interface in which order. With a prefix that other addresses share the kernel
// wants one scope for all of them, and makes it a secondary by itself.
//
// An IPv6 one is deprecated from the start, which keeps it from being a source as
// well, and never tentative: while the addresses move both directors have it.
func address(q netip.Prefix) *netlink.Addr {
	if q.Addr().Is6() {
		return &netlink.Addr{
			IPNet:       &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(q.Bits(), 128)},
			Flags:       unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE,
			ValidLft:    math.MaxUint32, // for ever
			PreferedLft: 0,
		}
	}
	a := &netlink.Addr{
		IPNet:     &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(q.Bits(), q.Addr().BitLen())},
		Broadcast: net.IPv4zero,
		Scope:     unix.RT_SCOPE_UNIVERSE,
	}
	if q.IsSingleIP() {
		a.Scope = unix.RT_SCOPE_LINK
	}
	return a
}

// isMissing reports whether the interface is not there.
func isMissing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}
