// Virtual servers.

package keepalived

import (
	"maps"
	"net/netip"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
)

const (
	// Defaults of keepalived.
	defaultDelayLoop   = 60 * time.Second
	defaultTimeout     = 5 * time.Second
	defaultPersistence = 6 * time.Minute
)

// target is an address or a firewall mark of a virtual server.
type target struct {
	addr netip.Addr
	port int // 0 = all ports
	mark int
	v6   bool
	name string // of the group that it is from
	from convert.Origin
}

// timing are the settings of checks that real servers inherit from the virtual server,
// and checks from the real server.
type timing struct {
	loop, timeout, delay time.Duration
	retry                int
	set                  map[string]*node // the lines, by keyword
	host                 string           // virtualhost
}

// serverReader reads one virtual_server.
type serverReader struct {
	*keepalived
	s           *convert.Table
	from        convert.Origin
	protocol    string
	weight      int // of real servers without one
	forward     any
	timing      timing
	inhibit     bool
	origins     map[string]convert.Origin // the lines of protocol and lb_kind
	sorry       *node
	sorryMethod *node
	omega       *node
	quorum      [2]*node
	servers     []*node
	v6          bool
}

// virtualServer converts a virtual_server, which with a group is several services.
func (k *keepalived) virtualServer(b *node) {
	targets := k.targets(b)
	if len(targets) == 0 {
		return
	}
	r := &serverReader{keepalived: k, s: &convert.Table{From: b.from}, from: b.from, protocol: "tcp", weight: 1, forward: "nat", origins: map[string]convert.Origin{},
		timing: timing{loop: defaultDelayLoop, timeout: defaultTimeout, delay: -1, retry: -1, set: map[string]*node{}}}
	for _, n := range b.block {
		r.keyword(n)
	}
	r.atStop(b)
	for _, t := range targets {
		s := r.s.Clone()
		s.From = t.from
		r.identity(s, t)
		r.finish(s, t)
		if len(r.servers) > 0 && !s.Has("real_servers") {
			k.notes.Add(convert.Lost, t.from, convert.NoServers)
			continue
		}
		k.root.Append("virtual_service", s)
	}
}

// atStop notes what omega runs when keepalived stops.
func (r *serverReader) atStop(b *node) {
	if r.omega == nil {
		return
	}
	kind := convert.NotNeeded
	for _, n := range append(r.servers, b) {
		if n.find("quorum_down") != nil || n.find("notify_down") != nil {
			kind = convert.LeftOut
		}
	}
	r.note(kind, r.omega, "lvsd's stop leaves the table as it is, and runs no notify_down and no quorum_down")
}

// targets reads the arguments of virtual_server: IP [PORT], fwmark N, group
// NAME.
func (k *keepalived) targets(b *node) []target {
	switch b.arg(0) {
	case "group":
		g, known := k.addresses[b.arg(1)]
		if !known {
			k.note(convert.Lost, b, "there is no virtual_server_group %s", b.arg(1))
			return nil
		}
		g.used = true
		var all []target
		for _, n := range g.block {
			for _, t := range k.target(n, n.words) {
				t.name = b.arg(1)
				all = append(all, t)
			}
		}
		return all
	default:
		return k.target(b, b.args())
	}
}

// target reads "10.0.0.1 80", "10.0.0.1-9 80", "10.0.0.8/29 80" or "fwmark 1".
func (k *keepalived) target(n *node, words []string) []target {
	at := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	if at(0) == "fwmark" {
		mark, ok := convert.ParseInt(at(1), 1, 1<<32-1)
		if !ok {
			k.note(convert.Lost, n, "is not a firewall mark")
			return nil
		}
		return []target{{mark: mark, v6: at(2) == "inet6", from: n.from}}
	}
	port := 0
	if at(1) != "" {
		p, ok := convert.ParseInt(at(1), 0, 65535)
		if !ok {
			k.note(convert.Lost, n, "%q is not a port", at(1))
			return nil
		}
		port = p
	}
	first, last, ok := addressRange(at(0))
	if !ok {
		k.note(convert.Lost, n, "%q is not an address or a range of addresses", at(0))
		return nil
	}
	var all []target
	for a := first; ; a = a.Next() {
		if len(all) == convert.MaxRange {
			k.note(convert.Lost, n, "only the first %d addresses are carried over", convert.MaxRange)
			break
		}
		all = append(all, target{addr: a, port: port, v6: a.Is6(), from: n.from})
		if a == last {
			break
		}
	}
	return all
}

// addressRange reads an address, 10.0.0.1-9, 10.0.0.1-10.0.1.9 or 10.0.0.8/29.
func addressRange(s string) (first, last netip.Addr, ok bool) {
	if a, ok := convert.ParseAddr(s); ok {
		return a, a, true
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		first, last = p.Masked().Addr(), p.Masked().Addr()
		for n := 0; p.Contains(last.Next()) && n < convert.MaxRange; n++ {
			last = last.Next()
		}
		return first, last, true
	}
	low, high, _ := strings.Cut(s, "-")
	first, ok = convert.ParseAddr(low)
	if !ok {
		return first, last, false
	}
	if last, ok = convert.ParseAddr(high); !ok {
		cut := strings.LastIndexAny(low, ".:") + 1
		if last, ok = convert.ParseAddr(low[:cut] + high); !ok {
			return first, last, false
		}
	}
	return first, last, first.Is4() == last.Is4() && !last.Less(first)
}

// keyword reads one line of the virtual server.
func (r *serverReader) keyword(n *node) {
	s := r.s
	switch n.keyword() {
	case "real_server":
		r.servers = append(r.servers, n)
	case "lb_algo", "lvs_sched":
		s.Set("scheduler", n.arg(0), n.from)
	case "lb_kind", "lvs_method":
		r.forward, r.origins["forward"] = r.method(n), n.from
	case "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback":
		flags, _ := s.Get("scheduler_flags").([]string)
		s.Extend("scheduler_flags", append(flags, n.keyword()), n.from)
	case "ops":
		s.Set("one_packet", true, n.from)
	case "persistence_engine":
		s.Set("persistence_engine", n.arg(0), n.from)
	case "persistence_timeout":
		d := defaultPersistence
		if n.arg(0) != "" {
			var ok bool
			if d, ok = r.seconds(n, n.arg(0)); !ok {
				return
			}
		}
		if d > 0 {
			s.Set("persistence", d, n.from)
		}
	case "persistence_granularity":
		if !convert.IsHostMask(n.arg(0)) {
			s.Set("persistence_netmask", n.arg(0), n.from)
		}
	case "protocol":
		r.protocol, r.origins["protocol"] = strings.ToLower(n.arg(0)), n.from
	case "ip_family":
		r.v6 = n.arg(0) == "inet6"
	case "weight":
		r.weight = number(n.arg(0), 1)
	case "quorum":
		r.quorum[0] = n
	case "hysteresis":
		r.quorum[1] = n
	case "sorry_server":
		r.sorry = n
	case "sorry_server_lvs_method":
		r.sorryMethod = n
	case "quorum_up", "quorum_down":
		r.serviceProgram(s, n)
	case "omega":
		r.omega = n
	case "inhibit_on_failure":
		r.inhibit = n.arg(0) == "" || yes(n.arg(0))
	default:
		if !r.timing.keyword(r.keepalived, n) {
			r.leaveOut(n, serverKeywords, "is not a setting of a virtual_server that keepalived.conf(5) describes")
		}
	}
}

func yes(s string) bool { v, _ := convert.ParseBool(s); return v }

// keyword reads a setting of checks, and reports whether it is one.
func (t *timing) keyword(k *keepalived, n *node) bool {
	switch n.keyword() {
	case "delay_loop", "connect_timeout", "delay_before_retry":
		d, ok := k.seconds(n, n.arg(0))
		if !ok {
			return true
		}
		switch n.keyword() {
		case "delay_loop":
			t.loop = d
		case "connect_timeout":
			t.timeout = d
		default:
			t.delay = d
		}
	case "retry", "nb_get_retry":
		v, ok := convert.ParseInt(n.arg(0), 0, 999)
		if !ok {
			k.note(convert.LeftOut, n, "is not a number")
			return true
		}
		t.retry = v
	case "virtualhost":
		t.host = n.arg(0)
	default:
		return false
	}
	t.set[n.keyword()] = n
	return true
}

// copy returns a copy for an inner block.
func (t timing) copy() timing {
	t.set = maps.Clone(t.set)
	return t
}

// origin returns the line of the first keyword that is set, or else of the check.
func (t timing) origin(check *node, keywords ...string) convert.Origin {
	for _, word := range keywords {
		if n := t.set[word]; n != nil {
			return n.from
		}
	}
	return check.from
}

// method reads NAT, DR, or TUN with its type.
func (k *keepalived) method(n *node) any {
	switch strings.ToUpper(n.arg(0)) {
	case "NAT":
		return "nat"
	case "DR":
		return "dr"
	case "TUN":
	default:
		k.note(convert.LeftOut, n, "is not NAT, DR or TUN: keepalived's default, NAT, is used")
		return "nat"
	}
	t := &convert.Table{From: n.from}
	for i, w := range n.args() {
		switch w {
		case "type":
			t.Set("type", n.arg(i+1), n.from)
		case "port":
			if p, ok := convert.ParseInt(n.arg(i+1), 1, 65535); ok {
				t.Set("port", p, n.from)
			}
		case "csum", "remcsum":
			t.Set("checksum", w, n.from)
		}
	}
	if !t.Has("type") || t.Str("type") == "ipip" {
		return "tun"
	}
	return t
}

// identity writes the address or mark of the service.
func (r *serverReader) identity(s *convert.Table, t target) {
	prefix := ""
	if t.name != "" {
		prefix = t.name + "-"
	}
	if t.mark != 0 {
		s.Set("name", r.services.Unique(prefix+"fwmark-"+convert.Literal(t.mark), "service"), t.from)
		s.Set("fwmark", t.mark, t.from)
		if from, ok := r.origins["protocol"]; ok && from != r.from {
			r.notes.Add(convert.NotNeeded, from, "a firewall mark stands for packets of every protocol")
		}
		if t.v6 || r.v6 || r.ipv6Servers() {
			s.Set("family", "ipv6", t.from)
		}
		return
	}
	name := convert.Namer{}.Service(r.protocol, t.addr, t.port)
	s.Set("name", r.services.Unique(prefix+name, "service"), t.from)
	s.Set("address", convert.FormatEndpoint(t.addr, t.port), t.from)
	s.Set("protocol", r.protocol, r.origin("protocol"))
}

// ipv6Servers reports whether the servers of a mark imply IPv6: all are IPv6, and not
// tunnelled to.
func (r *serverReader) ipv6Servers() bool {
	for _, n := range r.servers {
		if a, ok := convert.ParseAddr(n.arg(0)); !ok || !a.Is6() {
			return false
		}
	}
	return len(r.servers) > 0 && r.forward != "tun"
}

// finish writes the keys that depend on several lines.
func (r *serverReader) finish(s *convert.Table, t target) {
	s.Set("forward", r.forward, r.origin("forward"))
	if !s.Has("scheduler") {
		s.Set("scheduler", "wlc", r.from)
	}
	if sched := s.Str("scheduler"); sched == "sh" || sched == "mh" {
		r.hashFlags(s, sched)
	}
	r.quorumOf(s)
	r.realServers(s, t)
	r.fallback(s, t)
}

// origin returns the line of a key, or else of the service.
func (r *serverReader) origin(key string) convert.Origin {
	if from, ok := r.origins[key]; ok {
		return from
	}
	return r.from
}

// hashFlags keeps sh and mh without the fallback that lvsd adds by default.
func (r *serverReader) hashFlags(s *convert.Table, sched string) {
	flags, _ := s.Get("scheduler_flags").([]string)
	for _, f := range flags {
		if f == sched+"-fallback" || f == "flag-1" {
			return
		}
	}
	s.Extend("scheduler_flags", append(flags, "no-fallback"), r.from)
	r.notes.Hint(`without %[1]s-fallback, %[1]s refuses clients whose server has weight 0, and so does "no-fallback" in lvsd. Without it lvsd sends them to another server.`, sched)
}

// quorumOf converts quorum Q and hysteresis H, lost below Q-H and regained at Q+H, to
// lvsd's: lost below quorum, regained at quorum + hysteresis.
func (r *serverReader) quorumOf(s *convert.Table) {
	quorum, hysteresis := 1, 0
	from := r.from
	for i, into := range []*int{&quorum, &hysteresis} {
		n := r.quorum[i]
		if n == nil {
			continue
		}
		v, ok := convert.ParseInt(n.arg(0), 0, 1<<30)
		if !ok {
			r.note(convert.LeftOut, n, "is not a number")
			continue
		}
		*into, from = v, n.from
	}
	lost := max(quorum-hysteresis, 1)
	s.Set("quorum", lost, from)
	if back := quorum + hysteresis - lost; back > 0 {
		s.Set("hysteresis", back, from)
		r.notes.Hint("a quorum of %d with a hysteresis of %d is lost below %d and regained at %d: in lvsd that is quorum = %d, hysteresis = %d.", quorum, hysteresis, lost, quorum+hysteresis, lost, back)
	}
}

// fallback writes the sorry server.
func (r *serverReader) fallback(s *convert.Table, t target) {
	n := r.sorry
	if n == nil {
		return
	}
	a, ok := convert.ParseAddr(n.arg(0))
	if !ok {
		r.note(convert.LeftOut, n, "is not an address")
		return
	}
	port := t.port
	if p, given := convert.ParseInt(n.arg(1), 1, 65535); given {
		port = p
	}
	forward := r.forward
	if r.sorryMethod != nil {
		if way := r.method(r.sorryMethod); !convert.Equal(way, forward) && !a.IsLoopback() {
			r.note(convert.LeftOut, r.sorryMethod, "the fallback is reached as the service's servers are")
		}
	}
	switch {
	case t.mark != 0 || t.port == 0:
		r.markPort(t, port, forward, n)
		port = -1
	case forward != "nat" && port != t.port && !a.IsLoopback():
		r.note(convert.NotNeeded, n, "a packet reaches it with the port that the client chose, %d: without NAT no other port is ever used", t.port)
		port = t.port
	}
	s.Set("fallback", convert.FormatEndpoint(a, port), n.from)
}
