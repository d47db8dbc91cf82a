// This file is the result as a tree: tables of keys with values, each with the
// line that it comes from. It knows nothing of what a key means.
//
// PURE.
package convert

import (
	"maps"
	"reflect"
	"slices"
)

// table is a table of TOML. A value is a string, an int, a bool, a
// time.Duration, []string, []int, []any (of strings and *table), *table,
// []*table, or byDirector.
type table struct {
	entries []entry
	from    origin
	id      string // what it is called where it comes from and has no name here
}

type entry struct {
	key   string
	value any
	from  origin
}

// byDirector is a value that differs between the directors.
type byDirector map[string]any

// set sets a key, or sets it anew.
func (t *table) set(key string, value any, from origin) {
	for i := range t.entries {
		if t.entries[i].key == key {
			t.entries[i].value, t.entries[i].from = value, from
			return
		}
	}
	t.entries = append(t.entries, entry{key, value, from})
}

// get gives the value of a key, or nil.
func (t *table) get(key string) any {
	if e := t.entry(key); e != nil {
		return e.value
	}
	return nil
}

func (t *table) has(key string) bool { return t.entry(key) != nil }

func (t *table) entry(key string) *entry {
	for i := range t.entries {
		if t.entries[i].key == key {
			return &t.entries[i]
		}
	}
	return nil
}

func (t *table) drop(key string) {
	t.entries = slices.DeleteFunc(t.entries, func(e entry) bool { return e.key == key })
}

// text is a key's string, or "".
func (t *table) text(key string) string { s, _ := t.get(key).(string); return s }

// tables is a key's list of tables.
func (t *table) tables(key string) []*table { all, _ := t.get(key).([]*table); return all }

// add puts one more table into a key's list.
func (t *table) add(key string, one *table) { t.set(key, append(t.tables(key), one), one.from) }

// child is the table under a key, made where there is none.
func (t *table) child(key string) *table {
	c, ok := t.get(key).(*table)
	if !ok {
		c = &table{from: t.from}
		t.set(key, c, t.from)
	}
	return c
}

// clone copies a table so that either can change.
func (t *table) clone() *table {
	c := &table{from: t.from, id: t.id, entries: slices.Clone(t.entries)}
	for i, e := range c.entries {
		switch v := e.value.(type) {
		case *table:
			c.entries[i].value = v.clone()
		case []*table:
			all := make([]*table, len(v))
			for j := range v {
				all[j] = v[j].clone()
			}
			c.entries[i].value = all
		case []string:
			c.entries[i].value = slices.Clone(v)
		case []any:
			c.entries[i].value = slices.Clone(v)
		case byDirector:
			c.entries[i].value = maps.Clone(v)
		}
	}
	return c
}

// same says whether two values say the same, wherever they come from and in
// whatever order their keys stand.
func same(a, b any) bool {
	x, isTable := a.(*table)
	y, both := b.(*table)
	if isTable != both {
		return false
	}
	if isTable {
		if len(x.entries) != len(y.entries) {
			return false
		}
		for _, e := range x.entries {
			if f := y.entry(e.key); f == nil || !same(e.value, f.value) {
				return false
			}
		}
		return true
	}
	v, w := reflect.ValueOf(a), reflect.ValueOf(b)
	if v.Kind() == reflect.Slice && w.Kind() == reflect.Slice && v.Type() == w.Type() {
		if v.Len() != w.Len() {
			return false
		}
		for i := range v.Len() {
			if !same(v.Index(i).Interface(), w.Index(i).Interface()) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}
