// This file is what lies between the schema and the builders: a table whose
// keys have been read, asked by name. It never reads the text.
//
// PURE.
package config

import "time"

// record is one table of the file.
type record struct {
	*reader
	table    *table
	path     *path
	at       Position // where the table begins
	director string   // for whom values that differ are taken
	fields   []field  // in the order of the table's keys
}

// field is one key of a record.
type field struct {
	value any
	node  *node
	set   bool // it is in the file
	bad   bool // it is wrong or missing, which has been said; nothing should be concluded from it
}

// of is the same record as seen by one director.
func (c *record) of(director string) *record {
	d := *c
	d.director = director
	return &d
}

// field finds a key by its name, which must be in the schema.
func (c *record) field(name string) (*field, *key) {
	i, ok := c.table.index[name]
	if !ok {
		panic("config: no key " + name + " in table " + c.table.name)
	}
	return &c.fields[i], &c.table.keys[i]
}

// set says that the key is in the file, right or wrong.
func (c *record) set(name string) bool {
	f, _ := c.field(name)
	return f.set
}

// good says that nothing is wrong with the key so far.
func (c *record) good(name string) bool {
	f, _ := c.field(name)
	return !f.bad
}

// get is the key's value for the record's director, or its default.
func (c *record) get(name string) any {
	f, k := c.field(name)
	if !f.set || f.bad {
		return k.def
	}
	if each, ok := f.value.(byDirector); ok {
		return each[c.director]
	}
	return f.value
}

func (c *record) str(name string) string { s, _ := c.get(name).(string); return s }

func (c *record) num(name string) int64 { i, _ := c.get(name).(int64); return i }

func (c *record) flag(name string) bool { b, _ := c.get(name).(bool); return b }

func (c *record) duration(name string) time.Duration { d, _ := c.get(name).(time.Duration); return d }

func (c *record) time(name string) time.Time { t, _ := c.get(name).(time.Time); return t }

func (c *record) words(name string) []string { s, _ := c.get(name).([]string); return s }

func (c *record) records(name string) []*record { s, _ := c.get(name).([]*record); return s }

// child is the table under the key; where the file has none, an empty one, so
// that its defaults can be asked for.
func (c *record) child(name string) *record {
	if child, ok := c.get(name).(*record); ok {
		return child.of(c.director)
	}
	_, k := c.field(name)
	return &record{reader: c.reader, table: k.table, path: c.path.key(name), at: c.at,
		director: c.director, fields: make([]field, len(k.table.keys))}
}

// where is the place and path of the key's value for the record's director; of
// a key that is not in the file the table's place.
func (c *record) where(name string) (Position, *path) {
	f, _ := c.field(name)
	p := c.path.key(name)
	if f.node == nil {
		return c.at, p
	}
	if _, ok := f.value.(byDirector); ok {
		return f.node.get(c.director).value, p.key(c.director)
	}
	return f.node.value, p
}

// complain notes a mistake in the key's value. Nothing further should be
// concluded from it.
func (c *record) complain(name, format string, args ...any) {
	at, p := c.where(name)
	c.fail(at, p, format, args...)
}

// spoil is complain where the value must not be used by anybody.
func (c *record) spoil(name, format string, args ...any) {
	c.complain(name, format, args...)
	f, _ := c.field(name)
	f.bad = true
}

// doubt notes a warning about the key's value.
func (c *record) doubt(name, format string, args ...any) {
	at, p := c.where(name)
	c.warn(at, p, format, args...)
}

// item is the place and path of one element of the key's array.
func (c *record) item(name string, i int) (Position, *path) {
	f, _ := c.field(name)
	p := c.path.key(name).item(i)
	if f.node == nil {
		return c.at, p
	}
	return f.node.item(i).value, p
}
