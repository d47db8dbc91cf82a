// The result of a conversion: the text, and the notes about what is not in it.

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

// The kinds of notes.
const (
	Lost      Kind = "lost"       // a whole virtual service or instance is not in the result
	ToDo      Kind = "to do"      // requires an action
	LeftOut   Kind = "left out"   // not supported by lvsd, or differently
	Adjusted  Kind = "adjusted"   // read as the other program reads it, which is not what the line says
	NotNeeded Kind = "not needed" // without consequence
)

// kinds are the kinds in the order of the result, the most important first, with
// their titles.
var kinds = []struct {
	kind  Kind
	title string
}{
	{Lost, "Lost, and missing below:"},
	{ToDo, "To do:"},
	{LeftOut, "Left out, because lvsd does not do it or not so:"},
	{Adjusted, "Carried over as the other program reads it:"},
	{NotNeeded, "Not needed:"},
}

func (k Kind) rank() int {
	for i := range kinds {
		if kinds[i].kind == k {
			return i
		}
	}
	return len(kinds)
}

// Note is a line that is not in the result, or in another form.
type Note struct {
	Kind Kind   `json:"kind"`
	File string `json:"file"`
	Line int    `json:"line"` // 0 = of the file as a whole
	Text string `json:"text"` // the beginning of the line, without passwords
	Why  string `json:"why"`
}

// Result is a conversion.
type Result struct {
	TOML     string   `json:"toml"`
	Notes    []Note   `json:"notes"`
	Warnings []string `json:"warnings"` // of lvsd check for the result
	Hints    []string `json:"hints"`    // differences between the programs

	before, after *Table // the result with all values, and as it is written
}

// Complete reports whether everything is carried over: nothing is lost, left out or to
// do.
func (r Result) Complete() bool {
	return !slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind.rank() < Adjusted.rank() })
}

// Lost reports whether a whole virtual service or instance is missing.
func (r Result) Lost() bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool { return n.Kind == Lost })
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
	about map[Note]string // the instance that a note says is in the result
	hints []string
	over  int // more than maxNotes
}

// maxNotes bounds the notes, except for what is lost.
const maxNotes = 100_000

// Add adds a note.
func (n *Notes) Add(kind Kind, from Origin, why string) {
	note := Note{kind, from.File, from.Line, from.Text, why}
	if n.seen[note] {
		return
	}
	if n.seen == nil {
		n.seen = map[Note]bool{}
	}
	if len(n.all) >= maxNotes && kind != Lost {
		n.over++
		return
	}
	n.seen[note] = true
	n.all = append(n.all, note)
}

// AddAbout adds a note that says that an instance is in the result. It is dropped if the
// instance is lost.
func (n *Notes) AddAbout(instance string, kind Kind, from Origin, why string) {
	n.Add(kind, from, why)
	if n.about == nil {
		n.about = map[Note]string{}
	}
	n.about[Note{kind, from.File, from.Line, from.Text, why}] = instance
}

// drop drops the notes about an instance.
func (n *Notes) drop(instance string) {
	n.all = slices.DeleteFunc(n.all, func(note Note) bool { return n.about[note] == instance && instance != "" })
}

// QuietConnect changes a connect check of a port whose server minds connections without a
// login: MySQL and MariaDB block their client, PostgreSQL logs one that is reset.
func QuietConnect(c *Table, port int, notes *Notes) {
	switch {
	case c.Str("type") != "connect":
	case port == 3306:
		c.Set("type", "syn", c.From)
		notes.Hint(`A check on port 3306 that only connects becomes type = "syn", which proves the same: MySQL and MariaDB count a connection without a login as an error, and block this director after 100. type = "mysql" logs in.`)
	case port == 5432:
		c.Set("close", "fin", c.From)
	}
}

// LegacySuites is the hint where a check uses TLS: keepalived and ldirectord have OpenSSL's.
const LegacySuites = `cipher_suites = "legacy" offers all that lvsd has of what OpenSSL has, but neither DHE nor CBC with SHA-384: a server that has nothing else fails the check, and needs type = "connect".`

// Hint adds a difference between the programs, once.
func (n *Notes) Hint(format string, args ...any) {
	if h := fmt.Sprintf(format, args...); !slices.Contains(n.hints, h) {
		n.hints = append(n.hints, h)
	}
}

// sorted returns the notes by kind and position.
func (n *Notes) sorted(files []string) []Note {
	slices.SortStableFunc(n.all, func(a, b Note) int {
		return cmp.Or(
			cmp.Compare(a.Kind.rank(), b.Kind.rank()),
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
	before := root.Clone()
	dropDefaults(root, schema.RootTable)
	warnings, err := repair(root, files, n)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", strings.Join(files, ", "), err)
	}
	// Lists that are nil are null in JSON.
	r := Result{Notes: append([]Note{}, n.sorted(files)...), Warnings: append([]string{}, warnings...), Hints: append([]string{}, n.hints...), before: before, after: root}
	r.TOML = header(what, files, r) + write(root)
	return r, nil
}
