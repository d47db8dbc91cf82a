// The result as a tree: tables of keys with values, each with the line that it
// comes from.

package convert

import (
	"maps"
	"reflect"
	"slices"
)

// Table is a table of TOML. A value is a string, an int, a bool, a
// time.Duration, []string, []int, []any (of strings and *Table), *Table,
// []*Table, or ByDirector.
type Table struct {
	Entries []Entry
	From    Origin
	ID      string // its name in the source, where it has none in the result
	OneLine bool   // From says the values of its keys, too, and not only where they begin
}

type Entry struct {
	Key   string
	Value any
	From  Origin
	More  []Origin // further lines that the value comes from
}

// ByDirector is a value that differs between the directors.
type ByDirector map[string]any

// Set sets a key.
func (t *Table) Set(key string, value any, from Origin) {
	for i := range t.Entries {
		if t.Entries[i].Key == key {
			t.Entries[i] = Entry{Key: key, Value: value, From: from}
			return
		}
	}
	t.Entries = append(t.Entries, Entry{Key: key, Value: value, From: from})
}

// Extend sets a key whose value so far has got longer by what a line says.
func (t *Table) Extend(key string, value any, from Origin) {
	if e := t.Entry(key); e != nil {
		e.Value = value
		e.from(from)
		return
	}
	t.Set(key, value, from)
}

// from adds lines that the value comes from.
func (e *Entry) from(lines ...Origin) {
	for _, l := range lines {
		if l != e.From && !slices.Contains(e.More, l) {
			e.More = append(slices.Clone(e.More), l)
		}
	}
}

// Get returns the value of a key, or nil.
func (t *Table) Get(key string) any {
	if e := t.Entry(key); e != nil {
		return e.Value
	}
	return nil
}

func (t *Table) Has(key string) bool { return t.Entry(key) != nil }

func (t *Table) Entry(key string) *Entry {
	for i := range t.Entries {
		if t.Entries[i].Key == key {
			return &t.Entries[i]
		}
	}
	return nil
}

func (t *Table) Delete(key string) {
	t.Entries = slices.DeleteFunc(t.Entries, func(e Entry) bool { return e.Key == key })
}

// Str returns a key's string, or "".
func (t *Table) Str(key string) string { s, _ := t.Get(key).(string); return s }

// Tables returns a key's list of tables.
func (t *Table) Tables(key string) []*Table { all, _ := t.Get(key).([]*Table); return all }

// Append adds a table to a key's list.
func (t *Table) Append(key string, one *Table) { t.Set(key, append(t.Tables(key), one), one.From) }

// Child returns the table under a key, and creates it where there is none.
func (t *Table) Child(key string) *Table {
	c, ok := t.Get(key).(*Table)
	if !ok {
		c = &Table{From: t.From}
		t.Set(key, c, t.From)
	}
	return c
}

// Clone returns an independent copy.
func (t *Table) Clone() *Table {
	c := &Table{From: t.From, ID: t.ID, OneLine: t.OneLine, Entries: slices.Clone(t.Entries)}
	for i, e := range c.Entries {
		switch v := e.Value.(type) {
		case *Table:
			c.Entries[i].Value = v.Clone()
		case []*Table:
			all := make([]*Table, len(v))
			for j := range v {
				all[j] = v[j].Clone()
			}
			c.Entries[i].Value = all
		case []string:
			c.Entries[i].Value = slices.Clone(v)
		case []any:
			c.Entries[i].Value = slices.Clone(v)
		case ByDirector:
			c.Entries[i].Value = maps.Clone(v)
		}
	}
	return c
}

// Equal reports whether two values are equal, regardless of their origin and of the
// order of keys.
func Equal(a, b any) bool {
	x, isTable := a.(*Table)
	y, both := b.(*Table)
	if isTable != both {
		return false
	}
	if isTable {
		if len(x.Entries) != len(y.Entries) {
			return false
		}
		for _, e := range x.Entries {
			if f := y.Entry(e.Key); f == nil || !Equal(e.Value, f.Value) {
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
			if !Equal(v.Index(i).Interface(), w.Index(i).Interface()) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}
