// The scanner walks over the text that the library decodes and records positions,
// because the library reports none afterwards.
//
// It does not validate: for a text that the library refuses, the positions mean
// nothing. It runs before the library to bound the cost: the library recurses into
// nested values and builds the full path of every key, so a hostile text of a few
// megabytes could exhaust its stack or the memory. Up to the first error in a text
// both see the same structure; after it the library stops.

package tomlpos

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits on a text, far above any real configuration: 37,205 real servers in
// 2,277 services are 1.6 MB, nested four deep.
const (
	MaxText  = 16 << 20
	maxDepth = 64
	// maxCost bounds the memory that the library takes for keys: every key
	// costs its whole path, whose parts are string headers of 16 bytes.
	maxCost   = 128 << 20
	keyCost   = 64
	partCost  = 16
	valueCost = 32
)

// Node has the position of one key or array element, and of what is in it.
type Node struct {
	Key      Position // of the key's last part; of an array element or a [[table]], as value
	Value    Position // where the value begins; of a [table], its bracket
	Names    []string // keys in the order of the text
	Children map[string]*Node
	Items    []*Node
	header   bool // an array made by [[ ]]: a path through it means its last element
}

// child returns the key of that name, and creates it where there is none.
func (n *Node) child(name string, at Position) *Node {
	if c, ok := n.Children[name]; ok {
		return c
	}
	if n.Children == nil {
		n.Children = make(map[string]*Node)
	}
	c := &Node{Key: at, Value: at}
	n.Children[name] = c
	n.Names = append(n.Names, name)
	return c
}

// Get returns the key of that name; where there is none, which does not happen in an
// accepted text, the position of the table.
func (n *Node) Get(name string) *Node {
	if c, ok := n.Children[name]; ok {
		return c
	}
	return &Node{Key: n.Key, Value: n.Value}
}

// Item returns an element of an array, or the position of the array.
func (n *Node) Item(i int) *Node {
	if i < len(n.Items) {
		return n.Items[i]
	}
	return &Node{Key: n.Value, Value: n.Value}
}

// IsArrayOfHeaders reports whether each element of an array has a header [[ ]] of its own.
func (n *Node) IsArrayOfHeaders() bool { return n.header }

// current returns the table that a key or header continues: in an array of tables the
// last element.
func (n *Node) current() *Node {
	if n.header && len(n.Items) > 0 {
		return n.Items[len(n.Items)-1]
	}
	return n
}

// scanner is a position in the text. Line and column are counted
// incrementally, so that long lines cost nothing extra.
type scanner struct {
	text string
	pos  int

	marked int // how far line and column are counted
	at     Position

	cost  int
	limit string // the limit that was exceeded; "" = none

	sections []Section // what the headers of the first level open

	// The first key that the library misreads: one given twice, or an empty
	// one. It drops the last value without a word in
	//	check.headers.a = "b"
	//	check.headers = "c"
	// and, when a table in an array has a key "", other elements of the array.
	flaw, flawKey string
	flawAt        Position
}

// bom returns the length of the byte order mark, which the TOML library skips.
func bom(text string) int {
	if strings.HasPrefix(text, "\xef\xbb\xbf") {
		return 3
	}
	return 0
}

// invalidByte finds the first byte that is not allowed in TOML: not UTF-8, or a
// control character. The library reports them some columns off.
func invalidByte(text string) (offset int, problem string) {
	for i, c := range text {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			return i, fmt.Sprintf("not valid TOML: the byte 0x%02x is not UTF-8: save the file in UTF-8", text[i])
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return i, fmt.Sprintf(`not valid TOML: control character 0x%02x: in a string write \x%02x`, c, c)
		case c == '\r' && !strings.HasPrefix(text[i:], "\r\n"):
			return i, "not valid TOML: a carriage return without a line feed: save the file with the line ends of Unix"
		}
	}
	return 0, ""
}

// scan records the positions of everything in the text, up to the limit that it
// exceeds, if any. The scanner is then there, or at the end of the text.
func scan(text string) (*Node, *scanner) {
	s := &scanner{text: text, at: Position{1, 1}}
	s.pos = bom(text)
	s.marked = s.pos
	root := &Node{Key: s.at, Value: s.at}
	s.document(root)
	return root, s
}

// PositionAt converts an offset to line and column in a text that was not scanned to
// its end.
func PositionAt(text string, offset int) Position {
	s := &scanner{text: text, at: Position{1, 1}, marked: bom(text)}
	s.pos = max(s.marked, min(offset, len(text)))
	return s.position()
}

// OffsetOf is the reverse of PositionAt: the offset of a position of this text.
func OffsetOf(text string, at Position) int {
	offset := bom(text)
	for range at.Line - 1 {
		end := strings.IndexByte(text[offset:], '\n')
		if end < 0 {
			return len(text)
		}
		offset += end + 1
	}
	for range at.Col - 1 {
		_, size := utf8.DecodeRuneInString(text[offset:])
		offset += size
	}
	return offset
}

// position returns the current position as line and column.
func (s *scanner) position() Position {
	for s.marked < s.pos {
		rest := s.text[s.marked:s.pos]
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			s.at.Col += utf8.RuneCountInString(rest)
			s.marked = s.pos
			break
		}
		s.at = Position{s.at.Line + 1, 1}
		s.marked += end + 1
	}
	return s.at
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// exceed stops the scan at a limit; the first one counts.
func (s *scanner) exceed(format string, args ...any) {
	if s.limit == "" {
		s.position()
		s.limit = fmt.Sprintf(format, args...)
	}
	s.pos = len(s.text)
	s.marked = s.pos
}

// reportFlaw records the first key that the library misreads.
func (s *scanner) reportFlaw(flaw, key string, at Position) {
	if s.flaw == "" {
		s.flaw, s.flawKey, s.flawAt = flaw, key, at
	}
}

// addCost accounts for one key or value.
func (s *scanner) addCost(cost int) {
	if s.cost += cost; s.cost > maxCost {
		s.exceed("too many keys and values for a configuration: split the file or generate less")
	}
}

// skipSpace skips white space, line ends, comments and the given separators.
func (s *scanner) skipSpace(separators string) {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == ' ', c == '\t', c == '\r', c == '\n', strings.IndexByte(separators, c) >= 0:
			s.pos++
		case c == '#':
			s.skipLine()
		default:
			return
		}
	}
}

// skipBlanks skips spaces and tabs.
func (s *scanner) skipBlanks() {
	for c := s.peek(); c == ' ' || c == '\t'; c = s.peek() {
		s.pos++
	}
}

// skipLine skips the rest of the line without its end.
func (s *scanner) skipLine() {
	if end := strings.IndexByte(s.text[s.pos:], '\n'); end >= 0 {
		s.pos += end
	} else {
		s.pos = len(s.text)
	}
}

// scope is the nesting depth and the path length of a table.
type scope struct{ depth, path int }

func (w scope) down(name string) scope { return scope{w.depth + 1, w.path + len(name) + 1} }

// document reads headers and keys up to the end of the text.
func (s *scanner) document(root *Node) {
	table, in := root, scope{}
	for {
		s.skipSpace("")
		if s.pos >= len(s.text) {
			return
		}
		if s.peek() == '[' {
			table, in = s.tableHeader(root)
		} else {
			s.keyValue(table, in)
		}
		s.skipLine()
	}
}

// tableHeader reads [a.b] or [[a.b]] and returns the table that it opens.
func (s *scanner) tableHeader(root *Node) (*Node, scope) {
	start, offset := s.position(), s.pos
	s.pos++
	array := s.peek() == '['
	if array {
		s.pos++
	}
	parent, name, at, in := s.dottedKey(root, scope{}, ']')
	n := parent.child(name, at)
	if parent == root {
		s.openSection(offset, start, array && name == servicesKey)
	} else {
		s.addToSection(offset)
	}
	if array {
		s.addCost(valueCost)
		element := &Node{Key: start, Value: start}
		n.header = true
		n.Items = append(n.Items, element)
		if len(n.Items) == 1 {
			n.Value = start
		}
		return element, in.down("")
	}
	n.Value = start
	return n, in
}

// keyValue reads one key = value into the table.
func (s *scanner) keyValue(table *Node, in scope) {
	parent, name, at, in := s.dottedKey(table, in, '=')
	if _, known := parent.Children[name]; known {
		s.reportFlaw("defined twice: remove one", name, at)
	}
	n := parent.child(name, at)
	if s.peek() == '=' {
		s.pos++
	}
	s.skipBlanks()
	s.value(n, in)
}

// dottedKey reads a key of one or more parts up to the byte that ends it, which
// is not passed. It returns the table that holds the last part, the last part,
// and its position.
func (s *scanner) dottedKey(table *Node, in scope, end byte) (parent *Node, name string, at Position, deeper scope) {
	for {
		s.skipBlanks()
		at = s.position()
		if name = s.keyPart(end); name == "" {
			s.reportFlaw("a key must not be empty", name, at)
		}
		in = in.down(name)
		if in.depth > maxDepth {
			s.exceed("nested deeper than %d levels", maxDepth)
			return table, name, at, in
		}
		s.addCost(keyCost + in.path + in.depth*partCost)
		s.skipBlanks()
		if s.peek() != '.' {
			return table, name, at, in
		}
		s.pos++
		table = table.child(name, at).current()
	}
}

// keyPart reads one part of a key, quoted or bare, and returns its name. It
// passes at least one byte unless at the end, or the caller could not go on.
func (s *scanner) keyPart(end byte) string {
	switch c := s.peek(); c {
	case '"', '\'':
		start := s.pos + 1
		s.pos++
		s.closeQuote(c)
		name := s.text[start:max(start, s.pos-1)]
		if c == '"' {
			return unescape(name)
		}
		return name
	}
	start := s.pos
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == end, c == '.', c == ' ', c == '\t', c == '\n', c == '\r':
			return s.text[start:s.pos]
		}
		s.pos++
	}
	return s.text[start:s.pos]
}

// value reads one value and records the positions of it and of what is in it.
func (s *scanner) value(n *Node, in scope) {
	n.Value = s.position()
	s.addCost(valueCost)
	switch c := s.peek(); c {
	case '"', '\'':
		s.quotedString(c)
	case '[':
		s.array(n, in)
	case '{':
		s.inlineTable(n, in)
	default:
		s.bareValue()
	}
}

// array reads [ … ].
func (s *scanner) array(n *Node, in scope) {
	n.Items = nil
	in = in.down("")
	if in.depth > maxDepth {
		s.exceed("nested deeper than %d levels", maxDepth)
		return
	}
	s.pos++
	for {
		s.skipSpace(",")
		if s.pos >= len(s.text) {
			return
		}
		if s.peek() == ']' {
			s.pos++
			return
		}
		before := s.pos
		element := &Node{Key: s.position()}
		n.Items = append(n.Items, element)
		s.value(element, in)
		if s.pos == before { // a stray byte that no value begins with
			s.pos++
		}
	}
}

// inlineTable reads { … }, which may span lines.
func (s *scanner) inlineTable(n *Node, in scope) {
	s.pos++
	for {
		s.skipSpace(",")
		if s.pos >= len(s.text) {
			return
		}
		if s.peek() == '}' {
			s.pos++
			return
		}
		before := s.pos
		s.keyValue(n, in)
		if s.pos == before {
			s.pos++
		}
	}
}

// bareValue skips a number, a date or a boolean. A date may hold one space,
// which is why only what can follow a value ends it.
func (s *scanner) bareValue() {
	if end := strings.IndexAny(s.text[s.pos:], ",]}#\r\n"); end >= 0 {
		s.pos += end
	} else {
		s.pos = len(s.text)
	}
}

// quotedString skips a string of any of the four kinds, from its first quote.
func (s *scanner) quotedString(quote byte) {
	triple := `"""`
	if quote == '\'' {
		triple = "'''"
	}
	if !strings.HasPrefix(s.text[s.pos:], triple) {
		s.pos++
		s.closeQuote(quote)
		return
	}
	s.pos += 3
	for s.pos < len(s.text) {
		switch {
		case s.text[s.pos] == '\\' && quote == '"':
			s.pos += 2
		case strings.HasPrefix(s.text[s.pos:], triple):
			// One or two quotes may belong to the string, directly
			// before the closing three: the whole run of quotes ends it.
			for s.peek() == quote {
				s.pos++
			}
			return
		default:
			s.pos++
		}
	}
	s.pos = len(s.text)
}

// closeQuote skips what is left of a string of one line, its closing quote
// included.
func (s *scanner) closeQuote(quote byte) {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '\n':
			return
		case c == '\\' && quote == '"':
			s.pos++
		case c == quote:
			s.pos++
			return
		}
		s.pos++
	}
	s.pos = len(s.text)
}

// unescape resolves the escapes of a quoted key; one that it does not know
// stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		digits := 0
		switch s[i] {
		case 'b':
			b.WriteByte('\b')
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'f':
			b.WriteByte('\f')
		case 'r':
			b.WriteByte('\r')
		case 'e':
			b.WriteByte(0x1b)
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		default:
			b.WriteByte(s[i])
		}
		if digits > 0 && i+digits < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 32); err == nil {
				b.WriteRune(rune(v))
				i += digits
			}
		}
	}
	return b.String()
}
