// VRRP instances, scripts and sync groups.

package keepalived

import (
	"fmt"
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
	if name != b.arg(0) {
		k.note(convert.NotNeeded, b, "is called %s now: names are made of letters, digits, dot, dash and underscore", name)
	}
	e.Set("name", name, b.from)
	if k.startup != nil {
		if d, _ := convert.ParseSeconds(k.startup.arg(0)); d > 0 {
			e.Set("startup_delay", k.atMost(k.startup.from, d, time.Hour), k.startup.from)
		}
	}
	in := instanceReader{keepalived: k, e: e, name: name, version: k.version}
	for _, n := range b.block {
		in.keyword(n)
	}
	if !e.Has("interface") {
		k.note(convert.ToDo, b, "has no interface: %s is used, as keepalived does", defaultInterface)
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
	badID    *node // virtual_router_id
}

// keyword reads one line of the instance.
func (in *instanceReader) keyword(n *node) {
	e := in.e
	switch n.keyword() {
	case "interface":
		e.Set("interface", n.arg(0), n.from)
	case "virtual_router_id":
		if id, ok := convert.ParseInt(n.arg(0), 1, 255); ok {
			e.Set("virtual_router_id", id, n.from)
		} else {
			in.badID = n
		}
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
				in.note(convert.LeftOut, c, "is not a setting of authentication that keepalived.conf(5) describes")
			}
		}
	case "use_vmac":
		e.Set("virtual_mac", true, n.from)
		if len(n.args()) > 0 {
			in.note(convert.NotNeeded, n, "lvsd names the interface itself, and its MAC address is the one of RFC 9568")
		}
	case "unicast_src_ip", "unicast_peer", "unicast_ttl":
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
	case "strict_mode":
		if in.strictly(&node{block: []*node{n}}) {
			in.leaveOut(n, vrrpKeywords, "")
		}
	default:
		if !in.notify(e, n) {
			in.leaveOut(n, vrrpKeywords, "is not a setting that keepalived.conf(5) describes")
		}
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
	sp, known := in.unicast[in.name]
	if !known {
		sp.lowest = -1
	}
	switch sp.from = n.from; n.keyword() {
	case "unicast_ttl":
		sp.sent = n
	case "unicast_src_ip":
		a, ok := convert.ParseAddr(n.arg(0))
		if !ok {
			in.note(convert.LeftOut, n, "is not an address")
			return
		}
		sp.source = a
	}
	for _, c := range n.block {
		a, ok := convert.ParseAddr(c.keyword())
		if !ok {
			in.note(convert.LeftOut, c, "is not an address")
			continue
		}
		sp.peers = append(sp.peers, a)
		in.peerTTL(&sp, c)
	}
	in.unicast[in.name] = sp
}

// peerTTL reads min_ttl and max_ttl after a unicast peer.
func (in *instanceReader) peerTTL(sp *unicastAddresses, n *node) {
	for i := 0; i < len(n.args()); i += 2 {
		ttl, ok := convert.ParseInt(n.arg(i+1), 0, maxTTL)
		switch {
		case !ok:
			in.note(convert.LeftOut, n, "%q is not understood", n.arg(i))
		case n.arg(i) == "min_ttl" && (sp.lowest < 0 || ttl < sp.lowest):
			sp.lowest = ttl
		case n.arg(i) == "max_ttl" && ttl < maxTTL:
			in.note(convert.ToDo, n, "lvsd sends with a TTL of 255, which this drops where no router is between: remove max_ttl on the director that still runs keepalived")
		}
	}
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
		e.Extend("track_interfaces", append(all, n.keyword()), n.from)
		return
	}
	t := &convert.Table{From: n.from}
	t.Set("name", n.keyword(), n.from)
	t.Set("weight", weight, n.from)
	e.Extend("track_interfaces", append(all, t), n.from)
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
			k.note(convert.LeftOut, n, "lvsd has no reverse: write a script that succeeds when the other fails")
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
	b.used = true
	t := &convert.Table{From: b.from, ID: n.keyword()}
	argv, from, weight, ok := []string(nil), b.from, 0, true
	t.Set("fall", 1, b.from)
	for _, c := range b.block {
		switch c.keyword() {
		case "script":
			argv, from = convert.Argv(c.args()), c.from
		case "interval", "timeout":
			if d, ok := k.seconds(c, c.arg(0)); ok && d > 0 {
				t.Set(c.keyword(), d, c.from)
			}
		case "rise", "fall":
			t.Set(c.keyword(), max(number(c.arg(0), 1), 1), c.from)
		case "weight":
			if weight, ok = k.weight(&node{words: append([]string{"", "weight"}, c.args()...), from: c.from}, 0); !ok {
				return
			}
		case "user":
		case "init_fail":
			k.note(convert.LeftOut, c, "until its first result, which counts at once, a script counts as good")
		default:
			k.note(convert.LeftOut, c, "is not a setting of a script that keepalived.conf(5) describes")
		}
	}
	if weight, ok = k.weight(n, weight); !ok {
		return
	}
	if len(argv) == 0 {
		k.notes.Add(convert.LeftOut, b.whole(), "has no script")
		return
	}
	t.Set("command", asUser(argv, k.user(b)), from)
	t.Set("weight", weight, n.from)
	e.Append("track_scripts", t)
}

// finish writes the keys that depend on several lines.
func (in *instanceReader) finish(b *node) {
	e := in.e
	if in.badID != nil && !e.Has("virtual_router_id") {
		in.note(convert.Lost, in.badID, "is not a number from 1 to 255, and without one there is no instance")
		return
	}
	addresses, others := in.family(in.listed, nil)
	excluded, more := in.family(in.excluded, addresses)
	others = append(others, more...)
	v6 := len(addresses) > 0 && addresses[0].Addr().Is6()
	if len(addresses)+len(excluded) == 0 && len(in.listed)+len(in.excluded) > 0 {
		in.note(convert.Lost, b, "none of its addresses can be carried over")
		return
	}
	if v6 {
		in.version3(b)
	}
	e.Set("version", in.version, b.from)
	in.interval(v6)
	in.authentication()
	in.addresses(e, addresses, excluded)
	in.root.Append("vrrp", e)
	if len(others) > 0 {
		in.otherFamily(b, others)
	}
}

// version3 sets version 3 of an IPv6 instance. keepalived has version 2 for IPv6, too.
func (in *instanceReader) version3(b *node) {
	if n := b.find("version"); n != nil && n.arg(0) == "2" {
		in.note(convert.ToDo, n, "keepalived speaks version 2 for IPv6 here, which lvsd does not (RFC 3768 has none): with version 3 in its place neither understands the other, and both are master: replace both directors at once, or let both run keepalived with version 3 first")
		if in.auth != nil && in.secret != nil {
			in.note(convert.LeftOut, in.auth, `version 3 has no password; authentication = { type = "hmac", … } protects a pair of lvsd`)
		}
	}
	in.version = 3
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
	switch {
	case d > longest:
		in.note(convert.LeftOut, n, "an advert of version %d cannot say %s: %s is used", in.version, convert.FormatDuration(d), convert.FormatDuration(whole))
	case whole != d:
		in.note(convert.Adjusted, n, "an advert of version %d cannot say %s: keepalived uses %s", in.version, convert.FormatDuration(d), convert.FormatDuration(whole))
	}
	in.e.Set("advert_interval", whole, n.from)
}

// authentication writes the path of the password file, never the password.
func (in *instanceReader) authentication() {
	n := in.auth
	switch {
	case n == nil || in.version == 3 || in.secret == nil: // rules of validate.go
	case n.arg(0) == "PASS":
		file := passwordFile(in.name)
		t := &convert.Table{From: n.from}
		t.Set("type", "pass", n.from)
		t.Set("key_file", file, n.from)
		in.e.Set("authentication", t, n.from)
		in.note(convert.ToDo, in.secret, "write the password into %s on each director, on one line, readable by its owner only (mode 0600)", file)
	default:
		in.note(convert.LeftOut, n, `lvsd has PASS of version 2; with version = 3, authentication = { type = "hmac", … } does what AH was meant to do`)
	}
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
				if k.instances[instance] == nil {
					k.note(convert.LeftOut, g, "there is no vrrp_instance %s", instance)
				}
				continue
			}
			members = append(members, e)
		}
		if len(members) == 0 {
			k.note(convert.LeftOut, g, "has no members")
			continue
		}
		k.joinGroup(g, members)
		group := &convert.Table{From: g.from}
		group.Set("name", members[0].Str("sync_group"), g.from)
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
				if _, member := k.instances[n.keyword()]; !member && !k.notify(group, n) {
					k.leaveOut(n, vrrpKeywords, "is not a setting of a sync group that keepalived.conf(5) describes")
				}
			}
		}
		if len(group.Entries) > 1 {
			k.root.Append("sync_group", group)
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
				k.notes.Add(convert.ToDo, have.From, fmt.Sprintf("the instances of a sync group need the same %s: that of %s is taken", key, first.Str("name")))
				e.Delete(key)
			default:
				from := e.From
				if have != nil {
					from = have.From
				}
				k.notes.Add(convert.ToDo, from, fmt.Sprintf("the instances of a sync group need the same %s: that of %s is taken", key, first.Str("name")))
				e.Set(key, want.Value, want.From)
			}
		}
	}
}
