// This file understands what a mail server answers (RFC 5321 §4.2). It never
// reads or waits.
//
// PURE.
package checker

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// mailAnswer is one answer of one line or several.
type mailAnswer struct {
	code  int
	lines []string
}

// parseMailAnswer takes one answer off the front of b, and says how many bytes it
// has: 0 where it is not complete yet.
func parseMailAnswer(b []byte) (a mailAnswer, n int, err error) {
	for {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			if len(b) > answerLimit {
				return a, 0, fmt.Errorf("an answer of more than %d bytes", answerLimit)
			}
			// Some other protocol shows at once, and not at the deadline.
			if rest := b[n:]; !isDigits(string(rest[:min(len(rest), 3)])) && len(rest) > 0 {
				return a, 0, fmt.Errorf("no answer of a mail server: %s", Quote(rest[:min(len(rest), seenLimit)]))
			}
			return a, 0, nil
		}
		line := strings.TrimSuffix(string(b[n:n+end]), "\r")
		n += end + 1
		if n > answerLimit {
			return a, 0, fmt.Errorf("an answer of more than %d bytes", answerLimit)
		}
		if len(line) < 3 || !isDigits(line[:3]) || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return a, 0, fmt.Errorf("no answer of a mail server: %s", Quote([]byte(line[:min(len(line), seenLimit)])))
		}
		code, _ := strconv.Atoi(line[:3])
		if a.code != 0 && a.code != code || code < 200 || code > 599 {
			return a, 0, errors.New("an answer of two codes, or of none")
		}
		a.code = code
		if len(line) > 3 {
			a.lines = append(a.lines, line[4:])
		}
		if len(line) == 3 || line[3] == ' ' {
			return a, n, nil
		}
	}
}

// line is the code and the first line, printable.
func (a *mailAnswer) line() string {
	text := strconv.Itoa(a.code)
	if len(a.lines) > 0 {
		text += " " + a.lines[0]
	}
	return Printable(text, MaxDetail)
}

// has says whether EHLO's answer offers something; its first line is a greeting.
func (a *mailAnswer) has(word string) bool {
	for _, line := range a.lines[min(1, len(a.lines)):] {
		if first, _, _ := strings.Cut(line, " "); strings.EqualFold(first, word) {
			return true
		}
	}
	return false
}
