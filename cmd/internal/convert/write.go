// Writing the result: keys in the order of docs/lvsd.toml, one real server a line.

package convert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lvsd/config/schema"
)

// ordered returns the entries in the order of the schema's keys. Without a schema
// the order is kept.
func (t *Table) ordered(s *schema.Table) []Entry {
	all := slices.Clone(t.Entries)
	if s == nil {
		return all
	}
	rank := func(e Entry) int {
		if i, known := s.Index[e.Key]; known {
			return i
		}
		return len(s.Keys)
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// subTable returns the schema of the table under a key, nil where there is none.
func subTable(s *schema.Table, key string) *schema.Table {
	if k := schemaKey(s, key); k != nil {
		return k.Table
	}
	return nil
}

func schemaKey(s *schema.Table, key string) *schema.Key {
	if s == nil {
		return nil
	}
	if i, known := s.Index[key]; known {
		return &s.Keys[i]
	}
	return nil
}

// write returns the text of the whole result.
func write(root *Table) string {
	var b strings.Builder
	for _, key := range schema.RootTable.KeyNames() {
		switch v := root.Get(key).(type) {
		case *Table:
			section(&b, "["+key+"]", key, v, subTable(schema.RootTable, key))
		case []*Table:
			for i, t := range v {
				if key == "director" && i > 0 { // without empty lines between them
					text := strings.TrimSuffix(b.String(), "\n")
					b.Reset()
					b.WriteString(text)
				}
				section(&b, "[["+key+"]]", key, t, subTable(schema.RootTable, key))
			}
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// section writes a table with a header, followed by the tables below that have a
// header.
func section(b *strings.Builder, head, path string, t *Table, s *schema.Table) {
	if len(t.Entries) == 0 {
		return
	}
	var below []Entry
	var lines strings.Builder
	for _, e := range t.ordered(s) {
		if hasHeader(e, path, subTable(s, e.Key)) {
			below = append(below, e)
			continue
		}
		lines.WriteString(bare(e.Key) + " = " + long(e, subTable(s, e.Key)) + "\n")
	}
	if lines.Len() > 0 || strings.HasPrefix(head, "[[") {
		b.WriteString(head + "\n" + lines.String() + "\n")
	}
	for _, e := range below {
		inner := path + "." + e.Key
		switch v := e.Value.(type) {
		case *Table:
			section(b, "["+inner+"]", inner, v, subTable(s, e.Key))
		case []*Table:
			for _, one := range v {
				section(b, "[["+inner+"]]", inner, one, subTable(s, e.Key))
			}
		}
	}
}

// width is from which a list is broken into lines, and wide from which a table gets a
// header, so that a common check stays on one line.
const width, wide = 100, 120

// hasHeader reports whether a table, or each of a list, is written below a header: one
// that would be a long line.
func hasHeader(e Entry, path string, s *schema.Table) bool {
	if s == nil {
		return false
	}
	switch v := e.Value.(type) {
	case *Table:
		return path == "ipvs" || len(e.Key)+len(" = ")+len(literal(v, s)) > wide
	case []*Table:
		return slices.ContainsFunc(v, func(t *Table) bool { return len(literal(t, s)) > wide })
	}
	return false
}

// long writes a value of a section, over several lines if needed.
func long(e Entry, s *schema.Table) string {
	short := literal(e.Value, s)
	var items []string
	switch v := e.Value.(type) {
	case []*Table:
		for _, t := range v {
			items = append(items, literal(t, s))
		}
		if e.Key == "real_servers" {
			items = aligned(v, s)
		} else if len(v) == 1 && len(short)+len(e.Key) < width {
			return short
		}
	case []string:
		if len(short)+len(e.Key) < width {
			return short
		}
		for _, s := range v {
			items = append(items, Literal(s))
		}
	default:
		return short
	}
	if len(items) == 0 {
		return "[]"
	}
	return "[\n  " + strings.Join(items, ",\n  ") + ",\n]"
}

// aligned writes one real server a line, with the weights aligned.
func aligned(all []*Table, s *schema.Table) []string {
	heads, widest := make([]string, len(all)), 0
	for i, t := range all {
		heads[i] = Literal(t.Get("address"))
		widest = max(widest, len(heads[i]))
	}
	lines := make([]string, len(all))
	for i, t := range all {
		rest := t.Clone()
		rest.Delete("address")
		rest.Delete("weight")
		var parts []string
		if t.Has("weight") {
			parts = append(parts, strings.Repeat(" ", widest-len(heads[i]))+"weight = "+Literal(t.Get("weight")))
		}
		if body := inline(rest, s); body != "" {
			parts = slices.Insert(parts, min(1, len(parts)), body)
		}
		lines[i] = "{ address = " + strings.Join(append([]string{heads[i]}, parts...), ", ") + " }"
	}
	return lines
}

// inline writes the keys of a table on one line, without the braces.
func inline(t *Table, s *schema.Table) string {
	var parts []string
	for _, e := range t.ordered(s) {
		parts = append(parts, bare(e.Key)+" = "+literal(e.Value, subTable(s, e.Key)))
	}
	return strings.Join(parts, ", ")
}

// Literal writes a value on one line, its keys in their own order.
func Literal(value any) string { return literal(value, nil) }

// literal writes a value on one line, with the keys in the order of the schema.
func literal(value any, s *schema.Table) string {
	var parts []string
	switch v := value.(type) {
	case string:
		return quote(v)
	case time.Duration:
		return quote(FormatDuration(v))
	case *Table:
		if body := inline(v, s); body != "" {
			return "{ " + body + " }"
		}
		return "{}"
	case ByDirector:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, bare(name)+" = "+Literal(v[name]))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case []*Table:
		for _, t := range v {
			parts = append(parts, literal(t, s))
		}
	case []string:
		for _, one := range v {
			parts = append(parts, quote(one))
		}
	case []any:
		for _, one := range v {
			parts = append(parts, literal(one, s))
		}
	default:
		return fmt.Sprint(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// bare writes a key, in quotes if needed.
func bare(key string) string {
	if key != "" && strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		return key
	}
	return quote(key)
}

// quote writes a string of TOML: in single quotes where that saves
// backslashes, as in a regular expression.
func quote(s string) string {
	s = strings.ToValidUTF8(s, "�")
	plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\'' })
	if plain && strings.ContainsAny(s, `\"`) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// FormatDuration writes "90s" or "500ms" or "2.5s", and "15m" for whole minutes.
func FormatDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0 && d > time.Minute:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	case d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return d.String()
}
