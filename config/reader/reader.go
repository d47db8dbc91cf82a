// Reading decoded TOML by the schema: unknown and missing keys, types, ranges,
// choices, and values that differ between directors.

package reader

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"lvsd/config/schema"
	"lvsd/config/tomlpos"
)

// MaxDirectors is far above the two that share a file.
const MaxDirectors = 64

// maxErrors is how many errors are listed. It bounds the output for a file that is
// not a configuration.
const maxErrors = 1000

// Reader reads the tables of one file, and collects its errors and warnings.
type Reader struct {
	// FileOf returns the file that a line of the text is of, "" for the first, and the line
	// there; nil for the text of one file.
	FileOf func(line int) (file string, local int)

	file         string
	directors    []string // as far as they can be read
	errors       []Error
	warnings     []Error
	limit        int // of errors and of warnings that are listed
	moreErrors   int // beyond it
	moreWarnings int
	regexps      map[string]string // what is wrong with each regular expression; "" = valid
}

// New returns a reader of a file. The name is used in messages only; the directors are
// those of a file whose own are not read by Root.
func New(file string, directors ...string) *Reader {
	return &Reader{file: file, directors: directors, limit: maxErrors, regexps: map[string]string{}}
}

// Unlimited lists every error and warning, however many there are.
func (r *Reader) Unlimited() *Reader {
	r.limit = math.MaxInt
	return r
}

// File is the name of the file.
func (r *Reader) File() string { return r.file }

// Directors are the names of the directors, in the order of the file.
func (r *Reader) Directors() []string { return r.directors }

// Failed reports whether there is an error so far.
func (r *Reader) Failed() bool { return len(r.errors) > 0 }

// Errors returns the errors in the order of the file.
func (r *Reader) Errors() Errors {
	return r.Located(finishErrors(r.errors, r.moreErrors, "mistakes"))
}

// Located returns errors or warnings with the file and line that each is of.
func (r *Reader) Located(all []Error) []Error {
	if r.FileOf == nil {
		return all
	}
	all = slices.Clone(all)
	for i := range all {
		if file, line := r.FileOf(all[i].Line); file != "" {
			all[i].File, all[i].Line = file, line
		}
	}
	return all
}

// Where writes a line of the text for a message, with its file where there are several.
func (r *Reader) Where(at tomlpos.Position) string {
	if r.FileOf == nil {
		return fmt.Sprintf("line %d", at.Line)
	}
	file, line := r.FileOf(at.Line)
	if file == "" {
		file = r.file
	}
	return fmt.Sprintf("line %d of %s", line, file)
}

// Warnings returns the warnings in the order of the text, at its lines. They are
// incomplete where there were more than are listed.
func (r *Reader) Warnings() (all []Error, incomplete bool) {
	return finishErrors(r.warnings, r.moreWarnings, "warnings"), r.moreWarnings > 0
}

// Path is the path of a table or key, from the inside out.
type Path struct {
	parent *Path
	name   string
	index  int // of an array element; -1 for a key
}

func (p *Path) Key(name string) *Path { return &Path{parent: p, name: name, index: -1} }
func (p *Path) Index(i int) *Path     { return &Path{parent: p, index: i} }

// String writes the path as the user would: virtual_service[0].real_servers[1].
func (p *Path) String() string {
	var parts []*Path
	for ; p != nil; p = p.parent {
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
		b.WriteString(tomlpos.QuoteKey(p.name))
	}
	return b.String()
}

// ErrorAt adds an error.
func (r *Reader) ErrorAt(at tomlpos.Position, p *Path, format string, args ...any) {
	if len(r.errors) >= r.limit {
		r.moreErrors++
		return
	}
	r.errors = append(r.errors, Error{r.file, at, p.String(), fmt.Sprintf(format, args...)})
}

// WarnAt adds a warning: valid, and probably not intended.
func (r *Reader) WarnAt(at tomlpos.Position, p *Path, format string, args ...any) {
	if len(r.warnings) >= r.limit {
		r.moreWarnings++
		return
	}
	r.warnings = append(r.warnings, Error{r.file, at, p.String(), fmt.Sprintf(format, args...)})
}

// finishErrors returns the errors in the order of the file, followed by how many more
// there were.
func finishErrors(noted []Error, more int, what string) []Error {
	noted = sortErrors(noted)
	if more > 0 {
		last := noted[len(noted)-1]
		last.Path, last.Message = "", fmt.Sprintf("and %d more %s, not listed", more, what)
		noted = append(noted, last)
	}
	return noted
}

// ReadTable reads one table by its schema.
func (r *Reader) ReadTable(values map[string]any, n *tomlpos.Node, t *schema.Table, p *Path) *Table {
	table := &Table{Reader: r, Schema: t, Path: p, Start: n.Value, fields: make([]Field, len(t.Keys))}
	for _, name := range n.Names {
		if v, ok := values[name]; ok {
			table.readKey(name, v, n.Get(name))
		}
	}
	if len(values) > len(n.Names) { // keys without a position, which should not happen
		for name, v := range values {
			if _, ok := n.Children[name]; !ok {
				table.readKey(name, v, n.Get(name))
			}
		}
	}
	for i, k := range t.Keys {
		if k.Required && !table.fields[i].set {
			r.ErrorAt(n.Value, p.Key(k.Name), "missing: add it, there is no default")
			table.fields[i].Invalid = true
		}
	}
	return table
}

// readKey reads one key of the table.
func (t *Table) readKey(name string, v any, n *tomlpos.Node) {
	i, known := t.Schema.Index[name]
	if to := t.Schema.Renamed[name]; to != "" {
		t.ErrorAt(n.Key, t.Path.Key(name), "is called %s now, with the same keys: rename it", to)
		return
	}
	if !known {
		if len(t.errors) < t.limit {
			t.ErrorAt(n.Key, t.Path.Key(name), "unknown key%s", t.Schema.Suggest(name))
		} else {
			t.moreErrors++
		}
		return
	}
	value, ok := t.ReadValue(&t.Schema.Keys[i], v, n, t.Path)
	t.fields[i] = Field{value: value, Node: n, set: true, Invalid: !ok}
}

// ReadValue reads one value of any kind, with everything inside it.
func (r *Reader) ReadValue(k *schema.Key, v any, n *tomlpos.Node, up *Path) (value any, ok bool) {
	one, many := v.(map[string]any)
	switch k.Kind {
	case schema.SubTable:
		if !many {
			r.ErrorAt(n.Value, up.Key(k.Name), "must be a table: write [%s] once", k.Name)
			return nil, false
		}
		value, ok = r.ReadTable(one, n, k.Table, up.Key(k.Name)), true
	case schema.Tables, schema.TableOrTables:
		if k.Kind == schema.TableOrTables && many {
			return []*Table{r.ReadTable(one, n, k.Table, up.Key(k.Name))}, true
		}
		value, ok = r.readTables(k, v, n, up)
	case schema.Strings:
		value, ok = r.readStrings(k, v, n, up)
	case schema.StringMap:
		value, ok = r.readStringMap(k, v, n, up)
	case schema.Ints:
		value, ok = r.readInts(k, v, n, up)
	case schema.StringOrTable, schema.BoolOrTable:
		if !many {
			return r.readScalar(k, v, n, up.Key(k.Name))
		}
		value, ok = r.ReadTable(one, n, k.Table, up.Key(k.Name)), true
	default:
		if many && k.PerDirector {
			return r.readPerDirector(k, one, n, up)
		}
		return r.readScalar(k, v, n, up.Key(k.Name))
	}
	return value, ok
}

// readTables reads an array of tables, written as [[name]] or inline.
func (r *Reader) readTables(k *schema.Key, v any, n *tomlpos.Node, up *Path) (any, bool) {
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
			r.ErrorAt(n.Value, up.Key(k.Name), "must be an array of tables: write [[%s]]", k.Name)
		} else {
			r.ErrorAt(n.Value, up.Key(k.Name), "must be %s, not %s", k.Kind.Describe(), schema.DescribeValue(v))
		}
		return nil, false
	}
	records, ok := make([]*Table, 0, len(elements)), true
	above := up.Key(k.Name)
	for i, e := range elements {
		values, isTable := e.(map[string]any)
		if !isTable {
			r.ErrorAt(n.Item(i).Value, above.Index(i), "must be a table in braces, not %s", schema.DescribeValue(e))
			ok = false
			continue
		}
		records = append(records, r.ReadTable(values, n.Item(i), k.Table, above.Index(i)))
	}
	return records, ok
}

// readStrings reads an array of strings.
func (r *Reader) readStrings(k *schema.Key, v any, n *tomlpos.Node, up *Path) (any, bool) {
	elements, ok := v.([]any)
	if !ok {
		r.ErrorAt(n.Value, up.Key(k.Name), "must be %s, not %s", k.Kind.Describe(), schema.DescribeValue(v))
		return nil, false
	}
	words := make([]string, 0, len(elements))
	for i, e := range elements {
		s, problem := k.CoerceString(e)
		if problem != "" {
			r.ErrorAt(n.Item(i).Value, up.Key(k.Name).Index(i), "%s", problem)
			ok = false
			continue
		}
		words = append(words, s)
	}
	return words, ok
}

// readInts reads an array of whole numbers.
func (r *Reader) readInts(k *schema.Key, v any, n *tomlpos.Node, up *Path) (any, bool) {
	elements, ok := v.([]any)
	if !ok {
		r.ErrorAt(n.Value, up.Key(k.Name), "must be %s, not %s", k.Kind.Describe(), schema.DescribeValue(v))
		return nil, false
	}
	numbers := make([]int64, 0, len(elements))
	for i, e := range elements {
		number, isInt := e.(int64)
		if !isInt {
			r.ErrorAt(n.Item(i).Value, up.Key(k.Name).Index(i), "must be a whole number without quotes, not %s", schema.DescribeValue(e))
			ok = false
			continue
		}
		numbers = append(numbers, number)
	}
	return numbers, ok
}

// readStringMap reads a table of strings under names of the user's choosing.
func (r *Reader) readStringMap(k *schema.Key, v any, n *tomlpos.Node, up *Path) (any, bool) {
	values, ok := v.(map[string]any)
	if !ok {
		r.ErrorAt(n.Value, up.Key(k.Name), "must be %s, not %s", k.Kind.Describe(), schema.RedactValue(v))
		return nil, false
	}
	words := make(map[string]string, len(values))
	for name, e := range values {
		s, problem := k.CoerceString(e)
		if problem != "" {
			r.ErrorAt(n.Get(name).Value, up.Key(k.Name).Key(name), "%s", problem)
			ok = false
			continue
		}
		words[name] = s
	}
	return words, ok
}

// ByDirector is a value that differs between the directors.
type ByDirector map[string]any

// readPerDirector reads { lb1 = …, lb2 = … }: a value for every director.
func (r *Reader) readPerDirector(k *schema.Key, values map[string]any, n *tomlpos.Node, up *Path) (any, bool) {
	p := up.Key(k.Name)
	if len(r.directors) == 0 {
		r.ErrorAt(n.Value, p, "a value for each director needs [[director]] entries that name them; without, write one value")
		return nil, false
	}
	all, ok := make(ByDirector, len(values)), true
	for name, v := range values {
		at := n.Get(name)
		if !slices.Contains(r.directors, name) {
			r.ErrorAt(at.Key, p.Key(name), "no [[director]] has this name%s", schema.Suggest(name, r.directors))
			ok = false
			continue
		}
		value, good := r.readScalar(k, v, at, p.Key(name))
		all[name] = value
		ok = ok && good
	}
	for _, name := range r.directors {
		if _, given := values[name]; !given {
			r.ErrorAt(n.Value, p, "no value for director %s: add %s = …", name, tomlpos.QuoteKey(name))
			ok = false
		}
	}
	return all, ok
}

// readScalar reads a value that holds no others.
func (r *Reader) readScalar(k *schema.Key, v any, n *tomlpos.Node, p *Path) (any, bool) {
	value, problem := k.Coerce(v)
	if problem != "" {
		r.ErrorAt(n.Value, p, "%s", problem)
		return nil, false
	}
	return value, true
}

// Root decodes a text and reads it by the schema. Without a document, ok is false
// and the error is in Errors.
func (r *Reader) Root(text string) (root *Table, sections []tomlpos.Section, ok bool) {
	document, err := tomlpos.Decode(text)
	if err != nil {
		r.errors = append(r.errors, Error{r.file, err.Position, err.Key, err.Message})
		return nil, nil, false
	}
	r.directors = directorNames(document.Values)
	return r.ReadTable(document.Values, document.Root, schema.RootTable, nil), document.Sections, true
}

// directorNames returns the directors' names from the raw document: they are needed to
// read values that differ between directors.
func directorNames(document map[string]any) []string {
	var names []string
	add := func(v any) {
		if t, ok := v.(map[string]any); ok {
			if name, ok := t["name"].(string); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	switch all := document["director"].(type) {
	case []map[string]any:
		for _, d := range all[:min(len(all), MaxDirectors)] {
			add(d)
		}
	case []any:
		for _, d := range all[:min(len(all), MaxDirectors)] {
			add(d)
		}
	}
	return names
}
