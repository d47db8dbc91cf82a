package printable

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"plain, µ and 世界 \u00a0":       "plain, µ and 世界 \u00a0",
		"two\nlines\tand a tab":        "two\nlines\tand a tab",
		"\x1b]0;title\x07\x1b[2J":      `\u001b]0;title\u0007\u001b[2J`,
		"\r\x00\x7f":                   `\u000d\u0000\u007f`,
		"C1: \u009b31m \u0085":         `C1: \u009b31m \u0085`,
		"\u202egnp.exe \u2066x\u2069":  `\u202egnp.exe \u2066x\u2069`,
		"bytes \x9b[31m \xff and \xc3": `bytes \x9b[31m \xff and \xc3`,
		"the sign \ufffd itself":       "the sign \ufffd itself",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := Line("director lb1: OK\n\tforged"); got != `director lb1: OK\n\tforged` {
		t.Errorf("%q", got)
	}
}

// TestJSONStaysJSON: what the encoder leaves is escaped by its own escapes.
func TestJSONStaysJSON(t *testing.T) {
	var out bytes.Buffer
	want := "\x1b \u009b \u202e \x7f\n"
	if err := json.NewEncoder(Writer{func() io.Writer { return &out }}).Encode(want); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	var got string
	if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
		t.Errorf("%q: %q, %v", text, got, err)
	}
	if strings.ContainsAny(text, "\x1b\u009b\u202e\x7f") {
		t.Errorf("%q", text)
	}
}

// FuzzClean: nothing that a terminal obeys is left, and clean text is not changed.
func FuzzClean(f *testing.F) {
	f.Add("\x1b[31m\u009b\u202e\x9b\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		if !utf8.ValidString(got) || Clean(got) != got {
			t.Errorf("%q: %q", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("%q: %q has %q", s, got, r)
			}
		}
		if strings.ContainsAny(Line(s), "\n\t") {
			t.Errorf("%q: %q", s, Line(s))
		}
	})
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 problems", 1: "1 problem", 2: "2 problems"} {
		if got := Count(n, "problem"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
