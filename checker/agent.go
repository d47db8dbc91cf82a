// This file understands what a server's agent says: HAProxy's agents' words, as
// its documentation of agent-check has them. It never reads or waits.
//
// PURE.
package checker

import (
	"strconv"
	"strings"
)

// hear applies one line to what was said before: an agent that says nothing about
// something leaves it as it is, and only the agent takes back what it said. It
// reports whether the line had a word in it that is known.
func (s *said) hear(line string) (known bool) {
	line, _, _ = strings.Cut(line, "#") // the rest is for people
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		switch strings.ToLower(word) {
		case "up":
			s.down = false
		case "down", "fail", "failed", "stopped":
			s.down = true
		case "ready":
			s.maint, s.drain = false, false
		case "drain":
			s.maint, s.drain = false, true
		case "maint":
			s.maint, s.drain = true, false
		default:
			if percent, ok := percentage(word); ok {
				s.weight = percent
			} else if n, isMax := strings.CutPrefix(strings.ToLower(word), "maxconn:"); !isMax || !isDigits(n) { // which IPVS knows nothing of
				continue
			}
		}
		known = true
	}
	return known
}

// percentage is "75%" of a weight; more than the whole is the whole.
func percentage(word string) (int, bool) {
	digits, ok := strings.CutSuffix(word, "%")
	if !ok || !isDigits(digits) || len(digits) > 4 {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return min(n, 100), err == nil
}

// lonePercentage is that of a first line which has nothing else on it.
func lonePercentage(text string) (int, bool) {
	line, _, _ := strings.Cut(text, "\n")
	return percentage(strings.TrimSpace(line))
}
