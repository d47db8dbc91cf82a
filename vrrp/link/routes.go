// Routes and rules that exist while the addresses do. They are marked with a
// protocol number, and only marked ones are removed.

package link

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ourProtocol marks our routes and rules (rtm_protocol in struct rtmsg). It is
// the IP protocol number of VRRP, which no routing daemon uses.
const ourProtocol = 112

// Route is a route that exists while the addresses do.
type Route struct {
	To        netip.Prefix // prefix length 0: the default route
	Via       netip.Addr   // the zero Addr: the destination is on the link
	Interface string
	Table     int        // 0: main
	Source    netip.Addr // preferred source address; the zero Addr: the kernel chooses
	Metric    int        // 0: the default of the kernel
}

// String returns the route in the syntax of ip-route(8).
func (r Route) String() string {
	s := "route " + r.To.String()
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	s += " dev " + r.Interface
	if r.Table != 0 {
		s += fmt.Sprintf(" table %d", r.Table)
	}
	return s
}

// Rule is a policy routing rule that exists while the addresses do.
type Rule struct {
	From, To  netip.Prefix // the zero Prefix: any
	Mark      uint32       // 0: any
	Interface string       // incoming interface; "": any
	Table     int
	Priority  int
}

// String returns the rule in the syntax of ip-rule(8).
func (r Rule) String() string {
	s := fmt.Sprintf("rule %d:", r.Priority)
	for _, p := range []struct {
		word string
		q    netip.Prefix
	}{{" from ", r.From}, {" to ", r.To}} {
		if p.q.IsValid() {
			s += p.word + p.q.String()
		}
	}
	if r.Mark != 0 {
		s += fmt.Sprintf(" fwmark %d", r.Mark)
	}
	if r.Interface != "" {
		s += " iif " + r.Interface
	}
	return s + fmt.Sprintf(" table %d", r.Table)
}

// ExtraRoutes are the routes and rules of an instance.
type ExtraRoutes struct {
	Routes []Route
	Rules  []Rule
}

// Empty reports whether there are none.
func (a ExtraRoutes) Empty() bool { return len(a.Routes) == 0 && len(a.Rules) == 0 }

// Equal reports whether a and b are the same.
func (a ExtraRoutes) Equal(b ExtraRoutes) bool {
	return slices.Equal(a.Routes, b.Routes) && slices.Equal(a.Rules, b.Rules)
}

// SetRoutes adds these routes and rules and removes those of the previous call
// that are no longer listed; with present = false it removes all. It returns what
// another process had removed and was restored. Without notifications since the
// last call it costs nothing. It must not be called concurrently.
func (p *Port) SetRoutes(a ExtraRoutes, present bool) (restored []string, err error) {
	if !present {
		p.watchRoutes(false)
		err := errors.Join(p.removeRoutes(p.routes), p.removeRoutes(a))
		p.routes = ExtraRoutes{}
		return nil, err
	}
	if a.Empty() && p.routes.Empty() {
		return nil, nil
	}
	p.watchRoutes(true)
	if sure := p.routesUnchanged(); sure && a.Equal(p.routes) {
		return nil, nil
	}
	before := p.routes
	gone := ExtraRoutes{
		Routes: slices.DeleteFunc(slices.Clone(before.Routes), func(r Route) bool { return slices.Contains(a.Routes, r) }),
		Rules:  slices.DeleteFunc(slices.Clone(before.Rules), func(r Rule) bool { return slices.Contains(a.Rules, r) }),
	}
	errs := []error{p.removeRoutes(gone)}
	p.routes = a
	p.cache.mu.Lock()
	p.sub.routes = a.Routes
	p.cache.mu.Unlock()
	for _, r := range a.Routes {
		known := slices.Contains(before.Routes, r)
		added, err := p.addRoute(r, known)
		if errs = append(errs, err); added && known {
			restored = append(restored, r.String())
		}
	}
	for _, r := range a.Rules {
		err := p.handle.RuleAdd(p.rule(r))
		switch {
		case err == nil && slices.Contains(before.Rules, r):
			restored = append(restored, r.String())
		case err != nil && !errors.Is(err, unix.EEXIST):
			errs = append(errs, fmt.Errorf("failed to add the %v: %w", r, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		p.markRoutesStale() // check again next time
		return restored, err
	}
	return restored, nil
}

// watchRoutes turns route notifications on or off.
func (p *Port) watchRoutes(wanted bool) {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	if wanted && !p.sub.wantsRoutes {
		p.cache.joinRouteGroups()
	}
	if p.sub.wantsRoutes = wanted; !wanted {
		p.sub.routes = nil
	}
}

// routesUnchanged reports whether there was no notification since the last call.
func (p *Port) routesUnchanged() bool {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	p.cache.drain()
	sure := !p.sub.routesStale
	p.sub.routesStale = false
	return sure
}

// concernsRoutes reports whether a message is about a removed rule, a removed
// route of ours, or a route that replaced one of the subscriber's.
func (c *subscriber) concernsRoutes(m *syscall.NetlinkMessage) bool {
	switch {
	case m.Header.Type == unix.RTM_DELRULE:
		return true
	case len(m.Data) < unix.SizeofRtMsg:
		return false
	case m.Header.Type == unix.RTM_DELROUTE:
		return m.Data[5] == ourProtocol
	case m.Header.Flags&unix.NLM_F_REPLACE == 0 || m.Data[5] == ourProtocol:
		return false
	}
	to, table := routeKey(m.Data)
	return slices.ContainsFunc(c.routes, func(r Route) bool {
		return r.To == to && cmp.Or(r.Table, unix.RT_TABLE_MAIN) == table
	})
}

// routeKey parses destination and table of a route message: struct rtmsg and
// attributes. A default route has no destination attribute.
func routeKey(b []byte) (to netip.Prefix, table int) {
	addr := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		addr = netip.IPv6Unspecified()
	}
	table = int(b[4])
	attrs, err := parseAttrs(b[unix.SizeofRtMsg:])
	if err != nil {
		return to, 0
	}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == unix.RTA_DST:
			addr, _ = netip.AddrFromSlice(a.Value)
		case a.Attr.Type == unix.RTA_TABLE && len(a.Value) >= 4:
			table = int(binary.NativeEndian.Uint32(a.Value))
		}
	}
	return netip.PrefixFrom(addr, int(b[1])), table
}

func (p *Port) markRoutesStale() {
	p.cache.mu.Lock()
	p.sub.routesStale = true
	p.cache.mu.Unlock()
}

// addRoute adds one route. The kernel returns EEXIST for any route to the same
// destination, so an unknown one is compared.
func (p *Port) addRoute(r Route, known bool) (added bool, err error) {
	route, err := p.route(r)
	if err == nil {
		err = p.handle.RouteAdd(route)
	}
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("failed to add the %v: %w", r, err)
	}
	var found []netlink.Route
	if err := checked(func() (err error) {
		found, err = p.handle.RouteListFiltered(int(p.family), route, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		return err
	}); err != nil {
		return false, fmt.Errorf("failed to inspect the %v: %w", r, err)
	}
	ours := slices.ContainsFunc(found, func(f netlink.Route) bool {
		return f.Protocol == ourProtocol && f.Gw.Equal(route.Gw) && f.LinkIndex == route.LinkIndex
	})
	if known && ours {
		return false, nil
	}
	for _, f := range found {
		if !known && f.Protocol != ourProtocol && (r.Metric == 0 || f.Priority == r.Metric) {
			return false, fmt.Errorf("another process has a %v (%v): remove it, or configure another metric", r, f.Protocol)
		}
	}
	// From a killed run, possibly of another configuration, or another process
	// replaced ours.
	if err := p.handle.RouteReplace(route); err != nil {
		return false, fmt.Errorf("failed to replace the %v: %w", r, err)
	}
	return known, nil
}

// removeRoutes removes routes and rules; the rules first, so that none refers to
// an empty table.
func (p *Port) removeRoutes(a ExtraRoutes) error {
	var errs []error
	for _, r := range a.Rules {
		if err := p.handle.RuleDel(p.rule(r)); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("failed to remove the %v: %w", r, err))
		}
	}
	for _, r := range a.Routes {
		route, err := p.route(r)
		if isMissing(err) {
			continue // the route is gone with the interface
		}
		if err == nil {
			err = p.handle.RouteDel(route)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("failed to remove the %v: %w", r, err))
		}
	}
	return errors.Join(errs...)
}

func (p *Port) route(r Route) (*netlink.Route, error) {
	l, err := p.cache.linkByName(r.Interface)
	if isMissing(err) {
		return nil, fmt.Errorf("no interface %s: %w", r.Interface, unix.ENODEV)
	}
	if err != nil {
		return nil, err
	}
	out := &netlink.Route{
		LinkIndex: l.Attrs().Index, Dst: ipNet(r.To), Table: r.Table, Priority: r.Metric,
		Protocol: ourProtocol, Family: int(p.family),
	}
	if out.Table == 0 {
		out.Table = unix.RT_TABLE_MAIN
	}
	if r.Via.IsValid() {
		out.Gw = r.Via.AsSlice()
	} else if p.family == IPv4 {
		out.Scope = unix.RT_SCOPE_LINK
	}
	if r.Source.IsValid() {
		out.Src = r.Source.AsSlice()
	}
	return out, nil
}

func (p *Port) rule(r Rule) *netlink.Rule {
	out := netlink.NewRule()
	out.Family, out.Priority, out.Table = int(p.family), r.Priority, r.Table
	out.Mark, out.IifName, out.Protocol = r.Mark, r.Interface, ourProtocol
	if r.From.IsValid() {
		out.Src = ipNet(r.From)
	}
	if r.To.IsValid() {
		out.Dst = ipNet(r.To)
	}
	return out
}

func ipNet(q netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: q.Addr().AsSlice(), Mask: net.CIDRMask(q.Bits(), q.Addr().BitLen())}
}
