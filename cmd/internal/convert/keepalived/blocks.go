// Parsing lines into a tree of keywords, with their arguments and blocks.

package keepalived

import (
	"fmt"
	"slices"
	"strings"

	"lvsd/cmd/internal/convert"
)

// maxNesting is more than any keyword of keepalived needs.
const maxNesting = 50

// node is a keyword with its arguments and its block.
type node struct {
	words  []string // the keyword first; never empty
	quoted bool     // the second word was in quotes
	block  []*node
	braced bool
	// ignored: keepalived ignores the block, of which there is a note.
	ignored bool
	used    bool // something that is carried over refers to the block
	from    convert.Origin
}

func (n *node) keyword() string { return n.words[0] }

// arg returns the i-th argument, or "".
func (n *node) arg(i int) string {
	if i+1 < len(n.words) {
		return n.words[i+1]
	}
	return ""
}

// lastLine returns the last line of the block, in the same file.
func (n *node) lastLine() int {
	last := n.from.Line
	for _, c := range n.block {
		if c.from.File == n.from.File {
			last = max(last, c.lastLine())
		}
	}
	return last
}

// whole returns where the keyword and its block are.
func (n *node) whole() convert.Origin {
	from := n.from
	if last := n.lastLine(); last > from.Line {
		from.Text = fmt.Sprintf("%s … to line %d", n.keyword(), last)
	}
	return from
}

func (n *node) args() []string { return n.words[1:] }

// find returns the last line of the block with this keyword, or nil.
func (n *node) find(keyword string) *node {
	for _, c := range slices.Backward(n.block) {
		if c.keyword() == keyword {
			return c
		}
	}
	return nil
}

// value returns the first argument of a keyword in the block, or "".
func (n *node) value(keyword string) string {
	if c := n.find(keyword); c != nil {
		return c.arg(0)
	}
	return ""
}

// cut removes all lines of the block that are chosen, which keepalived ignores, and returns
// them.
func (n *node) cut(chosen func(c *node) bool) []*node {
	var out, kept []*node
	for _, c := range n.block {
		if chosen(c) {
			c.ignored = true
			out = append(out, c)
		} else {
			kept = append(kept, c)
		}
	}
	n.block = kept
	return out
}

// cutWord is cut for a keyword.
func (n *node) cutWord(keyword string) []*node {
	return n.cut(func(c *node) bool { return c.keyword() == keyword })
}

// add adds a line to the block, which comes from another one.
func (n *node) add(from *node, words ...string) *node {
	c := &node{words: words, from: from.from}
	n.block = append(n.block, c)
	return c
}

// blocks reads lines into a tree.
func blocks(lines []line, n *convert.Notes) []*node {
	root := &node{words: []string{""}}
	stack := []*node{root}
	var last *node // the keyword that a brace on the next line belongs to
	for _, l := range lines {
		tokens := tokenize(l.text)
		l.from.Text = strings.TrimSuffix(convert.Abbreviate(withoutSecret(l.text, tokens)), " {")
		var now *node
		for _, t := range tokens {
			top := stack[len(stack)-1]
			switch {
			case t.brace == '{':
				if now == nil {
					now = last
				}
				if now == nil || now.braced {
					now = &node{words: []string{"{"}, from: l.from}
					top.block = append(top.block, now)
				}
				now.braced = true
				if len(stack) < maxNesting {
					stack = append(stack, now)
				} else {
					n.Add(convert.LeftOut, l.from, "too many braces within each other")
				}
				now, last = nil, nil
			case t.brace == '}':
				now, last = nil, nil
				if len(stack) == 1 {
					n.Add(convert.LeftOut, l.from, "closes nothing: there is a } too many")
					continue
				}
				stack = stack[:len(stack)-1]
			case now == nil:
				now = &node{words: []string{t.text}, from: l.from}
				top.block = append(top.block, now)
				last = now
			default:
				now.words = append(now.words, t.text)
				now.quoted = now.quoted || len(now.words) == 2 && t.quoted
			}
		}
	}
	if len(stack) > 1 {
		n.Add(convert.ToDo, stack[len(stack)-1].from, "its { is never closed, so what follows counts as part of it")
	}
	return root.block
}

// withoutSecret returns a line up to its first keyword with a secret after it.
func withoutSecret(text string, tokens []token) string {
	for _, t := range tokens {
		if convert.SecretKeywords[t.text] {
			return text[:strings.Index(text, t.text)+len(t.text)] + " …"
		}
	}
	return text
}

// token is a word, or a brace.
type token struct {
	text   string
	quoted bool
	brace  byte
}

// tokenize splits a line at spaces and braces outside of quotes. Quotes are
// removed; adjacent text belongs to the same word.
func tokenize(s string) []token {
	var all []token
	var b strings.Builder
	in, quoted, quote := false, false, byte(0)
	end := func() {
		if in {
			all = append(all, token{text: b.String(), quoted: quoted})
		}
		b.Reset()
		in, quoted = false, false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && quote != 0 && i+1 < len(s):
			text, used := escape(s[i+1:])
			b.WriteString(text)
			i += used
			in = true
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				b.WriteByte(c)
			}
		case c == '"' || c == '\'':
			quote, in, quoted = c, true, true
		case c == ' ' || c == '\t' || c == '\r':
			end()
		case c == '$' && strings.HasPrefix(s[i:], "${") && strings.IndexByte(s[i:], '}') > 0:
			length := strings.IndexByte(s[i:], '}') + 1 // of an undefined name
			b.WriteString(s[i : i+length])
			i, in = i+length-1, true
		case c == '{' || c == '}':
			end()
			all = append(all, token{brace: c})
		default:
			in = true
			b.WriteByte(c)
		}
	}
	end()
	return all
}

// escape decodes what follows a backslash, and returns how many bytes it used.
func escape(s string) (text string, used int) {
	digits := func(from, most int, of string) int {
		i := from
		for i < len(s) && i < from+most && strings.IndexByte(of, s[i]) >= 0 {
			i++
		}
		return i
	}
	value := func(s string, base int) string {
		n := 0
		for i := range len(s) {
			n = n*base + strings.IndexByte("0123456789abcdef", s[i])
		}
		return string([]byte{byte(n)})
	}
	switch c := s[0]; {
	case c == 'a':
		return "\a", 1
	case c == 'b':
		return "\b", 1
	case c == 'E':
		return "\x1b", 1
	case c == 'f':
		return "\f", 1
	case c == 'n':
		return "\n", 1
	case c == 'r':
		return "\r", 1
	case c == 't':
		return "\t", 1
	case c == 'v':
		return "\v", 1
	case '0' <= c && c <= '7':
		i := digits(0, 3, "01234567")
		return value(s[:i], 8), i
	case c == 'x':
		if i := digits(1, 2, "0123456789abcdefABCDEF"); i > 1 {
			return value(strings.ToLower(s[1:i]), 16), i
		}
	case c == 'c' && len(s) > 1:
		return string([]byte{s[1] & 0x1f}), 2
	}
	return s[:1], 1
}
