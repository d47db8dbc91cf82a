// What a person reads of a conversion: the notes by kind and reason, the warnings of
// lvsd check, the differences between the programs.

package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Group is the notes of one kind that have the same reason.
type Group struct {
	Kind   Kind
	Why    string
	places []string // file:line,line
	last   string   // the file of the last place
	line   int      // and its line
	lines  int
	texts  []string // distinct
	words  []string // the first of each text, distinct
}

// Bounds of what one group lists. All of it is in the JSON form.
const (
	maxPlaces = 24
	maxWords  = 6
)

// Groups returns the notes by kind and reason, in their order.
func (r Result) Groups() []*Group {
	var all []*Group
	byReason := map[[2]string]*Group{}
	for _, n := range r.Notes {
		key := [2]string{string(n.Kind), n.Why}
		g := byReason[key]
		if g == nil {
			g = &Group{Kind: n.Kind, Why: n.Why}
			byReason[key] = g
			all = append(all, g)
		}
		g.add(n)
	}
	return all
}

// add adds a note. Notes come sorted by file and line.
func (g *Group) add(n Note) {
	if g.lines++; g.lines <= maxPlaces {
		switch line := strconv.Itoa(n.Line); {
		case g.last == n.File && g.line == n.Line: // for another director
		case g.last == n.File && n.Line > 0:
			g.places[len(g.places)-1] += "," + line
		case n.Line > 0:
			g.places = append(g.places, n.File+":"+line)
		case g.last != n.File:
			g.places = append(g.places, n.File)
		}
		g.last, g.line = n.File, n.Line
	}
	if n.Text == "" || len(g.texts) > maxPlaces || slices.Contains(g.texts, n.Text) {
		return
	}
	g.texts = append(g.texts, n.Text)
	if word, _, _ := strings.Cut(n.Text, " "); !slices.Contains(g.words, word) {
		g.words = append(g.words, word)
	}
}

// String is "file:line: text: why"; of several notes, all places, and the first words of
// their lines.
func (g *Group) String() string {
	where := strings.Join(g.places, ", ")
	if more := g.lines - maxPlaces; more > 0 {
		where += fmt.Sprintf(" and %d more", more)
	}
	what := strings.Join(g.texts, "")
	if len(g.texts) > 1 {
		words := g.words
		if len(words) > maxWords {
			words = append(slices.Clone(words[:maxWords]), "…")
		}
		what = strings.Join(words, ", ")
	}
	if what == "" {
		return where + ": " + g.Why
	}
	return where + ": " + what + ": " + g.Why
}

// header returns the comment at the top of the result.
func header(what string, files []string, r Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# lvsd.toml, made by `lvsd convert %s` of %s.\n", what, comment(strings.Join(files, " and ")))
	groups := r.Groups()
	for _, k := range kinds {
		var texts []string
		for _, g := range groups {
			if g.Kind == k.kind {
				texts = append(texts, g.String())
			}
		}
		list(&b, k.title, texts)
	}
	list(&b, "lvsd check warns:", r.Warnings)
	list(&b, "Worth a look:", r.Hints)
	return b.String() + "\n"
}

// list writes one part of the header.
func list(b *strings.Builder, title string, texts []string) {
	if len(texts) == 0 {
		return
	}
	b.WriteString("#\n# " + title + "\n")
	for _, t := range texts {
		b.WriteString(wrap(comment(t)))
	}
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
