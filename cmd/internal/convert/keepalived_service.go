// This file converts keepalived's virtual servers and their real servers. The
// checks are in keepalived_check.go.
//
// PURE.
package convert

import (
	"net/netip"
	"strings"
	"time"
)

const (
	// What keepalived has where nothing is said.
	usualDelayLoop   = 60 * time.Second
	usualTimeout     = 5 * time.Second
	usualPersistence = 6 * time.Minute
	// maxRange is how many services a range of addresses may become.
	maxRange = 512
)

// target is what a virtual server stands for: an address, or a mark.
type target struct {
	addr netip.Addr
	port int // 0 = all ports
	mark int
	v6   bool
	name string // of the group that it is from
	from origin
}

// timing are the settings of checks that go down from the virtual server to the
// real server to the check.
type timing struct {
	loop, timeout, delay time.Duration
	retry                int
	said                 map[string]bool // by a line
	host                 string          // virtualhost
}

// serverReader reads one virtual_server.
type serverReader struct {
	*keepalived
	s        *table
	from     origin
	protocol string
	forward  any
	timing   timing
	inhibit  bool
	sorry    *node
	sorryWay *node
	quorum   [2]*node
	servers  []*node
	v6       bool
}

// virtualServer converts a virtual_server, of which a group makes several.
func (k *keepalived) virtualServer(b *node) {
	targets := k.targets(b)
	if len(targets) == 0 {
		return
	}
	r := &serverReader{keepalived: k, s: &table{from: b.from}, from: b.from, protocol: "tcp", forward: "nat",
		timing: timing{loop: usualDelayLoop, timeout: usualTimeout, delay: -1, retry: -1, said: map[string]bool{}}}
	for _, n := range b.block {
		r.keyword(n)
	}
	for _, t := range targets {
		s := r.s.clone()
		s.from = t.from
		r.identity(s, t)
		r.finish(s, t)
		k.root.add("virtual_service", s)
	}
}

// targets reads what stands behind virtual_server: IP [PORT], fwmark N, group
// NAME.
func (k *keepalived) targets(b *node) []target {
	switch b.arg(0) {
	case "group":
		g, known := k.addresses[b.arg(1)]
		if !known {
			k.note(LeftOut, b, "there is no virtual_server_group %s", b.arg(1))
			return nil
		}
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
		mark, ok := number(at(1), 1, 1<<32-1)
		if !ok {
			k.note(LeftOut, n, "is not a firewall mark")
			return nil
		}
		return []target{{mark: mark, v6: at(2) == "inet6", from: n.from}}
	}
	port := 0
	if at(1) != "" {
		p, ok := number(at(1), 0, 65535)
		if !ok {
			k.note(LeftOut, n, "%q is not a port", at(1))
			return nil
		}
		port = p
	}
	first, last, ok := addressRange(at(0))
	if !ok {
		k.note(LeftOut, n, "%q is not an address, or a range of them", at(0))
		return nil
	}
	var all []target
	for a := first; ; a = a.Next() {
		if len(all) == maxRange {
			k.note(LeftOut, n, "only the first %d addresses are carried over", maxRange)
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
	if a, ok := addr(s); ok {
		return a, a, true
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		first, last = p.Masked().Addr(), p.Masked().Addr()
		for n := 0; p.Contains(last.Next()) && n < maxRange; n++ {
			last = last.Next()
		}
		return first, last, true
	}
	low, high, _ := strings.Cut(s, "-")
	first, ok = addr(low)
	if !ok {
		return first, last, false
	}
	if last, ok = addr(high); !ok {
		cut := strings.LastIndexAny(low, ".:") + 1
		if last, ok = addr(low[:cut] + high); !ok {
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
		s.set("scheduler", n.arg(0), n.from)
	case "lb_kind", "lvs_method":
		r.forward = r.method(n)
	case "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback":
		flags, _ := s.get("scheduler_flags").([]string)
		s.set("scheduler_flags", append(flags, n.keyword()), n.from)
	case "ops":
		s.set("one_packet", true, n.from)
	case "persistence_engine":
		s.set("persistence_engine", n.arg(0), n.from)
	case "persistence_timeout":
		d := usualPersistence
		if n.arg(0) != "" {
			var ok bool
			if d, ok = r.span(n, n.arg(0)); !ok {
				return
			}
		}
		if d > 0 {
			s.set("persistence", d, n.from)
		}
	case "persistence_granularity":
		if !wholeHost(n.arg(0)) {
			s.set("persistence_netmask", n.arg(0), n.from)
		}
	case "protocol":
		r.protocol = strings.ToLower(n.arg(0))
	case "ip_family":
		r.v6 = n.arg(0) == "inet6"
	case "quorum":
		r.quorum[0] = n
	case "hysteresis":
		r.quorum[1] = n
	case "sorry_server":
		r.sorry = n
	case "sorry_server_lvs_method":
		r.sorryWay = n
	case "inhibit_on_failure":
		r.inhibit = n.arg(0) == "" || yes(n.arg(0))
	default:
		if !r.timing.keyword(r.keepalived, n) {
			r.leaveOut(n, serverWords, "lvsd knows no such setting of a service")
		}
	}
}

func yes(s string) bool { v, _ := boolean(s); return v }

// keyword reads a setting of checks, and says whether it is one.
func (t *timing) keyword(k *keepalived, n *node) bool {
	switch n.keyword() {
	case "delay_loop", "connect_timeout", "delay_before_retry":
		d, ok := k.span(n, n.arg(0))
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
		v, ok := number(n.arg(0), 0, 999)
		if !ok {
			k.note(LeftOut, n, "is not a number")
			return true
		}
		t.retry = v
	case "virtualhost":
		t.host = n.arg(0)
	default:
		return false
	}
	t.said[n.keyword()] = true
	return true
}

// below copies the settings for what is inside.
func (t timing) below() timing {
	said := map[string]bool{}
	for key := range t.said {
		said[key] = true
	}
	t.said = said
	return t
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
		k.note(LeftOut, n, "is none of NAT, DR and TUN: keepalived's own, NAT, is taken")
		return "nat"
	}
	t := &table{from: n.from}
	for i, w := range n.args() {
		switch w {
		case "type":
			t.set("type", n.arg(i+1), n.from)
		case "port":
			if p, ok := number(n.arg(i+1), 1, 65535); ok {
				t.set("port", p, n.from)
			}
		case "csum", "remcsum":
			t.set("checksum", w, n.from)
		}
	}
	if !t.has("type") || t.text("type") == "ipip" {
		return "tun"
	}
	return t
}

// identity writes what the service is known by.
func (r *serverReader) identity(s *table, t target) {
	prefix := ""
	if t.name != "" {
		prefix = t.name + "-"
	}
	if t.mark != 0 {
		s.set("name", r.services.name(prefix+"fwmark-"+literal(t.mark), "service"), t.from)
		s.set("fwmark", t.mark, t.from)
		if t.v6 || r.v6 || r.ipv6Servers() {
			s.set("family", "ipv6", t.from)
		}
		return
	}
	name := namer{}.service(r.protocol, t.addr, t.port)
	s.set("name", r.services.name(prefix+name, "service"), t.from)
	s.set("address", endpoint(t.addr, t.port), t.from)
	if r.protocol != "tcp" {
		s.set("protocol", r.protocol, t.from)
	}
}

// ipv6Servers says whether the servers of a mark tell its family: all of IPv6,
// and not by tunnel.
func (r *serverReader) ipv6Servers() bool {
	for _, n := range r.servers {
		if a, ok := addr(n.arg(0)); !ok || !a.Is6() {
			return false
		}
	}
	return len(r.servers) > 0 && r.forward != "tun"
}

// finish writes what only all lines together say.
func (r *serverReader) finish(s *table, t target) {
	if r.forward != "dr" {
		s.set("forward", r.forward, r.from)
	}
	switch sched := s.text("scheduler"); sched {
	case "wlc":
		s.drop("scheduler")
	case "sh", "mh":
		r.hashing(s, sched)
	}
	r.quorumOf(s)
	r.realServers(s, t)
	r.fallback(s, t)
}

// hashing keeps sh and mh as they are in the kernel: without the fallback that
// lvsd would add.
func (r *serverReader) hashing(s *table, sched string) {
	flags, _ := s.get("scheduler_flags").([]string)
	for _, f := range flags {
		if f == sched+"-fallback" || f == "flag-1" {
			return
		}
	}
	s.set("scheduler_flags", append(flags, "no-fallback"), r.from)
	r.notes.hint("no-fallback is what keepalived has for %s unless %s-fallback is said: clients whose server has weight 0 are refused. Without it lvsd sends them to another server.", sched, sched)
}

// quorumOf turns quorum Q and hysteresis H, lost below Q-H and back at Q+H,
// into lvsd's: lost below quorum, back at quorum + hysteresis.
func (r *serverReader) quorumOf(s *table) {
	quorum, hysteresis := 1, 0
	from := r.from
	for i, into := range []*int{&quorum, &hysteresis} {
		n := r.quorum[i]
		if n == nil {
			continue
		}
		v, ok := number(n.arg(0), 0, 1<<30)
		if !ok {
			r.note(LeftOut, n, "is not a number")
			continue
		}
		*into, from = v, n.from
	}
	lost := max(quorum-hysteresis, 1)
	if lost != 1 {
		s.set("quorum", lost, from)
	}
	if back := quorum + hysteresis - lost; back > 0 {
		s.set("hysteresis", back, from)
		r.notes.hint("a quorum of %d with a hysteresis of %d is lost below %d and back at %d: lvsd says that as quorum = %d, hysteresis = %d.", quorum, hysteresis, lost, quorum+hysteresis, lost, back)
	}
}

// fallback writes the sorry server.
func (r *serverReader) fallback(s *table, t target) {
	n := r.sorry
	if n == nil {
		return
	}
	a, ok := addr(n.arg(0))
	if !ok {
		r.note(LeftOut, n, "is not an address")
		return
	}
	port := t.port
	if p, said := number(n.arg(1), 1, 65535); said {
		port = p
	}
	forward := r.forward
	if r.sorryWay != nil {
		if way := r.method(r.sorryWay); !same(way, forward) && !a.IsLoopback() {
			r.note(LeftOut, r.sorryWay, "the fallback is reached as the service's servers are")
		}
	}
	switch {
	case t.mark != 0 || t.port == 0:
		port = -1
	case forward != "nat" && port != t.port && !a.IsLoopback():
		r.note(NotNeeded, n, "a packet reaches it with the port that the client chose, %d: without NAT no other port is ever used", t.port)
		port = t.port
	}
	s.set("fallback", endpoint(a, port), n.from)
}
