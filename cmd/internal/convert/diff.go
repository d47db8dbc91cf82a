// The old configuration beside the new one, for a person who compares them.

package convert

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"lvsd/config/schema"
)

// Diff returns the lines of the old configuration beside the keys that they have become,
// for each VRRP instance and each virtual service: addresses, real servers, weights, and
// checks with their times. Defaults are written out.
func (r Result) Diff() string {
	var d differ
	for _, key := range []string{"vrrp", "virtual_service"} {
		kept := map[string]bool{}
		for _, t := range r.after.Tables(key) {
			kept[t.Str("name")] = true
		}
		for _, t := range r.before.Tables(key) {
			d.rows = append(d.rows, [2]string{}, [2]string{t.Str("name") + " (" + place(t.From) + ")"})
			if kept[t.Str("name")] {
				d.table("  ", "", t, subTable(schema.RootTable, key), nil)
			} else {
				d.rows = append(d.rows, [2]string{"  " + t.From.Text, "(not in the result)"})
			}
		}
	}
	return d.String()
}

// unsaid stands for the line of a value that no line says.
const unsaid = "(default)"

// differ collects the rows of both columns.
type differ struct{ rows [][2]string }

// place is file:line.
func place(o Origin) string { return fmt.Sprintf("%s:%d", o.File, o.Line) }

// table adds the keys of a table. What comes from the first line of the block, or of one
// around it, is a default, unless that line says it.
func (d *differ) table(indent, prefix string, t *Table, s *schema.Table, around []Origin) {
	heads := slices.Clone(around)
	if !t.OneLine {
		heads = append(heads, t.From)
	}
	if kind := t.Entry("type"); kind != nil && !t.OneLine {
		heads = append(heads, kind.From)
	}
	var before Origin
	for _, e := range t.ordered(s) {
		sub := subTable(s, e.Key)
		switch v := e.Value.(type) {
		case []*Table:
			for _, one := range v {
				d.inner(indent, prefix+e.Key, one, sub, heads)
			}
			continue
		case *Table:
			d.inner(indent, prefix+e.Key, v, sub, heads)
			continue
		}
		if e.Key == "name" {
			continue
		}
		old := e.From.Text
		switch {
		case t.OneLine && e.From == before:
			old = ""
		case !isIdentity(e.Key) && slices.Contains(heads, e.From):
			old = unsaid
		}
		before = e.From
		d.rows = append(d.rows, [2]string{indent + old, indent + prefix + e.Key + " = " + Literal(e.Value)})
		for _, more := range e.More {
			text := indent + more.Text
			if more.File != e.From.File {
				text += " (" + place(more) + ")"
			}
			d.rows = append(d.rows, [2]string{text})
		}
	}
}

// inner adds a table within another one.
func (d *differ) inner(indent, key string, t *Table, s *schema.Table, around []Origin) {
	if key == "real_servers" {
		d.table(indent+"  ", "", t, s, around)
		return
	}
	d.table(indent, key+".", t, s, around)
}

// isIdentity reports whether the first line of a block says the value of a key.
func isIdentity(key string) bool {
	return key == "address" || key == "fwmark" || key == "type" || key == "command"
}

// String returns the rows in two columns.
func (d *differ) String() string {
	const widest = 60
	left := 0
	for _, r := range d.rows {
		if r[1] != "" {
			left = max(left, utf8.RuneCountInString(r[0]))
		}
	}
	left = min(left, widest)
	var b strings.Builder
	for _, r := range d.rows {
		gap := max(left-utf8.RuneCountInString(r[0]), 0) + 2
		b.WriteString(strings.TrimRight(r[0]+strings.Repeat(" ", gap)+r[1], " ") + "\n")
	}
	return strings.TrimPrefix(b.String(), "\n")
}
