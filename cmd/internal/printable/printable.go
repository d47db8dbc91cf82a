package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Clean returns a text in which characters that a terminal obeys are escaped, as \u001b:
// all control characters but newline and tab, and those that change the direction of
// text (Unicode UAX #9, as they show one text for another). The escapes are those of JSON,
// so that a JSON text stays one.
func Clean(s string) string { return clean(s, "\n\t") }

// Line is Clean for a text on one line: newlines and tabs are escaped too.
func Line(s string) string { return clean(s, "") }

func clean(s, keep string) string {
	if safe(s, keep) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' && hostile(r, keep):
			b.WriteString(`\n`)
		case r == '\t' && hostile(r, keep):
			b.WriteString(`\t`)
		case hostile(r, keep):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func safe(s, keep string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return hostile(r, keep) })
}

// hostile reports whether a terminal obeys a character.
func hostile(r rune, keep string) bool {
	switch {
	case r < ' ':
		return !strings.ContainsRune(keep, r)
	case r < 0x7f:
		return false
	case r <= 0x9f, r == 0x061c, r == 0x200e, r == 0x200f: // DEL and C1; marks of direction
		return true
	}
	return r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 // separators, embeddings, isolates
}

// Writer writes clean text. Each call has whole characters, as those of fmt do.
type Writer struct {
	To func() io.Writer // asked at each call
}

// Write writes p with Clean, and returns len(p) when that was written.
func (w Writer) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.To(), Clean(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Count is a number with a noun whose plural ends in s: "1 problem", "2 problems".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
