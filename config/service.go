// The virtual services and their real servers, checked against each other and
// against what the kernel accepts.

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

const (
	defaultTimeout = time.Second
)

// serviceKey identifies a service in the kernel.
type serviceKey struct {
	protocol string
	address  netip.AddrPort
	mark     uint32
	ipv6     bool
}

// serviceSet has the names and keys of the services so far.
type serviceSet struct {
	names  map[string]Position
	keys   map[serviceKey]Position
	synced bool // [ipvs.sync] is set
}

// buildServices builds the services. They are the same for every director.
func buildServices(root *reader.Table) []Service {
	ipvs := root.Table("ipvs")
	taken := serviceSet{map[string]Position{}, map[serviceKey]Position{}, ipvs.IsSet("sync") && ipvs.Valid("sync")}
	var all []Service
	for _, t := range root.Tables("virtual_service") {
		all = append(all, buildService(t, &taken))
	}
	return all
}

// buildService builds one service.
func buildService(t *reader.Table, taken *serviceSet) Service {
	s := Service{
		Name:              t.Str("name"),
		Protocol:          t.Str("protocol"),
		Scheduler:         t.Str("scheduler"),
		Persistence:       t.Duration("persistence"),
		PersistenceEngine: t.Str("persistence_engine"),
		OnePacket:         t.Bool("one_packet"),
		Quorum:            int(t.Int("quorum")),
		Hysteresis:        int(t.Int("hysteresis")),
		DrainTimeout:      t.Duration("drain_timeout"),
		DrainPersistent:   t.Str("drain_persistent"),
		PanicThreshold:    int(t.Int("panic_threshold")),
		SlowStart:         t.Duration("slow_start"),
		FlapDamping:       t.Bool("flap_damping"),
		QuorumUp:          notifyCommand(t, "quorum_up"),
		QuorumDown:        notifyCommand(t, "quorum_down"),
		Position:          t.Start,
	}
	if t.Valid("name") {
		claimName(t, "service", s.Name, taken.names)
	}
	serviceIdentity(t, &s, taken.keys)
	s.Forward, s.Tunnel = forwardMethod(t)
	requireWholeSeconds(t, "persistence")
	s.PersistenceBits = persistenceBits(t, s)
	checkUDPOptions(t, s)
	var fallback bool
	s.SchedulerFlags, fallback = schedulerFlags(t, s.Scheduler)
	s.OnFailure = onFailure(t, s, fallback)
	s.RealServers = buildRealServers(t, s, taken.synced)
	s.Fallback, s.FallbackForward = fallbackServer(t, s)
	warnServers(t, s, fallback)
	warnWeightChanges(t, s, fallback)
	return s
}

// serviceIdentity reads what identifies a service: its address or its firewall mark,
// which must be unique. On an error both stay zero.
func serviceIdentity(t *reader.Table, s *Service, taken map[serviceKey]Position) {
	name := "address"
	switch {
	case t.IsSet("address") && t.IsSet("fwmark"):
		t.Errorf("address", "a service has either an address or a firewall mark: remove one")
		return
	case t.IsSet("fwmark"):
		if !serviceMark(t, s) {
			return
		}
		name = "fwmark"
	case !t.IsSet("address"):
		t.ErrorAt(t.Start, t.Path.Key("address"), "missing: add it, there is no default")
		return
	default:
		if t.IsSet("family") && t.Valid("family") {
			t.Errorf("family", "is for firewall marks only: an address implies it")
		}
		if s.Address = serviceAddress(t, *s); !s.Address.IsValid() {
			return
		}
		s.IPv6 = s.Address.Addr().Is6()
	}
	at, _ := t.Locate(name)
	key := serviceKey{s.Protocol, s.Address, s.FWMark, s.IPv6}
	first, twice := taken[key]
	switch {
	case !twice || !t.Valid("protocol"):
		taken[key] = at
	case s.FWMark != 0:
		t.Errorf(name, "mark %d of this family is the service at %s already", s.FWMark, t.Where(first))
	default:
		t.Errorf(name, "%s %s is the service at %s already", s.Protocol, s.Address, t.Where(first))
	}
}

// serviceMark reads a firewall mark, which stands for packets of one family and of
// any protocol.
func serviceMark(t *reader.Table, s *Service) bool {
	if !t.Valid("fwmark") {
		return false
	}
	s.FWMark, s.IPv6 = uint32(t.Int("fwmark")), t.Str("family") == "ipv6"
	if t.IsSet("protocol") {
		t.Errorf("protocol", "has no effect with a firewall mark, which matches marked packets of every protocol: remove it, and mark only the intended packets")
	}
	s.Protocol = ""
	return true
}

// serviceAddress reads the address of a service. It is zero when it is wrong.
func serviceAddress(t *reader.Table, s Service) netip.AddrPort {
	if !t.Valid("address") {
		return netip.AddrPort{}
	}
	a, problem := values.ParseAddrPort(t.Str("address"), values.RequirePort)
	switch {
	case problem != "" || a.Port() != 0:
	case s.Persistence == 0 && t.Valid("persistence"):
		// ip_vs_schedule, ip_vs_core.c: only ip_vs_sched_persist looks for it.
		problem = "port 0 means all ports, which the kernel supports for persistent services only: add persistence, or set a port"
	}
	if problem != "" {
		t.Invalidate("address", "%s", problem)
		return netip.AddrPort{}
	}
	return a
}

// known reports whether the service has a valid address or mark.
func (s *Service) known() bool { return s.Address.IsValid() || s.FWMark != 0 }

// bits returns the length of the service's addresses.
func (s *Service) bits() int {
	if s.IPv6 {
		return 128
	}
	return 32
}

// anyPort reports whether the service takes packets to more than one port, which
// then reach the real server with the port that the client chose.
func (s *Service) anyPort() bool { return s.known() && s.Address.Port() == 0 }

// persistenceBits reads the prefix length within which clients count as one.
func persistenceBits(t *reader.Table, s Service) int {
	bits := s.bits()
	mask := t.Str("persistence_netmask")
	if mask == "" {
		return bits
	}
	if s.Persistence == 0 && t.Valid("persistence") {
		t.Warnf("persistence_netmask", "has no effect without persistence")
	}
	if !s.known() {
		return bits
	}
	n, problem := values.ParseNetmask(mask, bits)
	if problem != "" {
		t.Errorf("persistence_netmask", "%s", problem)
		return bits
	}
	return n
}

// checkUDPOptions validates the persistence engine and one-packet scheduling. Both are
// for UDP; with a firewall mark the protocol is not known.
func checkUDPOptions(t *reader.Table, s Service) {
	udp := s.Protocol == "udp" || s.FWMark != 0 || !t.Valid("protocol") || !s.known()
	if s.PersistenceEngine != "" {
		switch {
		case !udp: // ip_vs_pe_sip.c
			t.Errorf("persistence_engine", "%s distinguishes clients in UDP packets only, not with protocol = %q", s.PersistenceEngine, s.Protocol)
		case s.Persistence == 0 && t.Valid("persistence"): // ip_vs_ctl.c
			t.Errorf("persistence_engine", "needs persistence: add it")
		case t.IsSet("persistence_netmask"):
			t.Warnf("persistence_netmask", "has no effect with an engine, which distinguishes clients by their requests")
		}
	}
	if !s.OnePacket {
		return
	}
	switch {
	case !udp: // ip_vs_schedule, ip_vs_core.c
		t.Errorf("one_packet", "is for UDP, not for protocol = %q: every packet is sent to another server, which breaks a connection", s.Protocol)
	case s.Persistence > 0:
		t.Warnf("one_packet", "has little effect with persistence: a client's packets go to one server anyway")
	case s.Forward == "nat" && t.Valid("forward"):
		t.Warnf("one_packet", `with forward = "nat" replies have no connection by which to translate them back: with "dr" and "tun" servers reply to clients directly`)
	}
}

// schedulerFlags resolves the flags to those that the kernel gets. The second
// result reports whether a client whose server has weight 0 is sent to another one,
// which of the hashing schedulers only sh and mh can do (ip_vs_sh.c,
// ip_vs_mh.c).
func schedulerFlags(t *reader.Table, scheduler string) (flags []string, fallback bool) {
	hashes := scheduler == "sh" || scheduler == "mh"
	refused := false
	words := t.Strings("scheduler_flags")
	for i, f := range words {
		at, p := t.LocateItem("scheduler_flags", i)
		switch of, _, named := strings.Cut(f, "-"); {
		case f == schema.NoFallback && hashes:
			refused = true
			continue
		case f == schema.NoFallback:
			t.ErrorAt(at, p, "belongs to the schedulers sh and mh, not to %s", scheduler)
			continue
		case named && of != "flag" && of != scheduler:
			t.ErrorAt(at, p, "belongs to the scheduler %s, not to %s", of, scheduler)
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
		t.Errorf("scheduler_flags", "%s and %s contradict each other: remove one", own, schema.NoFallback)
	case !refused && !slices.Contains(flags, own):
		flags = append([]string{own}, flags...)
	}
	return flags, !refused
}

// onFailure resolves what happens to a failed server. Weight 0 keeps its
// connections; but a UDP flow never leaves such a server, and a scheduler that
// hashes without fallback refuses the clients of one.
func onFailure(t *reader.Table, s Service, fallback bool) string {
	quiesce := t.Str("on_failure")
	switch {
	case s.Protocol == "udp" && quiesce == "quiesce":
		t.Warnf("on_failure", `with udp a client that keeps sending stays with its failed server while that has weight 0: "remove", the default, moves it`)
	case !fallback && quiesce == "quiesce":
		t.Warnf("on_failure", `%s refuses the clients of a failed server while that has weight 0: "remove", the default here, moves them`, s.Scheduler)
	case quiesce == "" && (s.Protocol == "udp" || !fallback):
		return "remove"
	case quiesce == "":
		return "quiesce"
	}
	return quiesce
}

// buildRealServers builds the entries of real_servers.
func buildRealServers(t *reader.Table, s Service, synced bool) []RealServer {
	records := t.Tables("real_servers")
	all := make([]RealServer, 0, len(records))
	taken := make(map[netip.AddrPort]Position, len(records))
	common, unchecked := checkTemplates(t), len(records) == 0
	if !t.IsSet("check") && s.Protocol == "tcp" {
		common = []*checkTemplate{defaultCheck(t)}
	}
	for _, r := range records {
		rs := RealServer{
			Weight:         int(r.Int("weight")),
			UpperThreshold: uint32(r.Int("upper_threshold")),
			LowerThreshold: uint32(r.Int("lower_threshold")),
			NotifyUp:       notifyCommand(r, "notify_up"),
			NotifyDown:     notifyCommand(r, "notify_down"),
			Position:       r.Start,
		}
		rs.WeightPosition, _ = r.Locate("weight")
		rs.DrainUntil = r.Time("drain_until")
		if r.IsSet("drain_until") {
			rs.DrainUntilPosition, _ = r.Locate("drain_until")
		}
		switch rs.Drain = r.Bool("drain"); {
		case rs.Drain:
			if !rs.DrainUntil.IsZero() {
				r.Warnf("drain_until", "has no effect with drain = true, which has no end")
			}
			rs.Weight, rs.DrainedWeight, rs.DrainUntil = 0, rs.Weight, time.Time{}
			rs.WeightPosition, _ = r.Locate("drain")
		case rs.Weight == 0 && !rs.DrainUntil.IsZero() && r.Valid("weight"):
			r.Warnf("weight", "stays 0 after drain_until: write the weight that is to come back, drain_until alone makes it 0 until then")
		}
		if rs.Forward, rs.Tunnel = forwardMethod(r); rs.Forward == "" {
			rs.Forward, rs.Tunnel = s.Forward, s.Tunnel
		}
		rs.Address = realServerAddress(r, s, rs.Forward, taken, synced)
		requireServicePort(r, s, rs)
		checkThresholds(r, rs)
		plans := common
		if r.IsSet("check") {
			plans = checkTemplates(r)
		} else if len(plans) == 0 {
			unchecked = true
		}
		for _, p := range plans {
			rs.Checks = append(rs.Checks, p.resolve(rs))
		}
		all = append(all, rs)
	}
	if unchecked && !t.IsSet("check") && s.known() && t.Valid("protocol") {
		requireCheck(t, s)
	}
	return all
}

// requireCheck requires a check where there is no default.
func requireCheck(t *reader.Table, s Service) {
	switch {
	case s.FWMark != 0:
		t.ErrorAt(t.Start, t.Path.Key("check"), `missing: a firewall mark has no default; set one, such as { type = "connect", address = ":80" }, or { type = "on" } for none`)
	case s.Protocol == "udp":
		t.ErrorAt(t.Start, t.Path.Key("check"), `missing: udp has no default; set one, such as { type = "connect", address = ":53" } where the server also answers tcp, or { type = "on" } for none`)
	case s.Protocol == "sctp":
		t.ErrorAt(t.Start, t.Path.Key("check"), `missing: sctp has no default; set one, such as { type = "connect", address = ":80" } where the server also answers tcp, or { type = "on" } for none`)
	}
}

// defaultCheck is the check of a tcp service without one.
func defaultCheck(t *reader.Table) *checkTemplate {
	check := t.Table("check")
	p := newCheckTemplate(check)
	p.check.Type, p.check.Name, p.check.Close = "connect", "connect", "reset"
	return p
}

// realServerAddress reads the address of a real server, which must be unique
// in the service. Without a port it has the service's.
func realServerAddress(t *reader.Table, s Service, forward string, taken map[netip.AddrPort]Position, synced bool) netip.AddrPort {
	if !t.Valid("address") {
		return netip.AddrPort{}
	}
	port := int(s.Address.Port())
	if !s.known() {
		port = 1 // the error in the service is reported
	}
	a, problem := values.ParseAddrPort(t.Str("address"), port)
	if a.Addr().Is6() && a.Addr().IsLinkLocalUnicast() { // ip_vs_add_dest of the kernel refuses it
		problem = a.Addr().WithZone("").String() + " is link-local, and IPVS takes no such real server: write another address of the server, such as a unique local one (fd00::/8)"
	}
	if problem == "" && s.known() {
		problem = familyMismatch(s, a.Addr(), forward, synced)
	}
	switch {
	case problem != "":
	case s.anyPort() && a.Port() != 0:
		problem = fmt.Sprintf("port %d is never used: packets of this service, which has no port of its own, keep the one that the client chose; write %q", a.Port(), a.Addr())
	case s.known() && !s.anyPort() && a.Port() == 0:
		problem = values.NoPortZero
	case a == s.Address:
		problem = "is the service's own address: write the server's"
	}
	if problem != "" {
		t.Invalidate("address", "%s", problem)
		return netip.AddrPort{}
	}
	at, _ := t.Locate("address")
	if first, twice := taken[a]; twice {
		t.Errorf("address", "%s is a real server of this service at %s already", formatServer(a), t.Where(first))
	} else {
		taken[a] = at
	}
	return a
}

// formatServer writes an address, without the port where that is 0.
func formatServer(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// requireServicePort refuses a port other than the service's where packets reach the
// real server unchanged.
func requireServicePort(t *reader.Table, s Service, rs RealServer) {
	if !t.Valid("address") || !t.Valid("forward") || !s.Address.IsValid() || rs.Forward == "nat" || rs.Address.Port() == s.Address.Port() {
		return
	}
	t.Errorf("address", `port %d is not the service's: forward = %q leaves the packet as it is, so write %q, or use forward = "nat"`,
		rs.Address.Port(), rs.Forward, netip.AddrPortFrom(rs.Address.Addr(), s.Address.Port()).String())
}

// checkThresholds refuses what the kernel would (ERANGE, ip_vs_ctl.c).
func checkThresholds(t *reader.Table, rs RealServer) {
	if rs.LowerThreshold <= rs.UpperThreshold {
		return
	}
	if rs.UpperThreshold == 0 {
		t.Errorf("lower_threshold", "needs upper_threshold")
		return
	}
	t.Errorf("lower_threshold", "%d is above upper_threshold, %d: it must be at most that", rs.LowerThreshold, rs.UpperThreshold)
}

// warnServers warns of servers that cannot serve as written.
func warnServers(t *reader.Table, s Service, fallback bool) {
	if len(s.RealServers) == 0 {
		if t.Valid("real_servers") {
			t.WarnAt(t.Start, t.Path, "has no real servers: every client is refused")
		}
		return
	}
	// ip_vs_rr.c and ip_vs_lc.c look only at whether a weight is 0.
	if weighted, blind := map[string]string{"rr": "wrr", "lc": "wlc"}[s.Scheduler]; blind && weightsDiffer(s.RealServers) {
		t.Warnf("scheduler", "%s looks only at whether a weight is 0, and these differ: %s respects them", s.Scheduler, weighted)
	}
	total := 0
	for i, rs := range s.RealServers {
		total += rs.Weight
		if rs.Weight == 0 && !fallback && t.Valid("scheduler") {
			r := t.Tables("real_servers")[i]
			remedy := "remove the server from the file instead"
			if s.Scheduler != "dh" {
				remedy += ", or " + schema.NoFallback + " out of scheduler_flags"
			}
			r.Warnf("weight", "%s refuses every client whose hash lands on a server of weight 0, so it cannot be drained manually: %s", s.Scheduler, remedy)
		}
	}
	switch {
	case total == 0:
		t.WarnAt(t.Start, t.Path, "every real server has weight 0: every new client is refused")
	case total < s.Quorum:
		t.Warnf("quorum", "%d is more than the sum of the real servers' weights, %d: it is never reached", s.Quorum, total)
	case total < s.Quorum+s.Hysteresis:
		t.Warnf("hysteresis", "quorum plus hysteresis is %d, more than the sum of the real servers' weights, %d: a lost quorum is never regained", s.Quorum+s.Hysteresis, total)
	}
}

// weightsDiffer reports whether servers that are not drained differ in weight.
func weightsDiffer(servers []RealServer) bool {
	weight := 0
	for _, rs := range servers {
		if weight != 0 && rs.Weight != 0 && rs.Weight != weight {
			return true
		}
		weight = max(weight, rs.Weight)
	}
	return false
}

// warnWithoutInstance warns of services whose address is in no instance.
// A single director without instances gets them by other means.
func warnWithoutInstance(root *reader.Table, services []Service, instances instanceSet, directors int) {
	if len(root.Tables("vrrp"))+len(root.Tables("announce")) == 0 && (directors < 2 || !root.Valid("vrrp") || !root.Valid("announce")) {
		return
	}
	records := root.Tables("virtual_service")
	for i, s := range services {
		if !s.Address.IsValid() {
			continue
		}
		if _, ok := instances.addresses[s.Address.Addr()]; !ok {
			records[i].Warnf("address", "%s is not in any [[vrrp]] or [[announce]] of this file: nothing assigns it to a director", s.Address.Addr())
		}
	}
}
