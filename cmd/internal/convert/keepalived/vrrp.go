// VRRP instances, scripts and sync groups.

package keepalived

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/convert"
)

// defaultInterface is keepalived's default.
const defaultInterface = "eth0"

// instance converts a vrrp_instance.
func (k *keepalived) instance(b *node) {
	e := &convert.Table{From: b.from}
	name := k.names[b.arg(0)]
	if k.instances[b.arg(0)] != b {
		k.note(convert.LeftOut, b, "a later instance has this name, too, and takes its place")
		return
	}
	if name != b.arg(0) {
		k.note(convert.NotNeeded, b, "is called %s now: names are made of letters, digits, dot, dash and underscore", name)
	}
	e.Set("name", name, b.from)
	in := instanceReader{keepalived: k, e: e, name: name, version: k.version}
	for _, n := range b.block {
		in.keyword(n)
	}
	if !e.Has("interface") {
		k.note(convert.ToDo, b, "says no interface: %s is taken, which keepalived does", defaultInterface)
		e.Set("interface", defaultInterface, b.from)
	}
	in.finish(b)
}

// instanceReader reads one vrrp_instance.
type instanceReader struct {
	*keepalived
	e        *convert.Table
	name     string
	version  int
	listed   []*node // lines of virtual_ipaddress and of virtual_ipaddress_excluded
	excluded []*node
	auth     *node // auth_type
	secret   *node // auth_pass
	advert   *node
}

// keyword reads one line of the instance.
func (in *instanceReader) keyword(n *node) {
	e := in.e
	switch n.keyword() {
	case "interface":
		e.Set("interface", n.arg(0), n.from)
	case "virtual_router_id":
		in.intKey(n, "virtual_router_id", 1, 255)
	case "priority":
		in.intKey(n, "priority", 1, 255)
	case "version":
		if v, ok := convert.ParseInt(n.arg(0), 2, 3); ok {
			in.version = v
			return
		}
		in.note(convert.LeftOut, n, "is neither 2 nor 3")
	case "advert_int":
		in.advert = n
	case "nopreempt":
		e.Set("preempt", false, n.from)
	case "preempt":
		e.Delete("preempt")
	case "preempt_delay":
		if d, ok := in.seconds(n, n.arg(0)); ok && d > 0 {
			e.Set("preempt_delay", d, n.from)
		}
	case "virtual_ipaddress":
		in.listed = append(in.listed, n.block...)
	case "virtual_ipaddress_excluded":
		in.excluded = append(in.excluded, n.block...)
	case "virtual_routes", "virtual_rules":
		in.routesAndRules(n)
	case "track_file":
		for _, c := range n.block {
			in.trackFile(e, c)
		}
	case "authentication":
		for _, c := range n.block {
			switch c.keyword() {
			case "auth_type":
				in.auth = c
			case "auth_pass":
				in.secret = c
			default:
				in.note(convert.LeftOut, c, "lvsd knows no such setting")
			}
		}
	case "use_vmac":
		e.Set("virtual_mac", true, n.from)
		if len(n.args()) > 0 {
			in.note(convert.NotNeeded, n, "lvsd names the interface itself, and its MAC address is the one of RFC 9568")
		}
	case "unicast_src_ip", "unicast_peer":
		in.unicastKeyword(n)
	case "track_interface":
		for _, c := range n.block {
			in.trackInterface(e, c)
		}
	case "track_script":
		for _, c := range n.block {
			in.trackScript(e, c)
		}
	case "lvs_sync_daemon_interface", "lvs_sync_daemon_inteface": // both spellings are keepalived's
		old := &node{words: []string{"lvs_sync_daemon", n.arg(0), "inst", ""}, from: n.from}
		for instance, name := range in.names {
			if name == in.name {
				old.words[3] = instance
			}
		}
		in.sync = old
	case "down_timer_adverts":
		if n.arg(0) != "3" {
			in.note(convert.LeftOut, n, "lvsd takes over after three adverts and a little, as RFC 9568 says")
		}
	case "mcast_src_ip":
		in.leaveOut(n, vrrpKeywords, "")
	default:
		in.leaveOut(n, vrrpKeywords, "lvsd knows no such setting of an election")
	}
}

// intKey reads a whole number in a range.
func (in *instanceReader) intKey(n *node, key string, low, high int) {
	v, ok := convert.ParseInt(n.arg(0), low, high)
	if !ok {
		in.note(convert.LeftOut, n, "is not a number from %d to %d", low, high)
		return
	}
	in.e.Set(key, v, n.from)
}

// unicastKeyword reads the addresses of unicast advertisements.
func (in *instanceReader) unicastKeyword(n *node) {
	sp := in.unicast[in.name]
	sp.from = n.from
	if n.keyword() == "unicast_src_ip" {
		if a, ok := convert.ParseAddr(n.arg(0)); ok {
			sp.source = a
		}
	}
	for _, c := range n.block {
		a, ok := convert.ParseAddr(c.keyword())
		if !ok {
			in.note(convert.LeftOut, c, "is not an address")
			continue
		}
		sp.peers = append(sp.peers, a)
		if len(c.args()) > 0 {
			in.note(convert.LeftOut, c, "the TTL of what is heard is 255 at all times")
		}
	}
	in.unicast[in.name] = sp
}

// trackInterface reads "eth1 weight -50 reverse".
func (k *keepalived) trackInterface(e *convert.Table, n *node) {
	all, _ := e.Get("track_interfaces").([]any)
	weight, ok := k.weight(n, 0)
	if !ok || n.keyword() == e.Str("interface") {
		return
	}
	for _, have := range all {
		if t, isTable := have.(*convert.Table); have == n.keyword() || isTable && t.Str("name") == n.keyword() {
			return
		}
	}
	if weight == 0 {
		e.Set("track_interfaces", append(all, n.keyword()), n.from)
		return
	}
	t := &convert.Table{From: n.from}
	t.Set("name", n.keyword(), n.from)
	t.Set("weight", weight, n.from)
	e.Set("track_interfaces", append(all, t), n.from)
}

// weight reads "weight N" after a name.
func (k *keepalived) weight(n *node, otherwise int) (int, bool) {
	weight := otherwise
	for i, w := range n.args() {
		switch w {
		case "weight":
			v, ok := convert.ParseInt(n.arg(i+1), -253, 253)
			if !ok {
				k.note(convert.LeftOut, n, "its weight is not a number from -253 to 253")
				return 0, false
			}
			weight = v
		case "reverse":
			k.note(convert.LeftOut, n, "lvsd has no reverse: what is good when it fails is a script that says so")
			return 0, false
		}
	}
	return weight, true
}

// trackScript adds a vrrp_script to an instance.
func (k *keepalived) trackScript(e *convert.Table, n *node) {
	b, known := k.scripts[n.keyword()]
	if !known {
		k.note(convert.LeftOut, n, "there is no vrrp_script %s", n.keyword())
		return
	}
	t := &convert.Table{From: b.from, ID: n.keyword()}
	fall, weight := 1, 0
	for _, c := range b.block {
		switch c.keyword() {
		case "script":
			if argv := convert.Argv(c.args()); len(argv) > 0 {
				t.Set("command", argv, c.from)
			}
		case "interval", "timeout":
			if d, ok := k.seconds(c, c.arg(0)); ok && d > 0 && (c.keyword() != "interval" || d != time.Second) {
				t.Set(c.keyword(), d, c.from)
			}
		case "rise":
			if v, ok := convert.ParseInt(c.arg(0), 1, 100); ok && v > 1 {
				t.Set("rise", v, c.from)
			}
		case "fall":
			fall, _ = convert.ParseInt(c.arg(0), 1, 100)
		case "weight":
			v, ok := k.weight(&node{words: append([]string{"", "weight"}, c.args()...), from: c.from}, 0)
			if !ok {
				return
			}
			weight = v
		case "user":
			k.note(convert.LeftOut, c, "scripts run as the user that lvsd has")
		case "init_fail":
			k.note(convert.LeftOut, c, "until its first result, which counts at once, a script counts as good")
		default:
			k.note(convert.LeftOut, c, "lvsd knows no such setting of a script")
		}
	}
	weight, ok := k.weight(n, weight)
	if !ok {
		return
	}
	if fall != 2 {
		t.Set("fall", max(fall, 1), b.from)
	}
	if weight != 0 {
		t.Set("weight", weight, n.from)
	}
	if !t.Has("command") {
		k.note(convert.LeftOut, b, "says no script")
		return
	}
	e.Append("track_scripts", t)
}

// finish writes the keys that depend on several lines.
func (in *instanceReader) finish(b *node) {
	e := in.e
	addresses, others := in.family(in.listed, nil)
	excluded, more := in.family(in.excluded, addresses)
	others = append(others, more...)
	v6 := len(addresses) > 0 && addresses[0].Addr().Is6()
	if v6 {
		in.version = 3
	}
	if in.version != 3 {
		e.Set("version", in.version, b.from)
	}
	in.interval(v6)
	in.authentication()
	in.addresses(e, addresses, excluded)
	in.root.Append("vrrp", e)
	if len(others) > 0 {
		in.otherFamily(b, others)
	}
}

// interval writes advert_interval, which version 2 counts in whole seconds.
func (in *instanceReader) interval(v6 bool) {
	n := in.advert
	if n == nil {
		return
	}
	d, ok := in.seconds(n, n.arg(0))
	if !ok {
		return
	}
	unit, longest := 10*time.Millisecond, 4095*10*time.Millisecond
	if in.version == 2 && !v6 {
		unit, longest = time.Second, 40*time.Second
	}
	whole := min(max(d.Round(unit), unit), longest)
	if whole != d {
		in.note(convert.LeftOut, n, "an advert of version %d cannot say %s: %s is taken", in.version, convert.FormatDuration(d), convert.FormatDuration(whole))
	}
	if whole != time.Second {
		in.e.Set("advert_interval", whole, n.from)
	}
}

// authentication writes the path of the password file, never the password.
func (in *instanceReader) authentication() {
	n := in.auth
	if n == nil {
		n = in.secret
	}
	switch {
	case n == nil:
	case in.version == 3:
		in.note(convert.NotNeeded, n, "version 3 has no password, and keepalived uses none; authentication = { type = \"hmac\", … } protects a pair of lvsd")
	case in.auth == nil || in.auth.arg(0) == "PASS":
		file := "/etc/lvsd/" + in.name + ".pass"
		t := &convert.Table{From: n.from}
		t.Set("type", "pass", n.from)
		t.Set("key_file", file, n.from)
		in.e.Set("authentication", t, n.from)
		where := n
		if in.secret != nil {
			where = in.secret
		}
		in.note(convert.ToDo, where, "write the password into %s on each director, on one line, and let nobody but its owner read it (mode 0600)", file)
	default:
		in.note(convert.LeftOut, n, "lvsd knows PASS of version 2; with version = 3, authentication = { type = \"hmac\", … } is what AH was meant to be")
	}
}

// family reads lines of addresses: those of the family of the first one, and the lines
// of the other family.
func (in *instanceReader) family(lines []*node, first []netip.Prefix) (all []netip.Prefix, others []*node) {
	seen := map[netip.Addr]bool{}
	for _, p := range first {
		seen[p.Addr()] = true
	}
	for _, n := range lines {
		p, ok := in.prefix(n)
		switch {
		case !ok:
		case seen[p.Addr()]:
			in.note(convert.NotNeeded, n, "is there already")
		case len(first) > 0 && first[0].Addr().Is6() != p.Addr().Is6(), len(first) == 0 && len(all) > 0 && all[0].Addr().Is6() != p.Addr().Is6():
			others = append(others, n)
		default:
			seen[p.Addr()] = true
			all = append(all, p)
		}
	}
	return all, others
}

// prefix reads a line of virtual_ipaddress.
func (in *instanceReader) prefix(n *node) (netip.Prefix, bool) {
	text := n.keyword()
	a, isAddr := convert.ParseAddr(text)
	p := netip.PrefixFrom(a, a.BitLen())
	if !isAddr {
		var err error
		if p, err = netip.ParsePrefix(text); err != nil {
			in.note(convert.LeftOut, n, "is not an address")
			return p, false
		}
	}
	dev := in.e.Str("interface")
	for i, w := range n.args() {
		switch w {
		case "dev":
			if d := n.arg(i + 1); d != dev && dev != "" {
				in.note(convert.LeftOut, n, "lvsd sets addresses on the election's interface, %s: make an election on %s of it", dev, d)
				return p, false
			}
		case "label":
			in.note(convert.NotNeeded, n, "lvsd sets no labels")
		case "use_vmac", "peer", "mngtmpaddr", "autojoin":
			in.note(convert.LeftOut, n, "the address is carried over, and %s is not", w)
		}
	}
	return p, true
}

// addresses writes the addresses of an instance. The first of IPv6 must be
// link-local.
func (in *instanceReader) addresses(e *convert.Table, listed, excluded []netip.Prefix) {
	if len(listed) == 0 && len(excluded) > 0 {
		listed, excluded = excluded[:1], excluded[1:]
		in.notes.Add(convert.ToDo, e.From, fmt.Sprintf("has no virtual_ipaddress, and an advert of lvsd's lists one at least: %s is taken from virtual_ipaddress_excluded", listed[0].Addr()))
	}
	if len(listed) > 0 && listed[0].Addr().Is6() && !listed[0].Addr().IsLinkLocalUnicast() {
		own := slices.IndexFunc(listed, func(p netip.Prefix) bool { return p.Addr().IsLinkLocalUnicast() })
		if own >= 0 {
			first := listed[own]
			listed = append([]netip.Prefix{first}, slices.Delete(slices.Clone(listed), own, own+1)...)
			in.notes.Add(convert.NotNeeded, e.From, fmt.Sprintf("%s comes first now: RFC 9568 wants a link-local address there", first.Addr()))
		} else {
			// As in keepalived, so that the directors can be replaced one by one.
			e.Set("link_local_first", false, e.Entry("name").From)
			in.notes.Hint("link_local_first = false is what keepalived's elections of IPv6 without a link-local address are like. Once both directors run lvsd, put one in front, such as \"fe80::51\": RFC 9568 wants it.")
		}
	}
	e.Set("addresses", formatPrefixes(listed), e.From)
	if len(excluded) > 0 {
		e.Set("excluded_addresses", formatPrefixes(excluded), e.From)
	}
}

// formatPrefixes writes prefixes, without the length for single hosts.
func formatPrefixes(all []netip.Prefix) []string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.String()
		if p.IsSingleIP() {
			out[i] = p.Addr().String()
		}
	}
	return out
}

// otherFamily adds a second instance for addresses of the other family, in one sync
// group with the first.
func (in *instanceReader) otherFamily(b *node, lines []*node) {
	e := in.e.Clone()
	e.Set("name", in.used.Unique(in.name+"-other-family", "election"), lines[0].from)
	for _, key := range []string{"version", "excluded_addresses", "authentication", "track_interfaces", "track_scripts", "track_files", "routes", "rules"} {
		e.Delete(key)
	}
	all, _ := in.family(lines, nil)
	if len(all) > 0 && all[0].Addr().Is4() && in.version == 2 {
		e.Set("version", 2, b.from)
	}
	in.addresses(e, all, nil)
	how := ""
	if _, unicast := in.unicast[in.name]; unicast {
		how = ", by multicast"
	}
	in.notes.Add(convert.ToDo, lines[0].from, fmt.Sprintf("an election has addresses of one family: those of the other are in the election %s, which moves with %s%s; a director with keepalived does not hear it, so exchange both at once",
		e.Str("name"), in.name, how))
	if in.e.Str("sync_group") == "" {
		in.e.Set("sync_group", in.name, b.from)
	}
	e.Set("sync_group", in.e.Str("sync_group"), b.from)
	in.root.Append("vrrp", e)
}

// syncGroups converts vrrp_sync_group.
func (k *keepalived) syncGroups() {
	byName := map[string]*convert.Table{}
	for _, e := range k.root.Tables("vrrp") {
		byName[e.Str("name")] = e
	}
	for _, g := range k.groups {
		var members []*convert.Table
		for _, instance := range k.members(g) {
			e := byName[k.names[instance]]
			if e == nil {
				k.note(convert.LeftOut, g, "there is no vrrp_instance %s", instance)
				continue
			}
			members = append(members, e)
		}
		if len(members) == 0 {
			k.note(convert.LeftOut, g, "has no members")
			continue
		}
		k.joinGroup(g, members)
		for _, n := range g.block {
			switch n.keyword() {
			case "group":
			case "track_interface":
				for _, c := range n.block {
					k.trackInterface(members[0], c)
				}
			case "track_script":
				for _, c := range n.block {
					k.trackScript(members[0], c)
				}
			case "track_file":
				for _, c := range n.block {
					k.trackFile(members[0], c)
				}
			default:
				if _, member := k.instances[n.keyword()]; !member {
					k.leaveOut(n, vrrpKeywords, "lvsd knows no such setting of a sync group")
				}
			}
		}
	}
}

// members returns the instances of a sync group, with or without the block group.
func (k *keepalived) members(g *node) []string {
	var all []string
	for _, n := range g.block {
		if n.keyword() == "group" {
			for _, c := range n.block {
				all = append(all, c.words...)
			}
		} else if _, instance := k.instances[n.keyword()]; instance && len(n.args()) == 0 {
			all = append(all, n.keyword())
		}
	}
	return all
}

// joinGroup sets the group of instances, and what must be equal in it.
func (k *keepalived) joinGroup(g *node, members []*convert.Table) {
	name := convert.Namer{}.Unique(g.arg(0), "group")
	first := members[0]
	for _, e := range k.root.Tables("vrrp") {
		// The instance of a member's other family is in the group already.
		if !slices.Contains(members, e) && strings.HasSuffix(e.Str("name"), "-other-family") &&
			slices.ContainsFunc(members, func(m *convert.Table) bool {
				return m.Str("sync_group") != "" && m.Str("sync_group") == e.Str("sync_group")
			}) {
			members = append(members, e)
		}
	}
	for _, e := range members {
		e.Set("sync_group", name, g.from)
		for _, key := range []string{"priority", "preempt"} {
			want, have := first.Entry(key), e.Entry(key)
			switch {
			case want == nil && have == nil || want != nil && have != nil && convert.Equal(want.Value, have.Value):
			case want == nil:
				k.notes.Add(convert.ToDo, have.From, fmt.Sprintf("the elections of a sync group need the same %s: that of %s is taken", key, first.Str("name")))
				e.Delete(key)
			default:
				from := e.From
				if have != nil {
					from = have.From
				}
				k.notes.Add(convert.ToDo, from, fmt.Sprintf("the elections of a sync group need the same %s: that of %s is taken", key, first.Str("name")))
				e.Set(key, want.Value, want.From)
			}
		}
	}
}
