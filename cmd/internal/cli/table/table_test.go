package table

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

var servers = Table{Indent: "  ", Columns: []Column{{Title: "SERVER"}, {Title: "WEIGHT", Right: true}, {Title: "OPEN", Right: true, Drop: 1}, {Title: "CLOSED", Right: true, Drop: 2}, {Title: "WHY"}},
	Rows: [][]Cell{
		{Text("10.0.0.9:80"), Text("1"), Text("7"), Text("1234567"), Text("connect ok in 1.2ms")},
		{Text("10.0.0.20:80"), {"0", Bad}, Text("0"), Text("0"), {"http refused, 3 of 3 (server listens at that port of the host)", Bad}},
	}}

func show(s Screen, t Table) string {
	var b strings.Builder
	s.Table(&b, t)
	return b.String()
}

func TestTable(t *testing.T) {
	for width, want := range map[int]string{
		0: `
  SERVER        WEIGHT  OPEN   CLOSED  WHY
  10.0.0.9:80        1     7  1234567  connect ok in 1.2ms
  10.0.0.20:80       0     0        0  http refused, 3 of 3 (server listens at that port of the host)
`,
		80: `
  SERVER        WEIGHT  OPEN   CLOSED  WHY
  10.0.0.9:80        1     7  1234567  connect ok in 1.2ms
  10.0.0.20:80       0     0        0  http refused, 3 of 3 (server listens at …
`,
		50: `
  SERVER        WEIGHT  OPEN  WHY
  10.0.0.9:80        1     7  connect ok in 1.2ms
  10.0.0.20:80       0     0  http refused, 3 of …
`,
		30: `
  SERVER        WEIGHT
  10.0.0.9:80        1
      connect ok in 1.2ms
  10.0.0.20:80       0
      http refused, 3 of 3
      (server listens at that
      port of the host)
`,
	} {
		if got := show(Screen{Width: width}, servers); got != want[1:] {
			t.Errorf("%d columns:\n%s\nwant\n%s", width, got, want[1:])
		}
	}
}

// TestOptionalColumn: it is left out where it has no value, also where there is room.
func TestOptionalColumn(t *testing.T) {
	peers := Table{Columns: []Column{{Title: "DIRECTOR"}, {Title: "CONNECTIONS", Optional: true}, {Title: "STATE"}},
		Rows: [][]Cell{{Text("lb1"), Text(""), Text("OK")}, {Text("lb2"), Text(""), Text("OK")}}}
	if got, want := show(Screen{}, peers), "DIRECTOR  STATE\nlb1       OK\nlb2       OK\n"; got != want {
		t.Errorf("without a value:\n%s\nwant\n%s", got, want)
	}
	peers.Rows[1][1] = Text("7")
	if got, want := show(Screen{}, peers), "DIRECTOR  CONNECTIONS  STATE\nlb1                    OK\nlb2       7            OK\n"; got != want {
		t.Errorf("with a value:\n%s\nwant\n%s", got, want)
	}
}

// TestNothingIsWiderThanTheScreen, from one that is too narrow for anything on.
func TestNothingIsWiderThanTheScreen(t *testing.T) {
	for width := 22; width < 130; width++ {
		for line := range strings.Lines(show(Screen{Width: width}, servers)) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
				t.Errorf("%d columns on %d: %q", n, width, line)
			}
		}
	}
	for width := range 22 {
		show(Screen{Width: width}, servers)
	}
}

// TestColourMovesNothing: coloured text stays in its place.
func TestColourMovesNothing(t *testing.T) {
	for _, width := range []int{0, 40, 60, 80} {
		plain, coloured := show(Screen{Width: width}, servers), show(Screen{Width: width, Color: true}, servers)
		if !strings.Contains(coloured, "\x1b[1;31m0\x1b[0m") {
			t.Errorf("no colour in %q", coloured)
		}
		for style := range codes {
			coloured = strings.ReplaceAll(coloured, fmt.Sprintf("\x1b[%sm", codes[style]), "")
		}
		if coloured = strings.ReplaceAll(coloured, "\x1b[0m", ""); coloured != plain {
			t.Errorf("%q is not %q", coloured, plain)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		width        int
		indent, text string
		want         string
	}{
		{20, "! ", "one two three four five", "! one two three four\n  five\n"},
		{14, "", strings.Repeat("x", 30) + " y", "xxxxxxxxxxxxxx\nxxxxxxxxxxxxxx\nxx y\n"},
		{0, "! ", "as  long as\nit is", "! as long as it is\n"},
		{12, "! ", "ääääääääää", "! ääääääääää\n"},
		{3, "", "never narrower than ten", "never\nnarrower\nthan ten\n"},
		{20, "! ", "", "! \n"},
	} {
		var b strings.Builder
		Screen{Width: c.width}.Wrap(&b, c.indent, Plain, c.text)
		if b.String() != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.text, c.width, b.String(), c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöüß", 3, "äö…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"", 0, ""}} {
		if got := Cut(c.text, c.width); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// TestNothingForTheTerminal: of a cell, a line and a wrapped text a terminal obeys only
// the colours that are asked for.
func TestNothingForTheTerminal(t *testing.T) {
	hostile := "\x1b[2J\u009b31m\u202e\r\nforged"
	for _, s := range []Screen{{}, {Width: 60}, {Width: 60, Color: true}} {
		var b strings.Builder
		s.Table(&b, Table{Columns: []Column{{Title: "A"}, {Title: "B"}}, Rows: [][]Cell{{Text(hostile), {hostile, Bad}}}})
		s.Line(&b, Bad, hostile)
		s.Wrap(&b, "  ", Good, hostile)
		text := b.String()
		for _, code := range codes {
			text = strings.ReplaceAll(text, "\x1b["+code+"m", "")
		}
		text = strings.ReplaceAll(text, "\x1b[0m", "")
		if strings.ContainsAny(text, "\x1b\u009b\u202e\r") || strings.Contains(text, "\nforged") && !strings.Contains(text, "\n  forged") {
			t.Errorf("%q", text)
		}
	}
}
