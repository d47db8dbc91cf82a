package table

import (
	"slices"
	"strings"
	"unicode/utf8"

	"lvsd/cmd/internal/printable"
)

// Screen is what text is laid out for.
type Screen struct {
	Width int // columns; 0: unlimited
	Color bool
}

// Style is the appearance of a text.
type Style uint8

// The styles.
const (
	Plain  Style = iota
	Bold         // headings
	Faint        // details
	Good         // OK
	Notice       // deliberate or in progress
	Bad          // a fault
)

var codes = [...]string{Plain: "", Bold: "1", Faint: "2", Good: "32", Notice: "33", Bad: "1;31"}

// Paint returns a text in a style, and without characters that the terminal obeys.
func (s Screen) Paint(style Style, text string) string {
	text = printable.Line(text)
	if !s.Color || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + codes[style] + "m" + text + "\x1b[0m"
}

// Cell is one cell of a table.
type Cell struct {
	Text  string
	Style Style
}

// Text returns a plain cell.
func Text(text string) Cell { return Cell{Text: text} }

// Column is one column of a table.
type Column struct {
	Title string
	Right bool // right-aligned, for numbers
	// Drop is the order in which columns are left out on a narrow screen: the highest
	// goes first; 0 stays.
	Drop     int
	Optional bool // left out where no row has a value
}

// Table is rows under headings. The last column has the longest text: it is cut to
// the rest of the width, or, where too little is left, put on a line of its own
// below its row.
type Table struct {
	Indent  string
	Columns []Column
	Rows    [][]Cell
}

const (
	gap = 2
	// readable is the minimum width of the last column beside the others.
	readable = 16
)

// Table writes a table.
func (s Screen) Table(out *strings.Builder, t Table) {
	widths := t.widths()
	kept, below := t.fit(s.Width, widths)
	heads := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		heads[i] = Cell{c.Title, Bold}
	}
	last := len(t.Columns) - 1
	for n, row := range append([][]Cell{heads}, t.Rows...) {
		s.row(out, t, row, widths, kept)
		if below && n > 0 && row[last].Text != "" {
			s.Wrap(out, t.Indent+"    ", row[last].Style, row[last].Text)
		}
	}
}

// widths returns the width of each column, with its heading.
func (t Table) widths() []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = length(c.Title)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], length(row[i].Text))
		}
	}
	return widths
}

// fit returns the columns that fit beside each other, and whether the last goes on a
// line of its own.
func (t Table) fit(width int, widths []int) (kept []int, below bool) {
	last := len(t.Columns) - 1
	for i, c := range t.Columns {
		if !c.Optional || slices.ContainsFunc(t.Rows, func(row []Cell) bool { return row[i].Text != "" }) {
			kept = append(kept, i)
		}
	}
	need := func() int {
		n := len(t.Indent) + gap*(len(kept)-1)
		for _, i := range kept {
			if i == last {
				n += min(widths[i], readable)
			} else {
				n += widths[i]
			}
		}
		return n
	}
	for width > 0 && need() > width {
		worst := -1
		for k, i := range kept {
			if t.Columns[i].Drop > 0 && (worst < 0 || t.Columns[i].Drop > t.Columns[kept[worst]].Drop) {
				worst = k
			}
		}
		switch {
		case worst >= 0:
			kept = append(kept[:worst:worst], kept[worst+1:]...)
		case len(kept) > 1: // the last column first, then those that do not fit
			kept, below = kept[:len(kept)-1], true
		default:
			return kept, below
		}
	}
	return kept, below
}

// row writes one line.
func (s Screen) row(out *strings.Builder, t Table, row []Cell, widths, kept []int) {
	var line strings.Builder
	line.WriteString(t.Indent)
	at := len(t.Indent)
	for k, i := range kept {
		if k > 0 {
			line.WriteString(strings.Repeat(" ", gap))
			at += gap
		}
		text, width := row[i].Text, widths[i]
		end := k == len(kept)-1
		if end && s.Width > 0 {
			text = Cut(text, max(s.Width-at, 1))
		}
		pad := strings.Repeat(" ", max(width-length(text), 0))
		switch {
		case t.Columns[i].Right:
			line.WriteString(pad + s.Paint(row[i].Style, text))
		case end:
			line.WriteString(s.Paint(row[i].Style, text))
		default:
			line.WriteString(s.Paint(row[i].Style, text) + pad)
		}
		at += width
	}
	out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// Line writes a line, cut at the width.
func (s Screen) Line(out *strings.Builder, style Style, text string) {
	if s.Width > 0 {
		text = Cut(text, s.Width)
	}
	out.WriteString(s.Paint(style, text) + "\n")
}

// Wrap writes a text on as many lines as it needs. The first has the indent, the
// others as many blanks. Words are split only where one is wider than the screen.
func (s Screen) Wrap(out *strings.Builder, indent string, style Style, text string) {
	room := s.Width - length(indent)
	if s.Width == 0 {
		room = length(text)
	}
	room = max(room, 10)
	line, first := "", true
	flush := func() {
		head := indent
		if !first {
			head = strings.Repeat(" ", length(indent))
		}
		out.WriteString(s.Paint(style, head+line) + "\n")
		line, first = "", false
	}
	for _, word := range strings.Fields(text) {
		if line != "" && length(line)+1+length(word) > room {
			flush()
		}
		for length(word) > room {
			if line != "" {
				flush()
			}
			cut := Bytes(word, room)
			line, word = word[:cut], word[cut:]
			flush()
		}
		if line != "" && word != "" {
			line += " "
		}
		line += word
	}
	if line != "" || first {
		flush()
	}
}

// Cut returns a text of at most width columns; a longer one ends with "…".
func Cut(text string, width int) string {
	if length(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return text[:Bytes(text, width-1)] + "…"
}

// Bytes returns the length in bytes of the first n characters of a text.
func Bytes(text string, n int) int {
	for i := range text {
		if n == 0 {
			return i
		}
		n--
	}
	return len(text)
}

func length(text string) int { return utf8.RuneCountInString(text) }
