// Counting of results by rise and fall.

package checker

import (
	"lvsd/checker/outcome"
	"strconv"
)

// Verdict is the health of a target, or of one check.
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

// riseFall counts the results of one check of one target. Create it by newRiseFall.
//
//	state            an ok                      a failure
//	unknown          up                         down
//	unknown, known   up                         down after fall in a row
//	up               (streak ends)              down after fall in a row
//	down             up after rise in a row     (streak ends)
type riseFall struct {
	verdict Verdict
	// known: the kernel already sends connections there, so that one lost
	// probe after a restart does not take the server out.
	known      bool
	rise, fall int
	// streak counts consecutive results that contradict the verdict.
	streak int
}

// newRiseFall starts with a verdict: Unknown for a new target, the old verdict for a
// check that was changed. A threshold below 1 counts as 1.
func newRiseFall(verdict Verdict, known bool, rise, fall int) riseFall {
	return riseFall{verdict: verdict, known: known, rise: max(rise, 1), fall: max(fall, 1)}
}

// observe counts one result. It returns 0 if the verdict stays, else how many
// consecutive results changed it.
func (g *riseFall) observe(ok bool) int {
	v := verdictOf(ok)
	if v == g.verdict {
		g.streak = 0
		return 0
	}
	needed := g.needed()
	if ok && g.verdict == Unknown { // a success counts at once, whatever failed before
		g.streak, needed = 0, 1
	}
	if g.streak++; g.streak < needed {
		return 0
	}
	g.become(v)
	return needed
}

// become sets the verdict.
func (g *riseFall) become(v Verdict) {
	g.verdict, g.streak = v, 0
}

// rethreshold changes rise and fall and keeps the rest; a streak that is long enough for
// the new thresholds takes effect with the next result.
func (g *riseFall) rethreshold(rise, fall int) {
	g.rise, g.fall = max(rise, 1), max(fall, 1)
}

// needed returns how many consecutive results change the verdict.
func (g *riseFall) needed() int {
	switch {
	case g.verdict == Down:
		return g.rise
	case g.verdict == Up || g.known:
		return g.fall
	}
	return 1
}

// changing reports whether the next results may change the verdict: then the fast
// interval applies.
func (g *riseFall) changing() bool { return g.verdict == Unknown || g.streak > 0 }

func verdictOf(ok bool) Verdict {
	if ok {
		return Up
	}
	return Down
}

// aggregate combines the verdicts of two checks of a target.
func aggregate(a, b Verdict) Verdict {
	switch {
	case a == Down || b == Down:
		return Down
	case a == Unknown || b == Unknown:
		return Unknown
	}
	return Up
}

// causeOf describes what changed a verdict: "http refused, 3 of 3".
func causeOf(what string, reason outcome.Reason, n int) string {
	count := strconv.Itoa(n)
	return what + " " + string(reason) + ", " + count + " of " + count
}
