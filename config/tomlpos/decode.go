package tomlpos

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Position is a position in the text. Both numbers count from 1. Col counts
// characters (Unicode code points, a tab is one), as editors do; a byte order
// mark is not counted.
type Position struct{ Line, Col int }

// Document is a decoded text with the positions of what is in it.
type Document struct {
	Values   map[string]any
	Root     *Node
	Sections []Section
}

// DecodeError is the first error of a text that cannot be decoded.
type DecodeError struct {
	Position
	Key     string // that the error is in; "" = none
	Message string
}

// Decode decodes a TOML text. Texts that are too large, nested too deeply or that
// have too many keys are refused before the library sees them.
func Decode(text string) (document *Document, failure *DecodeError) {
	if len(text) > MaxText {
		return nil, &DecodeError{Position{1, 1}, "", fmt.Sprintf("too large: %d bytes, at most %d MiB are read", len(text), MaxText>>20)}
	}
	if at, problem := invalidByte(text); problem != "" {
		return nil, &DecodeError{PositionAt(text, at), "", problem}
	}
	root, s := scan(text)
	if s.limit != "" {
		return nil, &DecodeError{s.at, "", s.limit}
	}
	// The library panics on what it considers impossible. A text must not end the
	// daemon.
	defer func() {
		if p := recover(); p != nil {
			document, failure = nil, &DecodeError{Position{1, 1}, "", "not valid TOML: " + redactQuotes(fmt.Sprint(p))}
		}
	}()
	values := map[string]any{}
	if _, err := toml.Decode(text, &values); err != nil {
		return nil, syntaxError(text, err)
	}
	if s.flaw != "" {
		return nil, &DecodeError{s.flawAt, QuoteKey(s.flawKey), s.flaw}
	}
	return &Document{values, root, s.sections}, nil
}

// syntaxError translates the library's error. Its line is that of the end of a
// string of several lines, and its column counts bytes: only the offset is used.
func syntaxError(text string, err error) *DecodeError {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &DecodeError{Position{1, 1}, "", fmt.Sprintf("not valid TOML: %v", err)}
	}
	message := "not valid TOML: " + redactQuotes(pe.Message)
	if fix := remedy(text, pe.Position.Start+bom(text)); fix != "" {
		message = "not valid TOML: " + fix
	}
	if strings.HasSuffix(pe.Message, "has already been defined.") {
		message = "defined twice: remove one"
	}
	return &DecodeError{PositionAt(text, pe.Position.Start+bom(text)), pe.LastKey, message}
}

// longQuote matches how the library quotes the text, which may be a secret.
var longQuote = regexp.MustCompile(`"[^"]{8,}"`)

// redactQuotes removes what may be a secret from a message: messages go to the log
// and to the status.
func redactQuotes(message string) string { return longQuote.ReplaceAllString(message, "…") }

// QuoteKey returns a key as it is written: in quotes where it needs them.
func QuoteKey(name string) string {
	quotes := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-')
	}
	if name == "" || strings.ContainsFunc(name, quotes) {
		return strconv.Quote(name)
	}
	return name
}
