// This file builds the virtual services with their real servers, and holds
// them against each other and against what the kernel can do. It never talks to
// the kernel.
//
// PURE.
package config

import (
	"fmt"
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
	mark     uint32
	ipv6     bool
}

// serviceSet is what the services have taken so far.
type serviceSet struct {
	names  map[string]Position
	keys   map[serviceKey]Position
	synced bool // [ipvs.sync] is there
}

// buildServices makes the services. They are the same for every director.
func buildServices(root *record) []Service {
	ipvs := root.child("ipvs")
	taken := serviceSet{map[string]Position{}, map[serviceKey]Position{}, ipvs.set("sync") && ipvs.good("sync")}
	var all []Service
	for _, c := range root.records("virtual_service") {
		all = append(all, buildService(c, &taken))
	}
	return all
}

// buildService makes one service.
func buildService(c *record, taken *serviceSet) Service {
	s := Service{
		Name:              c.str("name"),
		Protocol:          c.str("protocol"),
		Scheduler:         c.str("scheduler"),
		Persistence:       c.duration("persistence"),
		PersistenceEngine: c.str("persistence_engine"),
		OnePacket:         c.flag("one_packet"),
		Quorum:            int(c.num("quorum")),
		Hysteresis:        int(c.num("hysteresis")),
		DrainTimeout:      c.duration("drain_timeout"),
		DrainPersistent:   c.str("drain_persistent"),
		PanicThreshold:    int(c.num("panic_threshold")),
		SlowStart:         c.duration("slow_start"),
		FlapDamping:       c.flag("flap_damping"),
		Position:          c.at,
	}
	if c.good("name") {
		c.name("service", s.Name, taken.names)
	}
	c.identity(&s, taken.keys)
	s.Forward, s.Tunnel = c.forward()
	c.wholeSeconds("persistence")
	s.PersistenceBits = c.netmask(s)
	c.packets(s)
	var fallback bool
	s.SchedulerFlags, fallback = c.schedulerFlags(s.Scheduler)
	s.OnFailure = c.onFailure(s, fallback)
	s.RealServers = c.realServers(s, taken.synced)
	s.Fallback, s.FallbackForward = c.fallback(s)
	c.doubtServers(s, fallback)
	c.doubtChanges(s, fallback)
	return s
}

// identity reads what a service is known by: its address, or its firewall
// mark. It must be the only one with it. Where that is wrong both stay zero.
func (c *record) identity(s *Service, taken map[serviceKey]Position) {
	name := "address"
	switch {
	case c.set("address") && c.set("fwmark"):
		c.complain("address", "a service has either an address or a firewall mark: leave one out")
		return
	case c.set("fwmark"):
		if !c.mark(s) {
			return
		}
		name = "fwmark"
	case !c.set("address"):
		c.fail(c.at, c.path.key("address"), "missing: add it, there is no default")
		return
	default:
		if c.set("family") && c.good("family") {
			c.complain("family", "belongs to a firewall mark: an address says its own")
		}
		if s.Address = c.serviceAddress(*s); !s.Address.IsValid() {
			return
		}
		s.IPv6 = s.Address.Addr().Is6()
	}
	at, _ := c.where(name)
	key := serviceKey{s.Protocol, s.Address, s.FWMark, s.IPv6}
	first, twice := taken[key]
	switch {
	case !twice || !c.good("protocol"):
		taken[key] = at
	case s.FWMark != 0:
		c.complain(name, "mark %d of this family is the service at line %d already", s.FWMark, first.Line)
	default:
		c.complain(name, "%s %s is the service at line %d already", s.Protocol, s.Address, first.Line)
	}
}

// mark reads a firewall mark, which stands for packets of one family and of
// any protocol.
func (c *record) mark(s *Service) bool {
	if !c.good("fwmark") {
		return false
	}
	s.FWMark, s.IPv6 = uint32(c.num("fwmark")), c.str("family") == "ipv6"
	if c.set("protocol") {
		c.complain("protocol", "means nothing with a firewall mark, which takes marked packets of every protocol: leave it out, and mark the packets that are meant")
	}
	s.Protocol = ""
	return true
}

// serviceAddress reads the address of a service. It is zero when it is wrong.
func (c *record) serviceAddress(s Service) netip.AddrPort {
	if !c.good("address") {
		return netip.AddrPort{}
	}
	a, complaint := addressPort(c.str("address"), mustSay)
	switch {
	case complaint != "" || a.Port() != 0:
	case s.Persistence == 0 && c.good("persistence"):
		// ip_vs_schedule, ip_vs_core.c: only ip_vs_sched_persist looks for it.
		complaint = "port 0 stands for all ports, which the kernel has for persistent services only: add persistence, or write a port"
	}
	if complaint != "" {
		c.spoil("address", "%s", complaint)
		return netip.AddrPort{}
	}
	return a
}

// known says that what the service is known by is right.
func (s *Service) known() bool { return s.Address.IsValid() || s.FWMark != 0 }

// bits is the length of the service's addresses.
func (s *Service) bits() int {
	if s.IPv6 {
		return 128
	}
	return 32
}

// anyPort says that the service takes packets to more than one port, which
// then reach the real server with the port that the client chose.
func (s *Service) anyPort() bool { return s.known() && s.Address.Port() == 0 }

// netmask reads what makes one client of persistence.
func (c *record) netmask(s Service) int {
	bits := s.bits()
	mask := c.str("persistence_netmask")
	if mask == "" {
		return bits
	}
	if s.Persistence == 0 && c.good("persistence") {
		c.doubt("persistence_netmask", "does nothing without persistence")
	}
	if !s.known() {
		return bits
	}
	n, complaint := maskBits(mask, bits)
	if complaint != "" {
		c.complain("persistence_netmask", "%s", complaint)
		return bits
	}
	return n
}

// packets judges what looks into the packets: an engine, and scheduling each
// by itself. Both are for UDP; of a firewall mark the protocol is not known.
func (c *record) packets(s Service) {
	udp := s.Protocol == "udp" || s.FWMark != 0 || !c.good("protocol") || !s.known()
	if s.PersistenceEngine != "" {
		switch {
		case !udp: // ip_vs_pe_sip.c
			c.complain("persistence_engine", "%s tells clients apart in UDP packets, not with protocol = %q", s.PersistenceEngine, s.Protocol)
		case s.Persistence == 0 && c.good("persistence"): // ip_vs_ctl.c
			c.complain("persistence_engine", "needs persistence: add it")
		case c.set("persistence_netmask"):
			c.doubt("persistence_netmask", "does nothing with an engine, which tells clients apart by what they say")
		}
	}
	if !s.OnePacket {
		return
	}
	switch {
	case !udp: // ip_vs_schedule, ip_vs_core.c
		c.complain("one_packet", "is for UDP, not for protocol = %q: every packet is sent to another server, which breaks a connection", s.Protocol)
	case s.Persistence > 0:
		c.doubt("one_packet", "does little with persistence: a client's packets go to one server all the same")
	case s.Forward == "nat" && c.good("forward"):
		c.doubt("one_packet", `with forward = "nat" the answers find no connection to be translated back by: "dr" and "tun" answer the clients directly`)
	}
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
func (c *record) realServers(s Service, synced bool) []RealServer {
	records := c.records("real_servers")
	all := make([]RealServer, 0, len(records))
	taken := make(map[netip.AddrPort]Position, len(records))
	common, unchecked := c.plans(), len(records) == 0
	if !c.set("check") && s.Protocol == "tcp" {
		common = []*checkPlan{c.connect()}
	}
	for _, r := range records {
		rs := RealServer{
			Weight:         int(r.num("weight")),
			UpperThreshold: uint32(r.num("upper_threshold")),
			LowerThreshold: uint32(r.num("lower_threshold")),
			Position:       r.at,
		}
		rs.WeightPosition, _ = r.where("weight")
		rs.DrainUntil = r.time("drain_until")
		if r.set("drain_until") {
			rs.DrainUntilPosition, _ = r.where("drain_until")
		}
		if rs.Weight == 0 && !rs.DrainUntil.IsZero() && r.good("weight") {
			r.doubt("weight", "stays 0 after drain_until: write the weight that is to come back, drain_until alone makes it 0 until then")
		}
		if rs.Forward, rs.Tunnel = r.forward(); rs.Forward == "" {
			rs.Forward, rs.Tunnel = s.Forward, s.Tunnel
		}
		rs.Address = r.realAddress(s, rs.Forward, taken, synced)
		r.samePort(s, rs)
		r.thresholds(rs)
		plans := common
		if r.set("check") {
			plans = r.plans()
		} else if len(plans) == 0 {
			unchecked = true
		}
		for _, p := range plans {
			rs.Checks = append(rs.Checks, p.resolve(rs))
		}
		all = append(all, rs)
	}
	if unchecked && !c.set("check") && s.known() && c.good("protocol") {
		c.uncheckable(s)
	}
	return all
}

// uncheckable asks for a check where none can be guessed.
func (c *record) uncheckable(s Service) {
	switch {
	case s.FWMark != 0:
		c.fail(c.at, c.path.key("check"), `missing: a firewall mark has no default; say one, such as { type = "connect", address = ":80" }, or { type = "on" } for none`)
	case s.Protocol == "udp":
		c.fail(c.at, c.path.key("check"), `missing: udp has no default; say one, such as { type = "connect", address = ":53" } where the server also answers tcp, or { type = "on" } for none`)
	case s.Protocol == "sctp":
		c.fail(c.at, c.path.key("check"), `missing: sctp has no default; say one, such as { type = "connect", address = ":80" } where the server also answers tcp, or { type = "on" } for none`)
	}
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
func (c *record) realAddress(s Service, forward string, taken map[netip.AddrPort]Position, synced bool) netip.AddrPort {
	if !c.good("address") {
		return netip.AddrPort{}
	}
	port := int(s.Address.Port())
	if !s.known() {
		port = 1 // what is wrong with the service has been said
	}
	a, complaint := addressPort(c.str("address"), port)
	if complaint == "" && s.known() {
		complaint = family(s, a.Addr(), forward, synced)
	}
	switch {
	case complaint != "":
	case s.anyPort() && a.Port() != 0:
		complaint = fmt.Sprintf("port %d is never used: packets of this service, which has no port of its own, keep the one that the client chose; write %q", a.Port(), a.Addr())
	case s.known() && !s.anyPort() && a.Port() == 0:
		complaint = noPortZero
	case a == s.Address:
		complaint = "is the service's own address: write the server's"
	}
	if complaint != "" {
		c.spoil("address", "%s", complaint)
		return netip.AddrPort{}
	}
	at, _ := c.where("address")
	if first, twice := taken[a]; twice {
		c.complain("address", "%s is a real server of this service at line %d already", portless(a), first.Line)
	} else {
		taken[a] = at
	}
	return a
}

// portless writes an address without a port that it does not have.
func portless(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// samePort refuses another port than the service's where the packet reaches
// the real server as the client sent it.
func (c *record) samePort(s Service, rs RealServer) {
	if !c.good("address") || !c.good("forward") || !s.Address.IsValid() || rs.Forward == "nat" || rs.Address.Port() == s.Address.Port() {
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
