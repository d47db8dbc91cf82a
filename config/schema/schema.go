// What a schema is made of: tables of keys.

package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"lvsd/config/values"
)

// Kind is the type of a key's value.
type Kind uint8

const (
	String        Kind = iota // string
	Int                       // int64
	Bool                      // bool
	Duration                  // time.Duration, written as a string with a unit
	Time                      // time.Time, with its offset from UTC
	Strings                   // []string
	StringMap                 // map[string]string: a table of names of the user's choosing
	Netmask                   // string, or an integer
	SubTable                  // *reader.Table
	Tables                    // []*reader.Table, written as an array of tables
	TableOrTables             // []*reader.Table, written as one table or an array of them
	Ints                      // []int64
	StringOrTable             // string, or *reader.Table: a table with a tunnel's settings
	BoolOrTable               // bool, or *reader.Table: a table with the settings of TLS
	MixedList                 // []any: strings and tables
	Any                       // any: checked by the builder
)

// Describe returns what a value of the kind looks like, to follow "must be".
func (k Kind) Describe() string {
	switch k {
	case String:
		return "a string in quotes"
	case Int:
		return "a whole number without quotes"
	case Bool:
		return "true or false, without quotes"
	case Time:
		return "a time without quotes, such as 2026-12-01T06:00:00Z"
	case Duration:
		return `a duration in quotes with a unit, such as "5s" or "500ms"`
	case Strings:
		return `an array of strings, such as ["…", "…"]`
	case StringMap:
		return `a table of strings, such as { "…" = "…" }`
	case Netmask:
		return "a netmask or a prefix length in quotes"
	case SubTable:
		return "a table"
	case Tables:
		return "an array of tables"
	case TableOrTables:
		return `a table such as { type = "connect" }, or an array of them`
	case Ints:
		return "an array of whole numbers, such as [3, 50]"
	case StringOrTable:
		return "a string in quotes, or a table with a tunnel's settings"
	case BoolOrTable:
		return "true, false, or a table with the settings of TLS"
	case MixedList:
		return "an array"
	}
	return "a value"
}

// Key describes one key.
type Key struct {
	Name string
	Kind Kind

	// Default is the default as the reader would give it: string, int64, bool,
	// time.Duration, []string, []any. Where the default depends on other keys
	// it is nil, and Computed describes it.
	Default  any
	Computed string
	Required bool

	// PerDirector: the value may differ between the directors.
	PerDirector bool

	Choices    []string // of a string
	Min        int64    // of an int, or of a duration in nanoseconds; both 0: any
	Max        int64
	Table      *Table   // of SubTable, Tables, TableOrTables
	CheckTypes []string // of a check's key: the types of check that it belongs to; nil = all
}

// Table is a schema's table.
type Table struct {
	Name  string // for docs/lvsd.toml
	Keys  []Key
	Index map[string]int
	// Renamed are the names of keys of earlier versions, with what they are called now.
	Renamed map[string]string
}

// renamed returns the table with a key that has another name in earlier versions.
func (t *Table) renamed(was, is string) *Table {
	if t.Renamed == nil {
		t.Renamed = map[string]string{}
	}
	t.Renamed[was] = is
	return t
}

// newTable builds a table. It panics on a duplicate key and on a default of the wrong
// kind: errors in keys.go that any test shows.
func newTable(name string, keys ...Key) *Table {
	t := &Table{Name: name, Keys: keys, Index: make(map[string]int, len(keys))}
	for i, k := range keys {
		if _, twice := t.Index[k.Name]; twice {
			panic("config: key " + name + "." + k.Name + " twice")
		}
		if k.Default != nil && !k.Accepts(k.Default) {
			panic("config: default of " + name + "." + k.Name)
		}
		t.Index[k.Name] = i
	}
	return t
}

// Accepts reports whether a Go value is of the key's kind.
func (k *Key) Accepts(v any) bool {
	ok := false
	switch k.Kind {
	case String, Netmask, StringOrTable:
		_, ok = v.(string)
	case BoolOrTable:
		_, ok = v.(bool)
	case Ints:
		_, ok = v.([]int64)
	case Int:
		_, ok = v.(int64)
	case Bool:
		_, ok = v.(bool)
	case Duration:
		_, ok = v.(time.Duration)
	case Time:
		_, ok = v.(time.Time)
	case Strings:
		_, ok = v.([]string)
	case StringMap:
		_, ok = v.(map[string]string)
	case MixedList, Tables:
		_, ok = v.([]any)
	case Any:
		ok = true
	}
	return ok
}

// KeyNames returns the keys of the table in their order.
func (t *Table) KeyNames() (all []string) {
	for _, k := range t.Keys {
		all = append(all, k.Name)
	}
	return all
}

// Literal writes a default as it is written in the file.
func Literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case time.Duration:
		return strconv.Quote(values.FormatDuration(v))
	case []string:
		quoted := make([]string, len(v))
		for i := range v {
			quoted[i] = strconv.Quote(v[i])
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case []int64:
		return strings.Join(strings.Fields(fmt.Sprint(v)), ", ")
	case []any:
		return "[]"
	case map[string]string:
		return "{}"
	}
	return fmt.Sprint(v)
}

// JoinOr writes choices for a message: "a", "b" or "c".
func JoinOr(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if n := len(quoted); n > 1 {
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
	return strings.Join(quoted, "")
}
