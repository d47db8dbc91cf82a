// What keepalived does to a configuration once it has read all of it: values that exclude
// each other are reset, missing ones are deduced, and blocks are ignored. Each is a rule
// that changes the tree of keywords as keepalived changes its data, so that the
// conversion after it sees what keepalived runs with, and that leaves a note.

package keepalived

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lvsd/cmd/internal/convert"
)

// rule is one thing that keepalived does to a block.
type rule struct {
	name   string
	blocks string // keywords of the blocks, with spaces between them
	source string // where keepalived does it, and in which version it was read or tried
	why    string // the note at each line that it is about
	// apply changes the block and returns the lines that the note is about.
	apply func(k *keepalived, b *node) []*node
}

const (
	completeInstance = "vrrp_complete_instance, 2.2.7"
	completeInit     = "vrrp_complete_init, 2.2.7"
	validateChecks   = "validate_check_config, 2.2.7"
	parser           = "the parser, 2.2.7"
	checkTypes       = "TCP_CHECK SMTP_CHECK DNS_CHECK MISC_CHECK PING_CHECK UDP_CHECK BFD_CHECK FILE_CHECK"
)

// refusals are what keepalived refuses so that it starts no VRRP at all.
var refusals = []rule{
	{"no address with version 3 or in strict mode", "vrrp_instance", completeInstance,
		"keepalived refuses an instance of version 3, or in strict mode, without virtual_ipaddress, and then starts no VRRP at all: this one is left out, and none of the others ran",
		func(k *keepalived, b *node) []*node {
			vips := b.find("virtual_ipaddress")
			if vips != nil && len(vips.block) > 0 || k.versionOf(b) != 3 && !k.strictly(b) {
				return nil
			}
			b.ignored = true
			return []*node{b}
		}},
	{"strict mode, unicast", "vrrp_instance", completeInstance,
		"in strict mode keepalived refuses unicast_peer, and then starts no VRRP at all: the result follows the file, which never ran this way",
		func(k *keepalived, b *node) []*node {
			n := b.find("unicast_peer")
			if n == nil || len(n.block) == 0 || !k.strictly(b) {
				return nil
			}
			return []*node{n}
		}},
}

// rules are in the order in which keepalived applies them to one block.
var rules = []rule{
	{"strict mode, version 2 of IPv6", "vrrp_instance", completeInstance,
		"in strict mode keepalived speaks version 3 for IPv6",
		func(k *keepalived, b *node) []*node {
			n := b.find("version")
			if n == nil || n.arg(0) != "2" || !isIPv6(b) || !k.strictly(b) {
				return nil
			}
			n.words = []string{"version", "3"}
			return []*node{n}
		}},
	{"strict mode, authentication", "vrrp_instance", completeInstance,
		"in strict mode keepalived uses no authentication",
		func(k *keepalived, b *node) []*node {
			return cutIf(k.strictly(b), b, "authentication")
		}},
	{"version 3, authentication", "vrrp_instance", completeInstance,
		`version 3 has no password, and keepalived uses none; authentication = { type = "hmac", … } protects a pair of lvsd`,
		func(k *keepalived, b *node) []*node {
			return cutIf(k.versionOf(b) == 3, b, "authentication")
		}},
	{"authentication without a password", "vrrp_instance", completeInstance,
		"without both auth_type and auth_pass keepalived uses no authentication",
		func(_ *keepalived, b *node) []*node {
			a := b.find("authentication")
			return cutIf(a != nil && (a.value("auth_type") == "" || a.value("auth_pass") == ""), b, "authentication")
		}},
	{"unicast_src_ip without peers", "vrrp_instance", completeInstance,
		"without unicast_peer keepalived uses multicast",
		func(_ *keepalived, b *node) []*node {
			peers := b.find("unicast_peer")
			return cutIf(peers == nil || len(peers.block) == 0, b, "unicast_src_ip")
		}},
	{"too many addresses for an advert", "vrrp_instance", completeInstance,
		"an advert has no room for so many addresses: the last ones are not advertised, as those of virtual_ipaddress_excluded",
		excessAddresses},
	{"state MASTER without a priority", "vrrp_instance", completeInstance,
		"without a priority, state MASTER is priority 255",
		func(_ *keepalived, b *node) []*node {
			state := b.find("state")
			if !isMaster(b) || b.find("priority") != nil {
				return nil
			}
			b.add(state, "priority", "255")
			return []*node{state}
		}},
	{"strict mode, state MASTER", "vrrp_instance", completeInstance,
		"in strict mode only priority 255 begins as MASTER",
		func(k *keepalived, b *node) []*node {
			return cutIf(k.strictly(b) && isMaster(b) && b.value("priority") != "255", b, "state")
		}},
	{"nopreempt with priority 255", "vrrp_instance", completeInstance,
		"nopreempt does not go with priority 255, and keepalived resets it",
		func(_ *keepalived, b *node) []*node { return cutIf(b.value("priority") == "255", b, "nopreempt") }},
	{"nopreempt with state MASTER", "vrrp_instance", completeInstance,
		"nopreempt does not work with state MASTER, and keepalived clears it: for nopreempt, both directors must say state BACKUP",
		func(_ *keepalived, b *node) []*node { return cutIf(isMaster(b), b, "nopreempt") }},
	{"preempt_delay with state MASTER", "vrrp_instance", completeInstance,
		"preempt_delay does not work with state MASTER, and keepalived clears it",
		func(_ *keepalived, b *node) []*node { return cutIf(isMaster(b), b, "preempt_delay") }},
	{"strict mode, preempt_delay", "vrrp_instance", completeInstance,
		"strict mode has no preempt_delay, and keepalived resets it",
		func(k *keepalived, b *node) []*node { return cutIf(k.strictly(b), b, "preempt_delay") }},
	{"preempt_delay with nopreempt", "vrrp_instance", completeInstance,
		"preempt_delay does not go with nopreempt, and keepalived resets it",
		func(_ *keepalived, b *node) []*node { return cutIf(b.find("nopreempt") != nil, b, "preempt_delay") }},
	{"strict mode, down_timer_adverts", "vrrp_instance", completeInstance,
		"strict mode has no down_timer_adverts, and keepalived resets it",
		func(k *keepalived, b *node) []*node { return cutIf(k.strictly(b), b, "down_timer_adverts") }},
	{"an instance that tracks its own interface", "vrrp_instance", completeInstance,
		"an instance tracks its own interface in any case",
		func(_ *keepalived, b *node) []*node {
			return cutFrom(b, "track_interface", func(c *node) bool { return c.keyword() == b.value("interface") })
		}},
	{"weights in a sync group", "vrrp_sync_group", completeInit,
		"keepalived ignores a weighted script or file, and the weight of an interface, in an instance of a sync group: the group has to track it",
		weightsInGroup},

	{"no real servers", "virtual_server", validateChecks,
		"keepalived ignores a virtual_server without real_server",
		func(_ *keepalived, b *node) []*node {
			if b.find("real_server") != nil {
				return nil
			}
			b.ignored = true
			return []*node{b}
		}},
	{"no protocol", "virtual_server", validateChecks,
		"without a protocol keepalived takes UDP",
		func(_ *keepalived, b *node) []*node {
			if b.arg(0) == "fwmark" || b.find("protocol") != nil {
				return nil
			}
			b.add(b, "protocol", "UDP")
			return []*node{b}
		}},
	{"ops without UDP", "virtual_server", validateChecks,
		"one-packet scheduling needs UDP, and keepalived resets it",
		func(_ *keepalived, b *node) []*node {
			return cutIf(b.arg(0) != "fwmark" && !strings.EqualFold(b.value("protocol"), "UDP"), b, "ops")
		}},
	{"persistence_granularity alone", "virtual_server", parser,
		"persistence_granularity alone is persistence_timeout 360, too",
		func(_ *keepalived, b *node) []*node {
			n := b.find("persistence_granularity")
			if n == nil || b.find("persistence_timeout") != nil {
				return nil
			}
			b.add(n, "persistence_timeout")
			return []*node{n}
		}},
	{"all ports without persistence", "virtual_server", validateChecks,
		"a service of all ports is persistent, with all of its group: keepalived takes persistence_timeout 360",
		func(k *keepalived, b *node) []*node {
			if b.find("persistence_timeout") != nil {
				return nil
			}
			from := b
			if b.arg(0) == "group" { // one entry suffices
				if from = k.addresses[b.arg(1)].entryOfAllPorts(); from == nil {
					return nil
				}
			} else if !allPorts(b.args()) {
				return nil
			}
			b.add(b, "persistence_timeout")
			return []*node{from}
		}},
	{"a quorum above all weights", "virtual_server", validateChecks,
		"the quorum is above the weight of all servers together, and keepalived reduces it to that",
		func(_ *keepalived, b *node) []*node {
			n, all := b.find("quorum"), weightOf(b)
			if n == nil || number(n.arg(0), 1) <= max(all, 1) {
				return nil
			}
			n.words = []string{"quorum", strconv.Itoa(max(all, 1))}
			return []*node{n}
		}},
	{"a hysteresis of the quorum or more", "virtual_server", validateChecks,
		"the hysteresis is not below the quorum, and keepalived sets it to quorum - 1",
		func(_ *keepalived, b *node) []*node {
			n, quorum := b.find("hysteresis"), 1
			if q := b.find("quorum"); q != nil {
				quorum = number(q.arg(0), 1)
			}
			if n == nil || number(n.arg(0), 0) < quorum {
				return nil
			}
			n.words = []string{"hysteresis", strconv.Itoa(quorum - 1)}
			return []*node{n}
		}},
	{"a flag of another scheduler", "virtual_server", parser,
		"the flag is one of another scheduler, and keepalived ignores it",
		func(_ *keepalived, b *node) []*node {
			scheduler := b.value("lb_algo")
			if n := b.find("lvs_sched"); n != nil {
				scheduler = n.arg(0)
			}
			return b.cut(func(c *node) bool {
				of, flag, _ := strings.Cut(c.keyword(), "-")
				return (of == "sh" || of == "mh") && (flag == "port" || flag == "fallback") && of != scheduler
			})
		}},

	{"nb_get_retry outside of HTTP_GET", checkTypes + " virtual_server real_server", parser,
		"keepalived knows nb_get_retry in HTTP_GET and SSL_GET only, and ignores it elsewhere; retry is for all",
		func(_ *keepalived, b *node) []*node { return b.cutWord("nb_get_retry") }},
	{"a url without a path", "HTTP_GET SSL_GET", parser,
		"keepalived ignores a url without a path",
		func(_ *keepalived, b *node) []*node {
			return b.cut(func(c *node) bool { return c.keyword() == "url" && c.value("path") == "" })
		}},
	{"a check without a url", "HTTP_GET SSL_GET", parser,
		"keepalived ignores a check without a url",
		func(_ *keepalived, b *node) []*node {
			if b.find("url") != nil {
				return nil
			}
			b.ignored = true
			return []*node{b}
		}},
}

// allPorts reports whether the arguments of a virtual_server are an address of all ports.
func allPorts(args []string) bool {
	return len(args) > 0 && args[0] != "fwmark" && (len(args) == 1 || args[1] == "0")
}

// entryOfAllPorts returns an entry of a virtual_server_group that is of all ports, or nil.
func (n *node) entryOfAllPorts() *node {
	if n == nil {
		return nil
	}
	for _, c := range n.block {
		if allPorts(c.words) {
			return c
		}
	}
	return nil
}

// validate applies the refusals and the rules to all blocks.
func (k *keepalived) validate(all []*node) {
	k.apply(all, refusals, convert.ToDo)
	k.apply(all, rules, convert.Adjusted)
}

func (k *keepalived) apply(all []*node, rules []rule, kind convert.Kind) {
	byBlock := map[string][]rule{}
	for _, r := range rules {
		for _, word := range strings.Fields(r.blocks) {
			byBlock[word] = append(byBlock[word], r)
		}
	}
	var walk func(all []*node)
	walk = func(all []*node) {
		for _, b := range all {
			if b.ignored {
				continue
			}
			for _, r := range byBlock[b.keyword()] {
				if b.ignored {
					break
				}
				for _, n := range r.apply(k, b) {
					from := n.from
					if n.ignored {
						from = n.whole()
					}
					k.notes.Add(kind, from, r.why)
				}
			}
			walk(b.block)
		}
	}
	walk(all)
}

// cutIf removes all lines with a keyword under a condition.
func cutIf(condition bool, b *node, keyword string) []*node {
	if !condition {
		return nil
	}
	return b.cutWord(keyword)
}

// cutFrom removes lines from a block in the block.
func cutFrom(b *node, keyword string, chosen func(c *node) bool) []*node {
	var all []*node
	for _, inner := range b.block {
		if inner.keyword() == keyword {
			all = append(all, inner.cut(chosen)...)
		}
	}
	return all
}

func isMaster(b *node) bool { return b.value("state") == "MASTER" }

// strictly reports whether an instance is in strict mode.
func (k *keepalived) strictly(b *node) bool {
	if n := b.find("strict_mode"); n != nil {
		return n.arg(0) == "" || yes(n.arg(0))
	}
	return k.strict
}

// versionOf returns the version of VRRP that an instance speaks in keepalived. That of
// global_defs is not for IPv6.
func (k *keepalived) versionOf(b *node) int {
	if v, ok := convert.ParseInt(b.value("version"), 2, 3); ok {
		return v
	}
	if isIPv6(b) {
		return 3
	}
	return k.version
}

// isIPv6 reports whether the first address of an instance is of IPv6.
func isIPv6(b *node) bool {
	vips := b.find("virtual_ipaddress")
	if vips == nil || len(vips.block) == 0 {
		return false
	}
	p, ok := addressOf(vips.block[0].keyword())
	return ok && p.Addr().Is6()
}

// addressOf reads an address with or without a prefix length.
func addressOf(s string) (netip.Prefix, bool) {
	if a, ok := convert.ParseAddr(s); ok {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil
}

// number reads a whole number that is not negative.
func number(s string, otherwise int) int {
	if n, ok := convert.ParseInt(s, 0, 1<<31-1); ok {
		return n
	}
	return otherwise
}

// What an advert has room for on an Ethernet with an MTU of 1500 bytes. The count of an
// advert is a byte.
const (
	maxIPv4Addresses = 255
	maxIPv6Addresses = (1500 - 14 - 40 - 8) / 16
)

// excessAddresses moves addresses to virtual_ipaddress_excluded.
func excessAddresses(_ *keepalived, b *node) []*node {
	room, moved := maxIPv4Addresses, []*node(nil)
	for _, vips := range b.block {
		if vips.keyword() != "virtual_ipaddress" || len(vips.block) == 0 {
			continue
		}
		if p, ok := addressOf(vips.block[0].keyword()); ok && p.Addr().Is6() {
			room = min(room, maxIPv6Addresses)
		}
		fits := min(room, len(vips.block))
		moved = append(moved, vips.block[fits:]...)
		vips.block = vips.block[:fits]
		room -= fits
	}
	if len(moved) == 0 {
		return nil
	}
	b.add(moved[0], "virtual_ipaddress_excluded").block = moved
	return moved[:1]
}

// weightOf returns the sum of the weights of a virtual server.
func weightOf(b *node) int {
	otherwise := number(b.value("weight"), 1)
	sum := 0
	for _, c := range b.block {
		if c.keyword() == "real_server" {
			sum += number(c.value("weight"), otherwise)
		}
	}
	return sum
}

// weightsInGroup removes what the instances of a sync group track with a weight.
func weightsInGroup(k *keepalived, g *node) []*node {
	if g.find("sync_group_tracking_weight") != nil || g.find("global_tracking") != nil {
		return nil
	}
	weighted := func(definitions map[string]*node, otherwise string) func(c *node) bool {
		return func(c *node) bool {
			weight := otherwise
			if d := definitions[c.keyword()]; d != nil && d.find("weight") != nil {
				weight = d.value("weight")
			}
			if i := slices.Index(c.words, "weight"); i > 0 {
				weight = c.arg(i)
			}
			return weight != "0"
		}
	}
	var all []*node
	for _, name := range k.members(g) {
		b := k.instances[name]
		if b == nil {
			continue
		}
		all = append(all, cutFrom(b, "track_script", weighted(k.scripts, "0"))...)
		for _, tracked := range b.block {
			if tracked.keyword() != "track_interface" {
				continue
			}
			for _, c := range tracked.block {
				if i := slices.Index(c.words, "weight"); i > 0 && c.arg(i) != "0" {
					c.words = c.words[:i] // the interface is tracked without it
					all = append(all, c)
				}
			}
		}
		all = append(all, cutFrom(b, "track_file", weighted(k.files, "1"))...)
	}
	return all
}
