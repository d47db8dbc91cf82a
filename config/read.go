// This file measures what the TOML library decoded by the schema: unknown and
// missing keys, types, ranges, choices, values that differ between directors.
// What comes out are records: every key of a table with a value of the right Go type, and the place of it. It never judges one
// key by another; that is done where the records are built into a Config.
//
// PURE.
package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxErrors is how many mistakes are listed. A file of rubbish must not bring
// forth more text than anybody reads.
const maxErrors = 1000

// reader collects what is wrong with one file.
type reader struct {
	file      string
	directors []string // as far as they can be read
	errors    []Error
	warnings  []Error
	more      int               // mistakes beyond maxErrors
	moreDoubt int               // warnings beyond it
	patterns  map[string]string // regular expressions, and what is wrong with each
}

// path is the way to a table or key, from the inside out.
type path struct {
	up    *path
	name  string
	index int // of an array element; -1 for a key
}

func (p *path) key(name string) *path { return &path{up: p, name: name, index: -1} }
func (p *path) item(i int) *path      { return &path{up: p, index: i} }

// String writes the path as the user would: virtual_service[0].real_servers[1].
func (p *path) String() string {
	var parts []*path
	for ; p != nil; p = p.up {
		parts = append(parts, p)
	}
	var b strings.Builder
	for _, p := range slices.Backward(parts) {
		if p.index >= 0 {
			fmt.Fprintf(&b, "[%d]", p.index)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(written(p.name))
	}
	return b.String()
}

// written is a key as it is written: in quotes where it needs them.
func written(name string) string {
	quotes := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	}
	if name == "" || strings.ContainsFunc(name, quotes) {
		return strconv.Quote(name)
	}
	return name
}

// fail notes a mistake.
func (r *reader) fail(at Position, p *path, format string, args ...any) {
	if len(r.errors) == maxErrors {
		r.more++
		return
	}
	r.errors = append(r.errors, Error{r.file, at, p.String(), fmt.Sprintf(format, args...)})
}

// warn notes what is valid and hardly meant.
func (r *reader) warn(at Position, p *path, format string, args ...any) {
	if len(r.warnings) == maxErrors {
		r.moreDoubt++
		return
	}
	r.warnings = append(r.warnings, Error{r.file, at, p.String(), fmt.Sprintf(format, args...)})
}

// listed is what was noted in the order of the file, and at its end how much
// more there was.
func listed(noted []Error, more int, what string) []Error {
	noted = sorted(noted)
	if more > 0 {
		last := noted[len(noted)-1]
		last.Path, last.Message = "", fmt.Sprintf("and %d more %s, not listed", more, what)
		noted = append(noted, last)
	}
	return noted
}

// table reads one table by its schema.
func (r *reader) table(values map[string]any, n *node, t *table, p *path) *record {
	c := &record{reader: r, table: t, path: p, at: n.value, fields: make([]field, len(t.keys))}
	for _, name := range n.names {
		if v, ok := values[name]; ok {
			c.read(name, v, n.get(name))
		}
	}
	if len(values) > len(n.names) { // keys without a place, which should not be
		for name, v := range values {
			if _, ok := n.children[name]; !ok {
				c.read(name, v, n.get(name))
			}
		}
	}
	for i, k := range t.keys {
		if k.required && !c.fields[i].set {
			r.fail(n.value, p.key(k.name), "missing: add it, there is no default")
			c.fields[i].bad = true
		}
	}
	return c
}

// read takes in one key of the table.
func (c *record) read(name string, v any, n *node) {
	i, known := c.table.index[name]
	if !known {
		if len(c.errors) < maxErrors {
			c.fail(n.key, c.path.key(name), "unknown key%s", c.table.suggest(name))
		} else {
			c.more++
		}
		return
	}
	value, ok := c.value(&c.table.keys[i], v, n, c.path)
	c.fields[i] = field{value: value, node: n, set: true, bad: !ok}
}

// value reads one value of whatever kind, with all that is in it.
func (r *reader) value(k *key, v any, n *node, up *path) (value any, ok bool) {
	one, many := v.(map[string]any)
	switch k.kind {
	case kindTable:
		if !many {
			r.fail(n.value, up.key(k.name), "must be a table: write [%s] once", k.name)
			return nil, false
		}
		value, ok = r.table(one, n, k.table, up.key(k.name)), true
	case kindTables, kindChecks:
		if k.kind == kindChecks && many {
			return []*record{r.table(one, n, k.table, up.key(k.name))}, true
		}
		value, ok = r.tables(k, v, n, up)
	case kindStrings:
		value, ok = r.strings(k, v, n, up)
	case kindWords:
		value, ok = r.words(k, v, n, up)
	case kindInts:
		value, ok = r.ints(k, v, n, up)
	case kindForward, kindTLS:
		if !many {
			return r.scalar(k, v, n, up.key(k.name))
		}
		value, ok = r.table(one, n, k.table, up.key(k.name)), true
	default:
		if many && k.each {
			return r.eachDirector(k, one, n, up)
		}
		return r.scalar(k, v, n, up.key(k.name))
	}
	return value, ok
}

// tables reads an array of tables, in either spelling.
func (r *reader) tables(k *key, v any, n *node, up *path) (any, bool) {
	var elements []any
	switch v := v.(type) {
	case []map[string]any:
		for _, e := range v {
			elements = append(elements, e)
		}
	case []any:
		elements = v
	default:
		if _, one := v.(map[string]any); one {
			r.fail(n.value, up.key(k.name), "must be an array of tables: write [[%s]]", k.name)
		} else {
			r.fail(n.value, up.key(k.name), "must be %s, not %s", k.kind.wants(), kindOf(v))
		}
		return nil, false
	}
	records, ok := make([]*record, 0, len(elements)), true
	above := up.key(k.name)
	for i, e := range elements {
		values, isTable := e.(map[string]any)
		if !isTable {
			r.fail(n.item(i).value, above.item(i), "must be a table in braces, not %s", kindOf(e))
			ok = false
			continue
		}
		records = append(records, r.table(values, n.item(i), k.table, above.item(i)))
	}
	return records, ok
}

// strings reads an array of strings.
func (r *reader) strings(k *key, v any, n *node, up *path) (any, bool) {
	elements, ok := v.([]any)
	if !ok {
		r.fail(n.value, up.key(k.name), "must be %s, not %s", k.kind.wants(), kindOf(v))
		return nil, false
	}
	words := make([]string, 0, len(elements))
	for i, e := range elements {
		s, complaint := k.word(e)
		if complaint != "" {
			r.fail(n.item(i).value, up.key(k.name).item(i), "%s", complaint)
			ok = false
			continue
		}
		words = append(words, s)
	}
	return words, ok
}

// ints reads an array of whole numbers.
func (r *reader) ints(k *key, v any, n *node, up *path) (any, bool) {
	elements, ok := v.([]any)
	if !ok {
		r.fail(n.value, up.key(k.name), "must be %s, not %s", k.kind.wants(), kindOf(v))
		return nil, false
	}
	numbers := make([]int64, 0, len(elements))
	for i, e := range elements {
		number, isInt := e.(int64)
		if !isInt {
			r.fail(n.item(i).value, up.key(k.name).item(i), "must be a whole number without quotes, not %s", kindOf(e))
			ok = false
			continue
		}
		numbers = append(numbers, number)
	}
	return numbers, ok
}

// words reads a table of strings under names of the user's choosing.
func (r *reader) words(k *key, v any, n *node, up *path) (any, bool) {
	values, ok := v.(map[string]any)
	if !ok {
		r.fail(n.value, up.key(k.name), "must be %s, not %s", k.kind.wants(), veiledKind(v))
		return nil, false
	}
	words := make(map[string]string, len(values))
	for name, e := range values {
		s, complaint := k.word(e)
		if complaint != "" {
			r.fail(n.get(name).value, up.key(k.name).key(name), "%s", complaint)
			ok = false
			continue
		}
		words[name] = s
	}
	return words, ok
}

// byDirector is a value that differs between the directors.
type byDirector map[string]any

// eachDirector reads { lb1 = …, lb2 = … }: a value for every director.
func (r *reader) eachDirector(k *key, values map[string]any, n *node, up *path) (any, bool) {
	p := up.key(k.name)
	if len(r.directors) == 0 {
		r.fail(n.value, p, "a value for each director needs [[director]] entries that name them; without, write one value")
		return nil, false
	}
	all, ok := make(byDirector, len(values)), true
	for name, v := range values {
		at := n.get(name)
		if !slices.Contains(r.directors, name) {
			r.fail(at.key, p.key(name), "no [[director]] has this name%s", suggest(name, r.directors))
			ok = false
			continue
		}
		value, good := r.scalar(k, v, at, p.key(name))
		all[name] = value
		ok = ok && good
	}
	for _, name := range r.directors {
		if _, given := values[name]; !given {
			r.fail(n.value, p, "no value for director %s: add %s = …", name, written(name))
			ok = false
		}
	}
	return all, ok
}

// scalar reads a value that holds no others.
func (r *reader) scalar(k *key, v any, n *node, p *path) (any, bool) {
	value, complaint := k.scalar(v)
	if complaint != "" {
		r.fail(n.value, p, "%s", complaint)
		return nil, false
	}
	return value, true
}

// scalar types one value, or says what is wrong with it.
func (k *key) scalar(v any) (value any, complaint string) {
	switch k.kind {
	case kindString, kindMask:
		if i, ok := v.(int64); ok && k.kind == kindMask {
			return strconv.FormatInt(i, 10), ""
		}
		s, complaint := k.word(v)
		return s, complaint
	case kindInt:
		if i, ok := v.(int64); ok {
			return i, k.within(i, func(i int64) string { return strconv.FormatInt(i, 10) })
		}
	case kindForward:
		if _, ok := v.(string); !ok {
			break
		}
		s, complaint := k.word(v)
		return s, complaint
	case kindBool, kindTLS:
		if b, ok := v.(bool); ok {
			return b, ""
		}
	case kindDuration:
		switch v := v.(type) {
		case string:
			d, ok := duration(v)
			if !ok {
				return nil, fmt.Sprintf("must be %s, not %q; units are ms, s, m, h", k.kind.wants(), v)
			}
			return d, k.within(int64(d), func(i int64) string { return short(time.Duration(i)) })
		case int64:
			return nil, fmt.Sprintf("must be %s; the bare number %d does not say which unit", k.kind.wants(), v)
		}
	case kindTime:
		if at, ok := v.(time.Time); ok {
			return moment(at)
		}
	case kindList:
		switch v := v.(type) {
		case []any:
			return v, ""
		case []map[string]any:
			return v, ""
		}
	case kindAny:
		return v, ""
	}
	if _, isTable := v.(map[string]any); isTable {
		return nil, fmt.Sprintf("must be %s, one for all directors, not a table", k.kind.wants())
	}
	return nil, fmt.Sprintf("must be %s, not %s", k.kind.wants(), kindOf(v))
}

// word types a string and looks it up among the key's choices.
func (k *key) word(v any) (s, complaint string) {
	s, ok := v.(string)
	switch {
	case !ok:
		return "", "must be a string in quotes, not " + kindOf(v)
	case len(k.choices) == 0:
		return s, ""
	case slices.Contains(k.choices, s):
		return s, ""
	}
	complaint = fmt.Sprintf("must be %s, not %s", list(k.choices), quoted(s))
	if near := nearest(s, k.choices); near != "" {
		complaint += fmt.Sprintf("; did you mean %q?", near)
	}
	return "", complaint
}

// within holds a number against the key's range.
func (k *key) within(i int64, write func(int64) string) string {
	if k.min == 0 && k.max == 0 || k.min <= i && i <= k.max {
		return ""
	}
	return fmt.Sprintf("must be %s to %s, not %s", write(k.min), write(k.max), write(i))
}

// duration reads a number with a unit; "0" alone has none.
func duration(s string) (time.Duration, bool) {
	d, err := time.ParseDuration(s)
	if err != nil || strings.Trim(s, "+-.0123456789") == "" {
		return 0, false
	}
	return d, true
}

// kindOf names the type of a value that should have been another.
func kindOf(v any) string {
	switch v := v.(type) {
	case string:
		return "the string " + quoted(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "a number that is none"
		}
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case []any, []map[string]any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "something else"
}

// moment takes a time that means the same on every host: a local one, as TOML
// calls those without an offset, does not, and a date is no moment.
func moment(at time.Time) (any, string) {
	switch at.Location().String() { // the library's names for what was not written
	case "datetime-local":
		return nil, "must say from which zone it is: add Z for UTC, or an offset such as +01:00"
	case "date-local", "time-local":
		return nil, "must be a date and a time with its zone, such as 2026-12-01T06:00:00Z"
	}
	return at.UTC(), ""
}

// veiled is quoted for what may be a secret: messages go to the log, to the status
// and to the page. A short one shows the slip, a long one is only counted.
func veiled(s string) string {
	if len(s) < 8 {
		return quoted(s)
	}
	return fmt.Sprintf("these %d characters (not shown: they may be secret)", len([]rune(s)))
}

// veiledKind is kindOf for what may be a secret.
func veiledKind(v any) string {
	if text, is := v.(string); is {
		return veiled(text)
	}
	return kindOf(v)
}

// quoted writes a user's string into a message: in quotes, and not endless.
func quoted(s string) string {
	if r := []rune(s); len(s) > 80 && len(r) > 60 {
		return strconv.Quote(string(r[:60])) + "…"
	}
	return strconv.Quote(s)
}
