// This file turns a row of outcomes into a verdict by rise and fall. It never
// knows what was probed, when, or why a probe failed.
//
// PURE.
package checker

import (
	"lvsd/checker/outcome"
	"strconv"
)

// Verdict is what the checks say about a target.
type Verdict uint8

// The verdicts. Unknown is a target whose checks have not decided yet.
const (
	Unknown Verdict = iota
	Up
	Down
)

// String returns "unknown", "up" or "down".
func (v Verdict) String() string {
	switch v {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// riseFall judges the results of one check for one target. Its zero value is
// useless: newGauge sets the thresholds.
//
//	state            an ok                      a failure
//	unknown          up                         down
//	unknown, known   up                         down after fall in a row
//	up               (streak ends)              down after fall in a row
//	down             up after rise in a row     (streak ends)
type riseFall struct {
	verdict Verdict
	// known: the kernel already sends connections there, so that one lost
	// probe after a restart must not take the server out.
	known      bool
	rise, fall int
	// streak counts results in a row that speak against the verdict.
	streak int
}

// newRiseFall starts at a verdict: Unknown for a new target, the old verdict for
// one whose check was changed. A threshold below 1 counts as 1.
func newRiseFall(verdict Verdict, known bool, rise, fall int) riseFall {
	return riseFall{verdict: verdict, known: known, rise: max(rise, 1), fall: max(fall, 1)}
}

// observe takes one result. It returns 0 where the verdict stays, else how many
// results in a row changed it.
func (g *riseFall) observe(ok bool) int {
	v := verdictOf(ok)
	if v == g.verdict {
		g.streak = 0
		return 0
	}
	needed := g.needed()
	if ok && g.verdict == Unknown { // an up counts at once, whatever failed before it
		g.streak, needed = 0, 1
	}
	if g.streak++; g.streak < needed {
		return 0
	}
	g.become(v)
	return needed
}

// become sets everything that a verdict needs.
func (g *riseFall) become(v Verdict) {
	g.verdict, g.streak = v, 0
}

// rethreshold changes rise and fall and keeps the rest; a streak that is long
// enough for the new ones counts with the next result, not before it.
func (g *riseFall) rethreshold(rise, fall int) {
	g.rise, g.fall = max(rise, 1), max(fall, 1)
}

// needed is how many results in a row change the verdict.
func (g *riseFall) needed() int {
	switch {
	case g.verdict == Down:
		return g.rise
	case g.verdict == Up || g.known:
		return g.fall
	}
	return 1
}

// changing reports whether the next results may settle something: the time of
// the fast interval.
func (g *riseFall) changing() bool { return g.verdict == Unknown || g.streak > 0 }

func verdictOf(ok bool) Verdict {
	if ok {
		return Up
	}
	return Down
}

// aggregate is the verdict on a target of several checks.
func aggregate(a, b Verdict) Verdict {
	switch {
	case a == Down || b == Down:
		return Down
	case a == Unknown || b == Unknown:
		return Unknown
	}
	return Up
}

// causeOf says what changed a verdict: "http refused, 3 of 3".
func causeOf(what string, reason outcome.Reason, settled int) string {
	n := strconv.Itoa(settled)
	return what + " " + string(reason) + ", " + n + " of " + n
}
