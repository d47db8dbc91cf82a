package pattern

import (
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// Pattern is a compiled regular expression. It may be used by several goroutines.
type Pattern struct {
	re    *regexp.Regexp
	bytes bool // its characters are bytes
}

// Compile compiles an expression. The error is a *syntax.Error.
func Compile(text string) (*Pattern, error) {
	p := &Pattern{bytes: escapesBytes(text)}
	if p.bytes {
		text = bytewise(text)
	}
	tree, err := syntax.Parse(text, syntax.Perl&^syntax.OneLine)
	if err != nil {
		return nil, err
	}
	p.re, err = regexp.Compile(endAtCRLF(tree).String())
	return p, err
}

// Find returns the end of the first match in b, or -1.
func (p *Pattern) Find(b []byte) int {
	var found []int
	if p.bytes {
		found = p.re.FindReaderIndex(&byteReader{b})
	} else {
		found = p.re.FindIndex(b)
	}
	if found == nil {
		return -1
	}
	return found[1]
}

// Match reports whether there is a match in b.
func (p *Pattern) Match(b []byte) bool { return p.Find(b) >= 0 }

// endAtCRLF lets $ match before CRLF, too.
func endAtCRLF(re *syntax.Regexp) *syntax.Regexp {
	if re.Op == syntax.OpEndLine {
		cr := &syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune{'\r'}}
		return &syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{{Op: syntax.OpQuest, Sub: []*syntax.Regexp{cr}}, re}}
	}
	for i, sub := range re.Sub {
		re.Sub[i] = endAtCRLF(sub)
	}
	return re
}

// byteEscape is an escape of one byte beyond ASCII.
var byteEscape = regexp.MustCompile(`^\\(x[89A-Fa-f][0-9A-Fa-f]|[23][0-7][0-7])`)

// escapesBytes reports whether an expression has such an escape.
func escapesBytes(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if byteEscape.MatchString(text[i:]) {
			return true
		}
		i++ // what the backslash escapes may be a backslash
	}
	return false
}

// bytewise writes the characters beyond ASCII as the bytes of their encoding.
func bytewise(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c < utf8.RuneSelf {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// byteReader reads bytes as the characters U+0000 to U+00FF.
type byteReader struct{ rest []byte }

func (r *byteReader) ReadRune() (rune, int, error) {
	if len(r.rest) == 0 {
		return 0, 0, io.EOF
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return rune(c), 1, nil
}
