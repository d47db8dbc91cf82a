// This file understands what a server's agent says: HAProxy's agents' words, as
// its documentation of agent-check has them. It never reads or waits.
//
// PURE.
package outcome

import (
	"strconv"
	"strings"
)

// AgentReport is what a server's agent, or a program, last said about its weight.
type AgentReport struct {
	Weight             int // percent
	Maint, Drain, Down bool
}

// NoReport leaves a server its whole weight.
var NoReport = AgentReport{Weight: 100}

// Apply applies one line to what was said before: an agent that says nothing about
// something leaves it as it is, and only the agent takes back what it said. It
// reports whether the line had a word in it that is known.
func (s *AgentReport) Apply(line string) (known bool) {
	line, _, _ = strings.Cut(line, "#") // the rest is for people
	for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		switch strings.ToLower(word) {
		case "up":
			s.Down = false
		case "down", "fail", "failed", "stopped":
			s.Down = true
		case "ready":
			s.Maint, s.Drain = false, false
		case "drain":
			s.Maint, s.Drain = false, true
		case "maint":
			s.Maint, s.Drain = true, false
		default:
			if percent, ok := parsePercent(word); ok {
				s.Weight = percent
			} else if n, isMax := strings.CutPrefix(strings.ToLower(word), "maxconn:"); !isMax || !IsDigits(n) { // which IPVS knows nothing of
				continue
			}
		}
		known = true
	}
	return known
}

// parsePercent is "75%" of a weight; more than the whole is the whole.
func parsePercent(word string) (int, bool) {
	digits, ok := strings.CutSuffix(word, "%")
	if !ok || !IsDigits(digits) || len(digits) > 4 {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return min(n, 100), err == nil
}

// ParseWeight is that of a first line which has nothing else on it.
func ParseWeight(text string) (int, bool) {
	line, _, _ := strings.Cut(text, "\n")
	return parsePercent(strings.TrimSpace(line))
}

func IsDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
