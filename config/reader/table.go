// This file is what lies between the schema and the builders: a table whose
// keys have been read, asked by name. It never reads the text.

package reader

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"lvsd/config/schema"
	"lvsd/config/tomlpos"
)

// Table is one table of the file.
type Table struct {
	*Reader
	Schema   *schema.Table
	Path     *Path
	Start    tomlpos.Position // where the table begins
	Director string           // for whom values that differ are taken
	fields   []Field          // in the order of the table's keys
}

// Field is one key of a record.
type Field struct {
	value   any
	Node    *tomlpos.Node
	set     bool // it is in the file
	Invalid bool // it is wrong or missing, which has been said; nothing should be concluded from it
}

// For is the same record as seen by one director.
func (t *Table) For(director string) *Table {
	d := *t
	d.Director = director
	return &d
}

// Field finds a key by its name, which must be in the schema.
func (t *Table) Field(name string) (*Field, *schema.Key) {
	i, ok := t.Schema.Index[name]
	if !ok {
		panic("config: no key " + name + " in table " + t.Schema.Name)
	}
	return &t.fields[i], &t.Schema.Keys[i]
}

// IsSet says that the key is in the file, right or wrong.
func (t *Table) IsSet(name string) bool {
	f, _ := t.Field(name)
	return f.set
}

// Valid says that nothing is wrong with the key so far.
func (t *Table) Valid(name string) bool {
	f, _ := t.Field(name)
	return !f.Invalid
}

// Value is the key's value for the record's director, or its default.
func (t *Table) Value(name string) any {
	f, k := t.Field(name)
	if !f.set || f.Invalid {
		return k.Default
	}
	if each, ok := f.value.(ByDirector); ok {
		return each[t.Director]
	}
	return f.value
}

func (t *Table) Str(name string) string { s, _ := t.Value(name).(string); return s }

func (t *Table) Int(name string) int64 { i, _ := t.Value(name).(int64); return i }

func (t *Table) Bool(name string) bool { b, _ := t.Value(name).(bool); return b }

func (t *Table) Duration(name string) time.Duration { d, _ := t.Value(name).(time.Duration); return d }

func (table *Table) Time(name string) time.Time { t, _ := table.Value(name).(time.Time); return t }

func (t *Table) Strings(name string) []string { s, _ := t.Value(name).([]string); return s }

func (t *Table) Tables(name string) []*Table { s, _ := t.Value(name).([]*Table); return s }

// Table is the table under the key; where the file has none, an empty one, so
// that its defaults can be asked for.
func (t *Table) Table(name string) *Table {
	if child, ok := t.Value(name).(*Table); ok {
		return child.For(t.Director)
	}
	_, k := t.Field(name)
	return &Table{Reader: t.Reader, Schema: k.Table, Path: t.Path.Key(name), Start: t.Start,
		Director: t.Director, fields: make([]Field, len(k.Table.Keys))}
}

// Locate is the place and path of the key's value for the record's director; of
// a key that is not in the file the table's place.
func (t *Table) Locate(name string) (tomlpos.Position, *Path) {
	f, _ := t.Field(name)
	p := t.Path.Key(name)
	if f.Node == nil {
		return t.Start, p
	}
	if _, ok := f.value.(ByDirector); ok {
		return f.Node.Get(t.Director).Value, p.Key(t.Director)
	}
	return f.Node.Value, p
}

// Errorf notes a mistake in the key's value. Nothing further should be
// concluded from it.
func (t *Table) Errorf(name, format string, args ...any) {
	at, p := t.Locate(name)
	t.ErrorAt(at, p, format, args...)
}

// Invalidate is complain where the value must not be used by anybody.
func (t *Table) Invalidate(name, format string, args ...any) {
	t.Errorf(name, format, args...)
	f, _ := t.Field(name)
	f.Invalid = true
}

// Warnf notes a warning about the key's value.
func (t *Table) Warnf(name, format string, args ...any) {
	at, p := t.Locate(name)
	t.WarnAt(at, p, format, args...)
}

// LocateItem is the place and path of one element of the key's array.
func (t *Table) LocateItem(name string, i int) (tomlpos.Position, *Path) {
	f, _ := t.Field(name)
	p := t.Path.Key(name).Index(i)
	if f.Node == nil {
		return t.Start, p
	}
	return f.Node.Item(i).Value, p
}

// RefuseForeignKeys refuses keys that a check of this type does not look at.
func (t *Table) RefuseForeignKeys(kind string) {
	if kind == "" {
		return // what is wrong with the type has been said
	}
	for i, k := range t.Schema.Keys {
		f := &t.fields[i]
		if f.set && !f.Invalid && k.CheckTypes != nil && !slices.Contains(k.CheckTypes, kind) {
			t.ErrorAt(f.Node.Key, t.Path.Key(k.Name), "means nothing in a check of type %q: it belongs to %s", kind, schema.JoinOr(k.CheckTypes))
			f.Invalid = true
		}
	}
}

// Regexp reads a regular expression. Each is compiled once, however many real
// servers carry it.
func (t *Table) Regexp(name string) string {
	s := t.Str(name)
	problem, known := t.regexps[s]
	if !known {
		if _, err := regexp.Compile(s); err != nil {
			problem = regexpComplaint(err)
		}
		t.regexps[s] = problem
	}
	if problem != "" {
		t.Errorf(name, `is not a regular expression: %s; put a backslash before characters that are meant literally`, problem)
	}
	return s
}

// regexpComplaint is what is wrong with an expression, with the place in it where
// that is short: a whole one may have a secret in it.
func regexpComplaint(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) || len(e.Expr) >= 8 {
		if e != nil {
			return e.Code.String()
		}
		return "it cannot be read"
	}
	return e.Code.String() + ": `" + e.Expr + "`"
}
