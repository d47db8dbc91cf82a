// Merging the results of several directors: equal values are written once, keys that
// may differ get a value for each director, and of others the first one is kept and a
// note is added.

package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"lvsd/config/schema"
)

// perDirector reports whether a key may differ between the directors, and what a
// director has whose file does not say it; nil where that depends on other keys.
func perDirector(path, key string) (unset any, may bool) {
	s := schema.RootTable
	for name := range strings.SplitSeq(path, ".") {
		if path != "" {
			s = subTable(s, name)
		}
	}
	k := schemaKey(s, key)
	if k == nil {
		return nil, false
	}
	if path == "vrrp" && key == "unicast" { // of kind Any
		return nil, true
	}
	return defaultOf(k), k.PerDirector
}

// merger puts documents together.
type merger struct {
	notes *Notes
	names []string          // of the directors whose documents are merged so far
	next  string            // of the next one
	files map[string]string // by director
}

// Merge merges the tables of several directors, in the order of the names. The origin of a
// document names its file.
func Merge(names []string, documents []*Table, n *Notes) *Table {
	all := documents[0].Clone()
	m := &merger{notes: n, names: names[:1], files: map[string]string{}}
	for i, d := range documents {
		m.files[names[i]] = d.From.File
	}
	for i, next := range documents[1:] {
		m.next = names[i+1]
		m.table("", all, next)
		m.names = names[:i+2]
	}
	return all
}

// table merges b into a.
func (m *merger) table(path string, a, b *Table) {
	below := func(key string) string {
		if path == "" {
			return key
		}
		return path + "." + key
	}
	for _, e := range b.Entries {
		mine := a.Entry(e.Key)
		lists, isList := e.Value.([]*Table)
		switch {
		case isList && identity[e.Key] != nil:
			a.Set(e.Key, m.tables(below(e.Key), e.Key, a.Tables(e.Key), lists), e.From)
		case mine == nil && mergesByKey(path, e):
			empty := &Table{From: e.From}
			a.Set(e.Key, empty, e.From)
			m.table(e.Key, empty, e.Value.(*Table))
		case mine == nil:
			m.addMissing(path, a, e, m.next, m.names)
		case Equal(mine.Value, e.Value):
		default:
			t, isTable := mine.Value.(*Table)
			u, both := e.Value.(*Table)
			if isTable && both && e.Key != "check" {
				m.table(below(e.Key), t, u)
				continue
			}
			line := e.From
			if line == b.From && !b.OneLine {
				line.Text = unsaid
			}
			mine.from(append([]Origin{line}, e.More...)...)
			m.resolve(path, mine, e)
		}
	}
	for _, e := range slices.Clone(a.Entries) {
		if b.Has(e.Key) {
			continue
		}
		if list, isList := e.Value.([]*Table); isList && identity[e.Key] != nil {
			m.tables(below(e.Key), e.Key, list, nil)
			continue
		}
		if mergesByKey(path, e) {
			m.table(e.Key, e.Value.(*Table), &Table{})
			continue
		}
		other, may := perDirector(path, e.Key)
		switch {
		case other != nil && Equal(e.Value, other):
		case may && other != nil:
			a.Entry(e.Key).Value = m.split(e.Value, other)
		case !may:
			m.oneSided(m.names, []string{m.next}, e)
		}
	}
}

// mergesByKey reports whether a table that not all directors have is merged key by key,
// since some of its keys may differ. [email] is one setting as a whole.
func mergesByKey(path string, e Entry) bool {
	_, isTable := e.Value.(*Table)
	return path == "" && isTable && e.Key != "email"
}

// addMissing adds a key that the directors so far do not have.
func (m *merger) addMissing(path string, a *Table, e Entry, has string, lack []string) {
	other, may := perDirector(path, e.Key)
	same := other != nil && Equal(e.Value, other)
	if may && other != nil && !same {
		v := ByDirector{has: e.Value}
		for _, name := range lack {
			v[name] = other
		}
		e.Value = v
	}
	a.Entries = append(a.Entries, e)
	if !may && !same {
		m.oneSided([]string{has}, lack, e)
	}
}

// oneSided adds a note about a key that not all directors have, and that cannot differ.
func (m *merger) oneSided(has, lack []string, e Entry) {
	from, key := e.From, e.Key
	if t, isTable := e.Value.(*Table); isTable && len(t.Entries) > 0 && from.Line == 0 {
		from, key = t.Entries[0].From, "["+key+"]"
	}
	without := slices.Clone(lack)
	for i, name := range lack {
		if file := m.files[name]; file != "" {
			without[i] = name + " (" + file + ")"
		}
	}
	m.notes.Add(ToDo, from, fmt.Sprintf("only %s has %s, which cannot differ between directors, and not %s: now all have it",
		strings.Join(has, " and "), key, strings.Join(without, " and ")))
}

// resolve merges two different values.
func (m *merger) resolve(path string, mine *Entry, e Entry) {
	if _, may := perDirector(path, e.Key); may {
		if v, isSplit := e.Value.(ByDirector); isSplit {
			all, _ := mine.Value.(ByDirector)
			all = maps.Clone(all)
			maps.Copy(all, v)
			mine.Value = all
			return
		}
		mine.Value = m.split(mine.Value, e.Value)
		return
	}
	if all, same := m.addresses(mine.Value, e.Value); same {
		mine.Value = all
		return
	}
	m.notes.Add(ToDo, e.From, fmt.Sprintf("differs between the directors, and must be the same: %s is taken, as %s has it at %s:%d",
		e.Key+" = "+Literal(mine.Value), m.names[0], mine.From.File, mine.From.Line))
}

// addresses merges two lists of addresses of an instance that differ in the interfaces alone.
func (m *merger) addresses(mine, next any) (all []any, same bool) {
	a, ok := mine.([]any)
	b, both := next.([]any)
	if !ok || !both || len(a) != len(b) {
		return nil, false
	}
	for i := range a {
		t, elsewhere := a[i].(*Table)
		u, other := b[i].(*Table)
		switch {
		case elsewhere && other && t.Str("address") == u.Str("address"):
			t = t.Clone()
			t.Set("interface", m.split(t.Get("interface"), u.Get("interface")), t.From)
			all = append(all, t)
		case Equal(a[i], b[i]):
			all = append(all, a[i])
		default:
			return nil, false
		}
	}
	return all, true
}

// split returns a value by director, of the one that the directors so far have and the
// one of the next.
func (m *merger) split(mine, next any) any {
	v, isSplit := mine.(ByDirector)
	v = maps.Clone(v)
	if !isSplit {
		if Equal(mine, next) {
			return mine
		}
		v = ByDirector{}
		for _, name := range m.names {
			v[name] = mine
		}
	}
	if _, given := v[m.next]; !given {
		v[m.next] = next
	}
	return v
}

// identity returns what identifies an element of a list.
var identity = map[string]func(t *Table) any{
	"director":   func(t *Table) any { return t.Str("name") },
	"vrrp":       func(t *Table) any { return t.Str("name") },
	"sync_group": func(t *Table) any { return t.Str("name") },
	"virtual_service": func(t *Table) any {
		return [4]any{t.Get("address"), t.Get("fwmark"), t.Get("family"), t.Get("protocol")}
	},
	"real_servers":  func(t *Table) any { return t.Str("address") },
	"track_scripts": func(t *Table) any { return t.ID },
	"track_files":   func(t *Table) any { return t.ID },
	"routes":        func(t *Table) any { return [3]any{t.Get("to"), t.Get("table"), t.Get("metric")} },
	"rules":         func(t *Table) any { return [3]any{t.Get("from"), t.Get("to"), t.Get("priority")} },
}

// tables merges two lists. Elements that only one has are kept, with a note.
func (m *merger) tables(path, key string, a, b []*Table) []*Table {
	is := identity[key]
	byID := map[any]*Table{}
	for _, t := range a {
		byID[is(t)] = t
	}
	met := map[any]bool{}
	for _, t := range b {
		id := is(t)
		met[id] = true
		mine, known := byID[id]
		if known {
			m.table(path, mine, t)
			continue
		}
		a = append(a, t.Clone())
		byID[id] = a[len(a)-1]
		if key != "director" {
			m.notes.Add(ToDo, t.From, fmt.Sprintf("only %s has this %s: now all directors have it", m.next, tableName(path)))
		}
	}
	for _, t := range a {
		if !met[is(t)] && key != "director" {
			m.notes.Add(ToDo, t.From, fmt.Sprintf("%s does not have this %s: now all directors have it", m.next, tableName(path)))
		}
	}
	return a
}

// tableName names a table in a note.
func tableName(path string) string {
	switch path {
	case "vrrp":
		return "VRRP instance"
	case "sync_group":
		return "program of a sync group"
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
