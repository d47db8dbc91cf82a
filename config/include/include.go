package include

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/tomlpos"
)

// mark begins the line before an included text, which ends with its name in quotes.
const mark = "# lvsd include: "

// tables are what an included file may have. The rest is about the host or the directors as a
// whole, and stays together.
var tables = []string{"vrrp", "sync_group", "announce", "virtual_service"}

// Piece is a file of a configuration.
type Piece struct {
	Name string // as in include, relative to the folder of the first file; "" = the first file
	Text string
}

// Pattern is an element of include, and where it stands.
type Pattern struct {
	Text string
	tomlpos.Position
}

// Patterns returns the value of include. A text that is not valid, which Parse will refuse,
// includes nothing.
func Patterns(text string) []Pattern {
	if !strings.Contains(text, "include") {
		return nil
	}
	document, failed := tomlpos.Decode(text)
	if failed != nil {
		return nil
	}
	var all []Pattern
	values, _ := document.Values["include"].([]any)
	for i, v := range values {
		if s, ok := v.(string); ok {
			all = append(all, Pattern{s, document.Root.Get("include").Item(i).Value})
		}
	}
	return all
}

// Join returns the text of the first file followed by the others. The error is
// reader.Errors: every other file that is not valid TOML, or that has what may only be in
// the first.
func Join(name, text string, others []Piece) (string, error) {
	var b strings.Builder
	var failed reader.Errors
	b.WriteString(text)
	for _, p := range others {
		if s := b.String(); s != "" && !strings.HasSuffix(s, "\n") {
			b.WriteByte('\n')
		}
		piece := strings.TrimPrefix(p.Text, "\ufeff")
		b.WriteString(mark + strconv.Quote(p.Name) + "\n" + piece)
		failed = append(failed, check(Path(name, p.Name), piece)...)
	}
	if len(failed) > 0 {
		return "", failed
	}
	return b.String(), nil
}

// check returns what is wrong with an included text by itself. Each of its tables must begin
// with a header of its own: in the joined text, what is above the first one would belong to
// the file before.
func check(file, text string) (all reader.Errors) {
	add := func(at tomlpos.Position, key, message string) {
		all = append(all, reader.Error{File: file, Position: at, Path: key, Message: message})
	}
	document, failed := tomlpos.Decode(text)
	if failed != nil {
		add(failed.Position, failed.Key, failed.Message)
		return all
	}
	for _, key := range document.Root.Names {
		n := document.Root.Get(key)
		switch {
		case !slices.Contains(tables, key):
			message := "must be in the first file: an included one has [[vrrp]], [[sync_group]], [[announce]] and [[virtual_service]] alone"
			if near := schema.Closest(key, tables); near != "" {
				message += "; did you mean " + near + "?"
			}
			add(n.Key, tomlpos.QuoteKey(key), message)
		case !n.IsArrayOfHeaders():
			add(n.Key, key, "must be written as [["+key+"]] in an included file")
		}
	}
	return all
}

// Split returns the files of a joined text, the first one first.
func Split(text string) []Piece {
	var all []Piece
	name := ""
	for {
		at, next, rest := nextMark(text)
		if at < 0 {
			return append(all, Piece{name, text})
		}
		all = append(all, Piece{name, text[:at]})
		name, text = next, rest
	}
}

// nextMark finds the first line with a mark: where it begins, the name in it, and what
// follows it. at is -1 without one.
func nextMark(text string) (at int, name, rest string) {
	from := 0
	for {
		i := strings.Index(text[from:], mark)
		if i < 0 {
			return -1, "", ""
		}
		at := from + i
		line, rest, _ := strings.Cut(text[at:], "\n")
		name, err := strconv.Unquote(strings.TrimPrefix(line, mark))
		if err == nil && name != "" && (at == 0 || text[at-1] == '\n') {
			return at, name, rest
		}
		from = at + len(mark)
	}
}

// Path is the path of an included file, whose name counts from the folder of the first.
func Path(first, name string) string {
	if name == "" {
		return first
	}
	if path.IsAbs(name) {
		return name
	}
	return path.Join(path.Dir(first), name)
}

// Lines are where the files of a joined text begin.
type Lines []start

type start struct {
	line int // of the mark; the file's first line follows
	name string
}

// LinesOf returns where the files of a joined text begin; nil for the text of one file.
func LinesOf(text string) Lines {
	var all Lines
	line := 0
	for i, p := range Split(text) {
		if i > 0 {
			line++ // the mark
			all = append(all, start{line, p.Name})
		}
		line += strings.Count(p.Text, "\n")
	}
	return all
}

// At returns the name of the file that a line of the joined text is of, "" for the first,
// and the line there.
func (l Lines) At(line int) (name string, local int) {
	for _, s := range slices.Backward(l) {
		if line > s.line {
			return s.name, line - s.line
		}
	}
	return "", line
}
