// The agent's report about weight and maintenance.

package outcome

import (
	"strconv"
	"strings"
)

// AgentReport is what an agent or a program last reported about its server.
type AgentReport struct {
	Weight             int // share of the configured weight in percent, 0 to 100
	Maint, Drain, Down bool
}

// NoReport leaves a server its whole weight.
var NoReport = AgentReport{Weight: 100}

// Apply updates the report by one line in the syntax of HAProxy's agent-check. What a
// line does not mention stays as it is: an empty line changes nothing. It reports whether
// the line had a known word or was empty.
func (s *AgentReport) Apply(line string) (known bool) {
	if strings.TrimSpace(line) == "" {
		return true
	}
	line, _, _ = strings.Cut(line, "#") // a comment
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
			if percent, ok := parseWeight(word); ok {
				s.Weight = percent
			} else if n, isMax := strings.CutPrefix(strings.ToLower(word), "maxconn:"); !isMax || !IsDigits(n) { // IPVS has no such limit
				continue
			}
		}
		known = true
	}
	return known
}

// parseWeight parses "75%", "weight:75%" and "weight:75".
func parseWeight(word string) (int, bool) {
	value, prefixed := strings.CutPrefix(strings.ToLower(word), "weight:")
	if prefixed && !strings.HasSuffix(value, "%") {
		value += "%"
	}
	return parsePercent(value)
}

// parsePercent parses "75%", "+75%" and "75.5%". More than 100 counts as 100, and a
// fraction is cut off.
func parsePercent(word string) (int, bool) {
	number, ok := strings.CutSuffix(strings.TrimPrefix(word, "+"), "%")
	digits, fraction, hasFraction := strings.Cut(number, ".")
	if !ok || !IsDigits(digits) || len(digits) > 4 || hasFraction && !IsDigits(fraction) {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return min(n, 100), err == nil
}

// ParseWeight returns the percentage that is alone on the first line of text.
func ParseWeight(text string) (int, bool) {
	line, _, _ := strings.Cut(text, "\n")
	return parsePercent(strings.TrimSpace(line))
}

// IsDigits reports whether s consists of ASCII digits and is not empty.
func IsDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
