// This file builds the virtual services with their real servers, and holds
// them against each other and against what the kernel can do. It never talks to
// the kernel.
//
// PURE.
package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	noFallback     = "no-fallback"
	defaultTimeout = time.Second
)

// serviceKey is what may be one service's only.
type serviceKey struct {
	protocol string
	address  netip.AddrPort
}

// serviceSet is what the services have taken so far.
type serviceSet struct {
	names map[string]Position
	keys  map[serviceKey]Position
}

// buildServices makes the services. They are the same for every director.
func buildServices(root *record) []Service {
	taken := serviceSet{map[string]Position{}, map[serviceKey]Position{}}
	var all []Service
	for _, c := range root.records("virtual_service") {
		all = append(all, buildService(c, &taken))
	}
	return all
}

// buildService makes one service.
func buildService(c *record, taken *serviceSet) Service {
	s := Service{
		Name:        c.str("name"),
		Protocol:    c.str("protocol"),
		Scheduler:   c.str("scheduler"),
		Forward:     c.str("forward"),
		Persistence: c.duration("persistence"),
		Quorum:      int(c.num("quorum")),
		Hysteresis:  int(c.num("hysteresis")),
		Position:    c.at,
	}
	if c.good("name") {
		c.name("service", s.Name, taken.names)
	}
	s.Address = c.serviceAddress(s.Protocol, taken.keys)
	c.wholeSeconds("persistence")
	s.PersistenceBits = c.netmask(s)
	var fallback bool
	s.SchedulerFlags, fallback = c.schedulerFlags(s.Scheduler)
	s.OnFailure = c.onFailure(s, fallback)
	s.RealServers = c.realServers(s)
	c.doubtServers(s, fallback)
	return s
}

// serviceAddress reads the address of a service, which must be the only one on
// it. It is zero when it is wrong.
func (c *record) serviceAddress(protocol string, taken map[serviceKey]Position) netip.AddrPort {
	switch {
	case c.set("address") && c.set("fwmark"):
		c.complain("address", "a service has either an address or a firewall mark: leave one out")
		return netip.AddrPort{}
	case !c.set("address") && !c.set("fwmark"):
		c.fail(c.at, c.path.key("address"), "missing: add it, there is no default")
		return netip.AddrPort{}
	case !c.set("address") || !c.good("address"):
		return netip.AddrPort{}
	}
	a, complaint := addressPort(c.str("address"), 0)
	if complaint != "" {
		c.spoil("address", "%s", complaint)
		return netip.AddrPort{}
	}
	at, _ := c.where("address")
	key := serviceKey{protocol, a}
	if first, twice := taken[key]; twice && c.good("protocol") {
		c.complain("address", "%s %s is the service at line %d already", protocol, a, first.Line)
	} else {
		taken[key] = at
	}
	return a
}

// netmask reads what makes one client of persistence.
func (c *record) netmask(s Service) int {
	bits := 32
	if s.Address.IsValid() {
		bits = s.Address.Addr().BitLen()
	}
	mask := c.str("persistence_netmask")
	if mask == "" {
		return bits
	}
	if s.Persistence == 0 && c.good("persistence") {
		c.doubt("persistence_netmask", "does nothing without persistence")
	}
	if !s.Address.IsValid() {
		return bits
	}
	n, complaint := maskBits(mask, bits)
	if complaint != "" {
		c.complain("persistence_netmask", "%s", complaint)
		return bits
	}
	return n
}

// schedulerFlags resolves the flags to those that the kernel gets. The second
// result says that a client whose server has weight 0 is sent to another one,
// which of the hashing schedulers only sh and mh can do (ip_vs_sh.c,
// ip_vs_mh.c).
func (c *record) schedulerFlags(scheduler string) (flags []string, fallback bool) {
	hashes := scheduler == "sh" || scheduler == "mh"
	refused := false
	words := c.words("scheduler_flags")
	for i, f := range words {
		at, p := c.item("scheduler_flags", i)
		switch of, _, named := strings.Cut(f, "-"); {
		case f == noFallback && hashes:
			refused = true
			continue
		case f == noFallback:
			c.fail(at, p, "belongs to the schedulers sh and mh, not to %s", scheduler)
			continue
		case named && of != "flag" && of != scheduler:
			c.fail(at, p, "belongs to the scheduler %s, not to %s", of, scheduler)
			continue
		case hashes && f == "flag-1": // the numbered flags are the same bits
			f = scheduler + "-fallback"
		case hashes && f == "flag-2":
			f = scheduler + "-port"
		}
		if !slices.Contains(flags, f) {
			flags = append(flags, f)
		}
	}
	if !hashes {
		return flags, scheduler != "dh"
	}
	own := scheduler + "-fallback"
	switch {
	case refused && slices.Contains(flags, own):
		c.complain("scheduler_flags", "%s and %s contradict each other: leave one out", own, noFallback)
	case !refused && !slices.Contains(flags, own):
		flags = append([]string{own}, flags...)
	}
	return flags, !refused
}

// onFailure resolves what becomes of a failed server. Weight 0 keeps its
// connections; but a UDP flow never leaves such a server, and a scheduler that
// hashes without fallback refuses the clients of one.
func (c *record) onFailure(s Service, fallback bool) string {
	quiesce := c.str("on_failure")
	switch {
	case s.Protocol == "udp" && quiesce == "quiesce":
		c.doubt("on_failure", `with udp a client that goes on sending stays with its failed server for as long as it has weight 0: "remove", the default, moves it`)
	case !fallback && quiesce == "quiesce":
		c.doubt("on_failure", `%s refuses the clients of a failed server for as long as it has weight 0: "remove", the default here, moves them`, s.Scheduler)
	case quiesce == "" && (s.Protocol == "udp" || !fallback):
		return "remove"
	case quiesce == "":
		return "quiesce"
	}
	return quiesce
}

// realServers makes the entries of real_servers.
func (c *record) realServers(s Service) []RealServer {
	records := c.records("real_servers")
	all := make([]RealServer, 0, len(records))
	taken := make(map[netip.AddrPort]Position, len(records))
	common, unchecked := c.plans(), len(records) == 0
	if !c.set("check") && s.Protocol == "tcp" {
		common = []*checkPlan{c.connect()}
	}
	for _, r := range records {
		rs := RealServer{
			Address:        r.realAddress(s, taken),
			Weight:         int(r.num("weight")),
			Forward:        r.str("forward"),
			UpperThreshold: uint32(r.num("upper_threshold")),
			LowerThreshold: uint32(r.num("lower_threshold")),
			Position:       r.at,
		}
		rs.WeightPosition, _ = r.where("weight")
		if rs.Forward == "" {
			rs.Forward = s.Forward
		}
		r.samePort(s, rs)
		r.thresholds(rs)
		plans := common
		if r.set("check") {
			plans = r.plans()
		} else if len(plans) == 0 {
			unchecked = true
		}
		for _, p := range plans {
			rs.Checks = append(rs.Checks, p.resolve(rs.Address))
		}
		all = append(all, rs)
	}
	if unchecked && !c.set("check") && s.Protocol == "udp" {
		c.fail(c.at, c.path.key("check"), `missing: udp has no default; say one, such as { type = "connect", address = ":53" } where the server also answers tcp, or { type = "on" } for none`)
	}
	return all
}

// connect is the check of a tcp service that says none.
func (c *record) connect() *checkPlan {
	check := c.child("check")
	p := check.plan()
	p.check.Type = "connect"
	return p
}

// realAddress reads the address of a real server, which must be the service's
// only one there. Without a port it has the service's.
func (c *record) realAddress(s Service, taken map[netip.AddrPort]Position) netip.AddrPort {
	if !c.good("address") {
		return netip.AddrPort{}
	}
	port := s.Address.Port()
	if port == 0 {
		port = 1 // what is wrong with the service's address has been said
	}
	a, complaint := addressPort(c.str("address"), port)
	if complaint == "" && s.Address.IsValid() && a.Addr().Is4() != s.Address.Addr().Is4() {
		complaint = "an IPv4 server behind an IPv6 service is not supported yet"
		if s.Address.Addr().Is4() {
			complaint = "an IPv6 server behind an IPv4 service is not supported yet"
		}
	}
	if complaint == "" && a == s.Address {
		complaint = "is the service's own address: write the server's"
	}
	if complaint != "" {
		c.spoil("address", "%s", complaint)
		return netip.AddrPort{}
	}
	at, _ := c.where("address")
	if first, twice := taken[a]; twice {
		c.complain("address", "%s is a real server of this service at line %d already", a, first.Line)
	} else {
		taken[a] = at
	}
	return a
}

// samePort refuses another port than the service's where the packet reaches
// the real server as the client sent it.
func (c *record) samePort(s Service, rs RealServer) {
	if !c.good("address") || !s.Address.IsValid() || rs.Forward == "nat" || rs.Address.Port() == s.Address.Port() {
		return
	}
	c.complain("address", `port %d is not the service's: forward = %q leaves the packet as it is, so write %q, or use forward = "nat"`,
		rs.Address.Port(), rs.Forward, netip.AddrPortFrom(rs.Address.Addr(), s.Address.Port()).String())
}

// thresholds refuses what the kernel would (ERANGE, ip_vs_ctl.c).
func (c *record) thresholds(rs RealServer) {
	if rs.LowerThreshold <= rs.UpperThreshold {
		return
	}
	if rs.UpperThreshold == 0 {
		c.complain("lower_threshold", "needs an upper_threshold, which there is none of")
		return
	}
	c.complain("lower_threshold", "%d is above upper_threshold, %d: it must be at most that", rs.LowerThreshold, rs.UpperThreshold)
}

// doubtServers warns of servers that cannot serve as written.
func (c *record) doubtServers(s Service, fallback bool) {
	if len(s.RealServers) == 0 {
		if c.good("real_servers") {
			c.warn(c.at, c.path, "has no real servers: every client is refused")
		}
		return
	}
	// ip_vs_rr.c and ip_vs_lc.c look only at whether a weight is 0.
	if weighted, blind := map[string]string{"rr": "wrr", "lc": "wlc"}[s.Scheduler]; blind && unequal(s.RealServers) {
		c.doubt("scheduler", "%s looks only at whether a weight is 0, and these differ: %s respects them", s.Scheduler, weighted)
	}
	total := 0
	for i, rs := range s.RealServers {
		total += rs.Weight
		if rs.Weight == 0 && !fallback && c.good("scheduler") {
			r := c.records("real_servers")[i]
			remedy := "take the server out of the file instead"
			if s.Scheduler != "dh" {
				remedy += ", or " + noFallback + " out of scheduler_flags"
			}
			r.doubt("weight", "%s refuses every client whose hash lands on a server of weight 0, so it cannot be drained by hand: %s", s.Scheduler, remedy)
		}
	}
	switch {
	case total == 0:
		c.warn(c.at, c.path, "every real server has weight 0: every new client is refused")
	case total < s.Quorum:
		c.doubt("quorum", "%d is more than the real servers' weights add up to, %d: it is never reached", s.Quorum, total)
	case total < s.Quorum+s.Hysteresis:
		c.doubt("hysteresis", "quorum and hysteresis make %d, more than the real servers' weights add up to, %d: a quorum once lost never comes back", s.Quorum+s.Hysteresis, total)
	}
}

// unequal says whether servers that are not drained differ in weight.
func unequal(servers []RealServer) bool {
	weight := 0
	for _, rs := range servers {
		if weight != 0 && rs.Weight != 0 && rs.Weight != weight {
			return true
		}
		weight = max(weight, rs.Weight)
	}
	return false
}

// uncovered warns of services whose address no election brings to a director.
// A single director without elections has them by other means.
func uncovered(root *record, services []Service, elections electionSet, directors int) {
	if len(root.records("vrrp")) == 0 && (directors < 2 || !root.good("vrrp")) {
		return
	}
	records := root.records("virtual_service")
	for i, s := range services {
		if !s.Address.IsValid() {
			continue
		}
		if _, ok := elections.addresses[s.Address.Addr()]; !ok {
			records[i].doubt("address", "%s is in no [[vrrp]] of this file: nothing here brings it to the director that is master", s.Address.Addr())
		}
	}
}
