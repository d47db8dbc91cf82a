// Virtual routes and rules, and tracked files.

package keepalived

import (
	"net/netip"
	"strings"

	"lvsd/cmd/internal/convert"
)

// firstRule is the priority of the first rule without one.
const firstRule = 20000

// tablesByName are the routing tables with fixed names (rt_tables).
var tablesByName = map[string]int{"main": 254, "local": 255, "default": 253}

// routesAndRules reads the lines of virtual_routes or virtual_rules.
func (in *instanceReader) routesAndRules(n *node) {
	for _, line := range n.block {
		t := &convert.Table{From: line.from, OneLine: true}
		ok := false
		if n.keyword() == "virtual_routes" {
			ok = in.route(t, line)
			in.appendIf(ok, "routes", t)
			continue
		}
		ok = in.rule(t, line)
		in.appendIf(ok, "rules", t)
	}
}

func (in *instanceReader) appendIf(ok bool, key string, t *convert.Table) {
	if ok {
		in.e.Append(key, t)
	}
}

// route reads [src A] [to] DESTINATION [via|gw A] [dev D] [table T] [metric N].
func (in *instanceReader) route(t *convert.Table, line *node) bool {
	words := line.words
	for i := 0; i < len(words); i++ {
		next := convert.WordAfter(words, i)
		switch words[i] {
		case "blackhole", "unreachable", "prohibit", "throw", "nexthop", "or":
			in.note(convert.LeftOut, line, "lvsd has routes by one way, and none that refuse")
			return false
		case "src", "via", "gw", "dev", "to":
			key := map[string]string{"src": "source", "via": "via", "gw": "via", "dev": "interface", "to": "to"}[words[i]]
			t.Set(key, next, line.from)
			i++
		case "table":
			if !in.routingTable(t, line, next) {
				return false
			}
			i++
		case "metric", "priority", "preference":
			if v, ok := convert.ParseInt(next, 1, 1<<31-1); ok {
				t.Set("metric", v, line.from)
			}
			i++
		case "no_track":
			in.note(convert.LeftOut, line, "lvsd restores a removed route")
		case "scope", "protocol", "proto":
			i++ // set by lvsd
		case "inet", "inet6", "onlink":
		default:
			if !t.Has("to") && (words[i] == "default" || isNetwork(words[i])) {
				t.Set("to", words[i], line.from)
				continue
			}
			in.note(convert.LeftOut, line, "the route is carried over, and %s is not", words[i])
			i++
		}
	}
	if to := t.Str("to"); to == "0.0.0.0/0" || to == "::/0" {
		t.Set("to", "default", line.from)
	}
	if t.Str("interface") == in.e.Str("interface") {
		t.Delete("interface")
	}
	if !t.Has("to") {
		in.note(convert.LeftOut, line, "leads nowhere")
	}
	return t.Has("to")
}

// rule reads [from A] [to A] [fwmark N] [iif D] table T [preference N].
func (in *instanceReader) rule(t *convert.Table, line *node) bool {
	words := line.words
	for i := 0; i < len(words); i++ {
		next := convert.WordAfter(words, i)
		switch words[i] {
		case "from", "to":
			if next != "all" && next != "any" {
				if !isNetwork(next) {
					in.note(convert.LeftOut, line, "%q is not an address or a network", next)
					return false
				}
				t.Set(words[i], next, line.from)
			}
		case "iif", "dev":
			t.Set("interface", next, line.from)
		case "fwmark":
			if v, ok := convert.ParseInt(next, 1, 1<<32-1); ok {
				t.Set("mark", v, line.from)
				break
			}
			in.note(convert.LeftOut, line, "%q is not a firewall mark, and lvsd has no mask for one", next)
			return false
		case "table", "lookup":
			if !in.routingTable(t, line, next) {
				return false
			}
		case "preference", "priority", "order":
			if v, ok := convert.ParseInt(next, 1, 32765); ok {
				t.Set("priority", v, line.from)
			}
		case "no_track":
			in.note(convert.LeftOut, line, "lvsd restores a removed rule")
			continue
		case "inet", "inet6":
			continue
		default:
			// A rule without one of its conditions would match other packets.
			in.note(convert.LeftOut, line, "lvsd's rules do not support %s", words[i])
			return false
		}
		i++
	}
	if !t.Has("table") {
		in.note(convert.LeftOut, line, "says no table")
		return false
	}
	if !t.Has("priority") {
		t.Set("priority", firstRule+len(in.e.Tables("rules")), line.from)
		in.note(convert.ToDo, line, "says no preference: see whether %d is good beside the machine's other rules (ip rule)", t.Get("priority"))
	}
	return true
}

// routingTable reads the number of a routing table, or one of the fixed names.
func (in *instanceReader) routingTable(t *convert.Table, line *node, name string) bool {
	v, ok := convert.ParseInt(name, 1, 1<<31-1)
	if !ok {
		v, ok = tablesByName[name], tablesByName[name] > 0
	}
	if !ok {
		in.note(convert.ToDo, line, "lvsd knows routing tables by their number, which /etc/iproute2/rt_tables has for %q: add it then", name)
		return false
	}
	if v != tablesByName["main"] || line.keyword() == "from" || line.keyword() == "to" {
		t.Set("table", v, line.from)
	}
	return true
}

func isNetwork(s string) bool {
	_, err := netip.ParsePrefix(s)
	_, ok := convert.ParseAddr(s)
	return ok || err == nil
}

// trackFile adds a track_file to an instance.
func (k *keepalived) trackFile(e *convert.Table, n *node) {
	b, known := k.files[n.keyword()]
	if !known {
		k.note(convert.LeftOut, n, "there is no track_file %s", n.keyword())
		return
	}
	b.used = true
	t := &convert.Table{From: b.from, ID: n.keyword()}
	weight := 1
	for _, c := range b.block {
		switch c.keyword() {
		case "file":
			t.Set("path", strings.Join(c.args(), " "), c.from)
		case "weight":
			v, ok := k.weight(&node{words: append([]string{"", "weight"}, c.args()...), from: c.from}, 1)
			if !ok {
				return
			}
			weight = v
		case "init_file":
			k.note(convert.LeftOut, c, "lvsd writes no such file: one that is missing counts as 0")
		default:
			k.note(convert.LeftOut, c, "is not a setting of a track_file that keepalived.conf(5) describes")
		}
	}
	weight, ok := k.weight(n, weight)
	if !ok {
		return
	}
	if weight != 1 {
		t.Set("weight", weight, n.from)
	}
	if !t.Has("path") {
		k.notes.Add(convert.LeftOut, b.whole(), "says no file")
		return
	}
	e.Append("track_files", t)
}
