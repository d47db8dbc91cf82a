// This file makes one document of the documents of several directors: what is
// the same stands once, what may differ becomes a value by director, and what
// must not differ is taken from the first, which is named.
//
// PURE.
package convert

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// differs are the keys that may differ between directors, by the path of their
// table, with what one has that does not say it.
var differs = map[string]map[string]any{
	"vrrp":                {"interface": nil, "priority": 100, "preempt": true, "preempt_delay": time.Duration(0), "virtual_mac": false, "unicast": nil},
	"vrrp.authentication": {"key_file": nil},
	"ipvs":                {"timeout_tcp": 15 * time.Minute, "timeout_tcp_fin": 2 * time.Minute, "timeout_udp": 5 * time.Minute, "on_stop": "keep"},
	"ipvs.sync":           {"interface": nil},
	"vrrp.routes":         {"via": "", "interface": nil, "source": ""},
	"vrrp.rules":          {"interface": nil},
	"global":              {"auto_reload": false},
}

// merger puts documents together.
type merger struct {
	notes *notes
	names []string // of the directors whose documents are merged so far
	next  string   // of the one that comes
}

// merge makes one document of several, which are in the order of the names.
func merge(names []string, documents []*table, n *notes) *table {
	all := documents[0].clone()
	m := &merger{notes: n, names: names[:1]}
	for i, next := range documents[1:] {
		m.next = names[i+1]
		m.table("", all, next)
		m.names = names[:i+2]
	}
	return all
}

// table puts b into a.
func (m *merger) table(path string, a, b *table) {
	below := func(key string) string {
		if path == "" {
			return key
		}
		return path + "." + key
	}
	for _, e := range b.entries {
		mine := a.entry(e.key)
		lists, isList := e.value.([]*table)
		switch {
		case isList && identity[e.key] != nil:
			a.set(e.key, m.tables(below(e.key), e.key, a.tables(e.key), lists), e.from)
		case mine == nil:
			m.only(path, a, e, m.next, m.names)
		case same(mine.value, e.value):
		default:
			t, isTable := mine.value.(*table)
			u, both := e.value.(*table)
			if isTable && both && e.key != "check" {
				m.table(below(e.key), t, u)
				continue
			}
			m.differ(path, a, mine, e)
		}
	}
	for _, e := range slices.Clone(a.entries) {
		if _, isList := e.value.([]*table); isList && identity[e.key] != nil || b.has(e.key) {
			continue
		}
		if other, may := differs[path][e.key]; may && other != nil {
			a.set(e.key, m.split(e.value, other), e.from)
		}
	}
}

// only puts in a key that the directors so far do not have.
func (m *merger) only(path string, a *table, e entry, has string, lack []string) {
	other, may := differs[path][e.key]
	if may && other != nil {
		v := byDirector{has: e.value}
		for _, name := range lack {
			v[name] = other
		}
		a.set(e.key, v, e.from)
		return
	}
	a.set(e.key, e.value, e.from)
	if path != "" && !may {
		m.notes.add(ToDo, e.from, fmt.Sprintf("only %s has it, and what is said of a %s holds for all directors: now all have it", has, word(path)))
	}
}

// differ puts together two values that are not the same.
func (m *merger) differ(path string, a *table, mine *entry, e entry) {
	if _, may := differs[path][e.key]; may {
		if v, isSplit := e.value.(byDirector); isSplit {
			all, _ := mine.value.(byDirector)
			all = maps.Clone(all)
			maps.Copy(all, v)
			mine.value = all
			return
		}
		mine.value = m.split(mine.value, e.value)
		return
	}
	m.notes.add(ToDo, e.from, fmt.Sprintf("differs between the directors, and must be the same: %s is taken, as %s has it at %s:%d",
		e.key+" = "+literal(mine.value), m.names[0], mine.from.file, mine.from.line))
}

// split makes a value by director out of one that the directors so far have
// and one that the next has.
func (m *merger) split(mine, next any) any {
	v, isSplit := mine.(byDirector)
	v = maps.Clone(v)
	if !isSplit {
		if same(mine, next) {
			return mine
		}
		v = byDirector{}
		for _, name := range m.names {
			v[name] = mine
		}
	}
	if _, given := v[m.next]; !given {
		v[m.next] = next
	}
	return v
}

// identity says which two elements of a list are the same thing.
var identity = map[string]func(t *table) any{
	"director": func(t *table) any { return t.text("name") },
	"vrrp":     func(t *table) any { return t.text("name") },
	"virtual_service": func(t *table) any {
		return [4]any{t.get("address"), t.get("fwmark"), t.get("family"), t.get("protocol")}
	},
	"real_servers":  func(t *table) any { return t.text("address") },
	"track_scripts": func(t *table) any { return t.id },
	"track_files":   func(t *table) any { return t.id },
	"routes":        func(t *table) any { return [3]any{t.get("to"), t.get("table"), t.get("metric")} },
	"rules":         func(t *table) any { return [3]any{t.get("from"), t.get("to"), t.get("priority")} },
}

// tables puts two lists together: what is in both is merged, what only one has
// is taken over.
func (m *merger) tables(path, key string, a, b []*table) []*table {
	is := identity[key]
	byID := map[any]*table{}
	for _, t := range a {
		byID[is(t)] = t
	}
	met := map[any]bool{}
	for _, t := range b {
		id := is(t)
		met[id] = true
		mine, known := byID[id]
		if !known && key == "vrrp" {
			mine, known = m.sameRouter(a, t)
			if known {
				met[is(mine)] = true
			}
		}
		if known {
			m.table(path, mine, t)
			continue
		}
		a = append(a, t.clone())
		byID[id] = a[len(a)-1]
		if key != "director" {
			m.notes.add(ToDo, t.from, fmt.Sprintf("only %s has this %s: now all directors have it", m.next, word(path)))
		}
	}
	for _, t := range a {
		if !met[is(t)] && key != "director" {
			m.notes.add(ToDo, t.from, fmt.Sprintf("%s does not have this %s: now all directors have it", m.next, word(path)))
		}
	}
	return a
}

// sameRouter finds an election that has another name on the other director: one
// with the same virtual router and first address.
func (m *merger) sameRouter(a []*table, t *table) (*table, bool) {
	first := func(t *table) string {
		if all, _ := t.get("addresses").([]string); len(all) > 0 {
			return all[0]
		}
		return ""
	}
	for _, mine := range a {
		if mine.get("virtual_router_id") == t.get("virtual_router_id") && first(mine) == first(t) {
			t.set("name", mine.text("name"), t.from)
			return mine, true
		}
	}
	return nil, false
}

// word is what a table is called in a sentence.
func word(path string) string {
	switch path {
	case "vrrp":
		return "election"
	case "virtual_service":
		return "virtual service"
	case "virtual_service.real_servers":
		return "real server"
	case "vrrp.track_scripts":
		return "script"
	case "vrrp.track_files":
		return "file"
	case "vrrp.routes":
		return "route"
	case "vrrp.rules":
		return "rule"
	}
	return path
}
