// Counting of results by rise and fall.

package checker

import (
	"lvsd/checker/outcome"
	"strconv"
)

// State is the health of a target, or of one check.
type State uint8

// The states. Unknown is a target whose checks have not decided yet.
const (
	Unknown State = iota
	Up
	Down
)

// String returns "unknown", "up" or "down".
func (v State) String() string {
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
	state State
	// known: the kernel already sends connections there, so that one lost
	// probe after a restart does not take the server out.
	known      bool
	rise, fall int
	// streak counts consecutive results that contradict the state.
	streak int
}

// newRiseFall starts with a state: Unknown for a new target, the old state for a
// check that was changed. A threshold below 1 counts as 1.
func newRiseFall(state State, known bool, rise, fall int) riseFall {
	return riseFall{state: state, known: known, rise: max(rise, 1), fall: max(fall, 1)}
}

// observe counts one result. It returns 0 if the state stays, else how many
// consecutive results changed it.
func (g *riseFall) observe(ok bool) int {
	v := stateOf(ok)
	if v == g.state {
		g.streak = 0
		return 0
	}
	needed := g.needed()
	if ok && g.state == Unknown { // a success counts at once, whatever failed before
		g.streak, needed = 0, 1
	}
	if g.streak++; g.streak < needed {
		return 0
	}
	g.become(v)
	return needed
}

// become sets the state.
func (g *riseFall) become(v State) {
	g.state, g.streak = v, 0
}

// rethreshold changes rise and fall and keeps the rest; a streak that is long enough for
// the new thresholds takes effect with the next result.
func (g *riseFall) rethreshold(rise, fall int) {
	g.rise, g.fall = max(rise, 1), max(fall, 1)
}

// needed returns how many consecutive results change the state.
func (g *riseFall) needed() int {
	switch {
	case g.state == Down:
		return g.rise
	case g.state == Up || g.known:
		return g.fall
	}
	return 1
}

// changing reports whether the next results may change the state: then the fast
// interval applies.
func (g *riseFall) changing() bool { return g.state == Unknown || g.streak > 0 }

func stateOf(ok bool) State {
	if ok {
		return Up
	}
	return Down
}

// aggregate combines the states of two checks of a target.
func aggregate(a, b State) State {
	switch {
	case a == Down || b == Down:
		return Down
	case a == Unknown || b == Unknown:
		return Unknown
	}
	return Up
}

// causeOf describes what changed a state: "http refused, 3 of 3".
func causeOf(what string, reason outcome.Reason, n int) string {
	count := strconv.Itoa(n)
	return what + " " + string(reason) + ", " + count + " of " + count
}
