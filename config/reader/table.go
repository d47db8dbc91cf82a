// Access to a table whose keys have been read, by name.

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
	Director string           // whose values are returned where they differ
	fields   []Field          // in the order of the table's keys
}

// Field is one key of a table.
type Field struct {
	value   any
	Node    *tomlpos.Node
	set     bool // it is in the file
	Invalid bool // it is wrong or missing, which is reported
}

// For returns the same table for one director.
func (t *Table) For(director string) *Table {
	d := *t
	d.Director = director
	return &d
}

// Field returns a key by its name, which must be in the schema.
func (t *Table) Field(name string) (*Field, *schema.Key) {
	i, ok := t.Schema.Index[name]
	if !ok {
		panic("config: no key " + name + " in table " + t.Schema.Name)
	}
	return &t.fields[i], &t.Schema.Keys[i]
}

// IsSet reports whether the key is in the file, valid or not.
func (t *Table) IsSet(name string) bool {
	f, _ := t.Field(name)
	return f.set
}

// Valid reports whether there is no error about the key so far.
func (t *Table) Valid(name string) bool {
	f, _ := t.Field(name)
	return !f.Invalid
}

// Value returns the key's value for the table's director, or its default.
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

// Elements returns the elements of a list of mixed kinds.
func (t *Table) Elements(name string) (all []any) {
	switch v := t.Value(name).(type) {
	case []any:
		return v
	case []map[string]any:
		for _, e := range v {
			all = append(all, e)
		}
	}
	return all
}

func (t *Table) Tables(name string) []*Table { s, _ := t.Value(name).([]*Table); return s }

// Table returns the table under the key; where the file has none, an empty one with
// the defaults.
func (t *Table) Table(name string) *Table {
	if child, ok := t.Value(name).(*Table); ok {
		return child.For(t.Director)
	}
	_, k := t.Field(name)
	return &Table{Reader: t.Reader, Schema: k.Table, Path: t.Path.Key(name), Start: t.Start,
		Director: t.Director, fields: make([]Field, len(k.Table.Keys))}
}

// Locate returns the position and path of the key's value for the table's director; for
// a key that is not in the file, the table's position.
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

// Errorf adds an error about the key's value.
func (t *Table) Errorf(name, format string, args ...any) {
	at, p := t.Locate(name)
	t.ErrorAt(at, p, format, args...)
}

// Invalidate is Errorf for a value that must not be used.
func (t *Table) Invalidate(name, format string, args ...any) {
	t.Errorf(name, format, args...)
	f, _ := t.Field(name)
	f.Invalid = true
}

// Warnf adds a warning about the key's value.
func (t *Table) Warnf(name, format string, args ...any) {
	at, p := t.Locate(name)
	t.WarnAt(at, p, format, args...)
}

// LocateItem returns the position and path of one element of the key's array.
func (t *Table) LocateItem(name string, i int) (tomlpos.Position, *Path) {
	f, _ := t.Field(name)
	p := t.Path.Key(name).Index(i)
	if f.Node == nil {
		return t.Start, p
	}
	return f.Node.Item(i).Value, p
}

// RefuseForeignKeys refuses keys that a check of this type does not have.
func (t *Table) RefuseForeignKeys(kind string) {
	if kind == "" {
		return // reported with the type
	}
	for i, k := range t.Schema.Keys {
		f := &t.fields[i]
		if f.set && !f.Invalid && k.CheckTypes != nil && !slices.Contains(k.CheckTypes, kind) {
			t.ErrorAt(f.Node.Key, t.Path.Key(k.Name), "has no effect in a check of type %q: it belongs to %s%s", kind, schema.JoinOr(k.CheckTypes), t.Schema.Here(k.Name))
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
			problem = regexpProblem(err)
		}
		t.regexps[s] = problem
	}
	if problem != "" {
		t.Errorf(name, `is not a regular expression: %s; put a backslash before characters that are meant literally`, problem)
	}
	return s
}

// regexpProblem returns what is wrong with an expression, and where if that part is
// short: the whole may contain a secret.
func regexpProblem(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) || len(e.Expr) >= 8 {
		if e != nil {
			return e.Code.String()
		}
		return "it cannot be read"
	}
	return e.Code.String() + ": `" + e.Expr + "`"
}
