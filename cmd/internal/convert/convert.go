// The result of a conversion: the text, the notes about what is not in it, and
// the header that lists them.

package convert

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"lvsd/config/schema"
)

// Kind is what happens to a line that is not carried over.
type Kind string

// The kinds, the most important first.
const (
	ToDo      Kind = "to do"      // requires an action
	LeftOut   Kind = "left out"   // not supported by lvsd, or differently
	NotNeeded Kind = "not needed" // without consequence
)

// Note is a line that is not in the result, or in another form.
type Note struct {
	Kind Kind   `json:"kind"`
	File string `json:"file"`
	Line int    `json:"line"` // 0 = of the file as a whole
	Text string `json:"text"` // the beginning of the line, without passwords
	Why  string `json:"why"`
}

// String is "file:line: text: why".
func (n Note) String() string {
	where := n.File
	if n.Line > 0 {
		where = fmt.Sprintf("%s:%d", n.File, n.Line)
	}
	if n.Text == "" {
		return fmt.Sprintf("%s: %s", where, n.Why)
	}
	return fmt.Sprintf("%s: %s: %s", where, n.Text, n.Why)
}

// Result is a conversion.
type Result struct {
	TOML  string   `json:"toml"`
	Notes []Note   `json:"notes"`
	Hints []string `json:"hints"` // differences between the programs
}

// Complete reports whether everything is carried over: nothing is left out or to do.
func (r Result) Complete() bool {
	return !slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind != NotNeeded })
}

// Env has the functions that a conversion reads files and resolves names with.
type Env struct {
	Read func(path string) ([]byte, error)
	Glob func(pattern string) ([]string, error) // the files that match, sorted
	// LookupHost resolves a host name, LookupPort the name of a port ("http", "tcp").
	LookupHost func(name string) ([]netip.Addr, error)
	LookupPort func(network, name string) (int, error)
}

// Origin is the line that a part of the result comes from.
type Origin struct {
	File string
	Line int
	Text string // as in Note
}

// Notes collects the notes of a conversion, each once.
type Notes struct {
	all   []Note
	seen  map[Note]bool
	hints []string
	over  int // more than maxNotes
}

// maxNotes bounds the notes.
const maxNotes = 2000

func (n *Notes) Add(kind Kind, from Origin, why string) {
	note := Note{kind, from.File, from.Line, from.Text, why}
	if n.seen[note] {
		return
	}
	if n.seen == nil {
		n.seen = map[Note]bool{}
	}
	if len(n.all) == maxNotes {
		n.over++
		return
	}
	n.seen[note] = true
	n.all = append(n.all, note)
}

func (n *Notes) Hint(format string, args ...any) {
	if h := fmt.Sprintf(format, args...); !slices.Contains(n.hints, h) {
		n.hints = append(n.hints, h)
	}
}

// sorted returns the notes by kind and position.
func (n *Notes) sorted(files []string) []Note {
	kinds := []Kind{ToDo, LeftOut, NotNeeded}
	slices.SortStableFunc(n.all, func(a, b Note) int {
		return cmp.Or(
			cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)),
			cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)),
			strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if n.over > 0 {
		n.all = append(n.all, Note{Kind: LeftOut, File: files[0], Why: fmt.Sprintf("and %d more lines, not listed", n.over)})
		n.over = 0
	}
	return n.all
}

// Finish validates a table, removes what config refuses, and writes it.
func Finish(what string, files []string, root *Table, n *Notes) (Result, error) {
	dropDefaults(root, schema.RootTable)
	if err := repair(root, n); err != nil {
		return Result{}, fmt.Errorf("%s: %w", strings.Join(files, ", "), err)
	}
	r := Result{Notes: n.sorted(files), Hints: n.hints}
	r.TOML = header(what, files, r) + write(root)
	if r.Notes == nil {
		r.Notes = []Note{}
	}
	if r.Hints == nil {
		r.Hints = []string{}
	}
	return r, nil
}

// header returns the comment at the top of the result.
func header(what string, files []string, r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# lvsd.toml, made by `lvsd convert %s` of %s.\n", what, comment(strings.Join(files, " and ")))
	for _, part := range []struct {
		kind  Kind
		title string
	}{
		{ToDo, "To do:"},
		{LeftOut, "Left out, because lvsd does not do it or not so:"},
		{NotNeeded, "Not needed:"},
	} {
		first := true
		for _, n := range r.Notes {
			if n.Kind != part.kind {
				continue
			}
			if first {
				fmt.Fprintf(&b, "#\n# %s\n", part.title)
				first = false
			}
			b.WriteString(wrap(comment(n.String())))
		}
	}
	for i, h := range r.Hints {
		if i == 0 {
			b.WriteString("#\n# Worth a look:\n")
		}
		b.WriteString(wrap(comment(h)))
	}
	return b.String() + "\n"
}

// comment makes text printable on one line of a TOML comment.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// wrap breaks a line of the header at words.
func wrap(s string) string {
	const width = 96
	var b strings.Builder
	prefix, column := "# - ", 0
	for _, word := range strings.Fields(s) {
		if column > 0 && column+1+len(word) > width {
			b.WriteByte('\n')
			prefix, column = "#   ", 0
		}
		if column == 0 {
			b.WriteString(prefix + word)
			column = len(prefix) + len(word)
			continue
		}
		b.WriteString(" " + word)
		column += 1 + len(word)
	}
	return b.String() + "\n"
}
