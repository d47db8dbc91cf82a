// This file converts what moves along with an election's addresses, routes and
// rules, and the files that an election heeds.
//
// PURE.
package convert

import (
	"net/netip"
	"strings"
)

// firstRule is the priority of a rule that says none; others count up from it.
const firstRule = 20000

// tablesByName are the routing tables that every kernel has (rt_tables).
var tablesByName = map[string]int{"main": 254, "local": 255, "default": 253}

// along reads the lines of virtual_routes or virtual_rules.
func (in *instanceReader) along(n *node) {
	for _, line := range n.block {
		t := &table{from: line.from}
		ok := false
		if n.keyword() == "virtual_routes" {
			ok = in.route(t, line)
			in.keep(ok, "routes", t)
			continue
		}
		ok = in.rule(t, line)
		in.keep(ok, "rules", t)
	}
}

func (in *instanceReader) keep(ok bool, key string, t *table) {
	if ok {
		in.e.add(key, t)
	}
}

// route reads [src A] [to] DESTINATION [via|gw A] [dev D] [table T] [metric N].
func (in *instanceReader) route(t *table, line *node) bool {
	words := line.words
	for i := 0; i < len(words); i++ {
		next := after(words, i)
		switch words[i] {
		case "blackhole", "unreachable", "prohibit", "throw", "nexthop", "or":
			in.note(LeftOut, line, "lvsd has routes by one way, and none that refuse")
			return false
		case "src", "via", "gw", "dev", "to":
			key := map[string]string{"src": "source", "via": "via", "gw": "via", "dev": "interface", "to": "to"}[words[i]]
			t.set(key, next, line.from)
			i++
		case "table":
			if !in.routingTable(t, line, next) {
				return false
			}
			i++
		case "metric", "priority", "preference":
			if v, ok := number(next, 1, 1<<31-1); ok {
				t.set("metric", v, line.from)
			}
			i++
		case "no_track":
			in.note(LeftOut, line, "a route that somebody removes is put back")
		case "scope", "protocol", "proto":
			i++ // lvsd's own
		case "inet", "inet6", "onlink":
		default:
			if !t.has("to") && (words[i] == "default" || isNetwork(words[i])) {
				t.set("to", words[i], line.from)
				continue
			}
			in.note(LeftOut, line, "the route is carried over, and %s is not", words[i])
			i++
		}
	}
	if to := t.text("to"); to == "0.0.0.0/0" || to == "::/0" {
		t.set("to", "default", line.from)
	}
	if t.text("interface") == in.e.text("interface") {
		t.drop("interface")
	}
	if !t.has("to") {
		in.note(LeftOut, line, "leads nowhere")
	}
	return t.has("to")
}

// rule reads [from A] [to A] [fwmark N] [iif D] table T [preference N].
func (in *instanceReader) rule(t *table, line *node) bool {
	words := line.words
	for i := 0; i < len(words); i++ {
		next := after(words, i)
		switch words[i] {
		case "from", "to":
			if next != "all" && next != "any" {
				if !isNetwork(next) {
					in.note(LeftOut, line, "%q is not an address or a network", next)
					return false
				}
				t.set(words[i], next, line.from)
			}
		case "iif", "dev":
			t.set("interface", next, line.from)
		case "fwmark":
			if v, ok := number(next, 1, 1<<32-1); ok {
				t.set("mark", v, line.from)
				break
			}
			in.note(LeftOut, line, "%q is not a firewall mark, and lvsd has no mask for one", next)
			return false
		case "table", "lookup":
			if !in.routingTable(t, line, next) {
				return false
			}
		case "preference", "priority", "order":
			if v, ok := number(next, 1, 32765); ok {
				t.set("priority", v, line.from)
			}
		case "no_track":
			in.note(LeftOut, line, "a rule that somebody removes is put back")
			continue
		case "inet", "inet6":
			continue
		default:
			// A rule without one of its conditions would take other packets.
			in.note(LeftOut, line, "lvsd's rules know no %s", words[i])
			return false
		}
		i++
	}
	if !t.has("table") {
		in.note(LeftOut, line, "says no table")
		return false
	}
	if !t.has("priority") {
		t.set("priority", firstRule+len(in.e.tables("rules")), line.from)
		in.note(ToDo, line, "says no preference: see whether %d is good beside the machine's other rules (ip rule)", t.get("priority"))
	}
	return true
}

// routingTable reads the number of a routing table, or one of the names that
// every machine has.
func (in *instanceReader) routingTable(t *table, line *node, name string) bool {
	v, ok := number(name, 1, 1<<31-1)
	if !ok {
		v, ok = tablesByName[name], tablesByName[name] > 0
	}
	if !ok {
		in.note(ToDo, line, "lvsd knows routing tables by their number, which /etc/iproute2/rt_tables has for %q: add it then", name)
		return false
	}
	if v != tablesByName["main"] || line.keyword() == "from" || line.keyword() == "to" {
		t.set("table", v, line.from)
	}
	return true
}

func isNetwork(s string) bool {
	_, err := netip.ParsePrefix(s)
	_, ok := addr(s)
	return ok || err == nil
}

// trackFile puts a track_file into an election.
func (k *keepalived) trackFile(e *table, n *node) {
	b, known := k.files[n.keyword()]
	if !known {
		k.note(LeftOut, n, "there is no track_file %s", n.keyword())
		return
	}
	t := &table{from: b.from, id: n.keyword()}
	weight := 1
	for _, c := range b.block {
		switch c.keyword() {
		case "file":
			t.set("path", strings.Join(c.args(), " "), c.from)
		case "weight":
			v, ok := k.weight(&node{words: append([]string{"", "weight"}, c.args()...), from: c.from}, 1)
			if !ok {
				return
			}
			weight = v
		case "init_file":
			k.note(LeftOut, c, "lvsd writes no such file: one that is missing counts as 0")
		default:
			k.note(LeftOut, c, "lvsd knows no such setting of a file")
		}
	}
	weight, ok := k.weight(n, weight)
	if !ok {
		return
	}
	if weight != 1 {
		t.set("weight", weight, n.from)
	}
	if !t.has("path") {
		k.note(LeftOut, b, "says no file")
		return
	}
	e.add("track_files", t)
}
