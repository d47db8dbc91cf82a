// Flap damping: a server that keeps failing and coming back is believed later
// each time. It knows verdicts and moments, and nothing of weights.

package decision

import (
	"time"

	"lvsd/checker"
)

// The second failure in a row without calm between them costs firstHold of
// being held down after the checks say up, each further one twice as much as
// the one before, and never more than longestHold. A server that then serves
// for calmAfter without failing starts anew.
const (
	firstHold   = 30 * time.Second
	longestHold = 10 * time.Minute
	calmAfter   = 10 * time.Minute
)

// flaps is what is remembered of a server's failures. Its zero value remembers
// none.
type flaps struct {
	verdict checker.Verdict
	// falls counts the changes from up to down since the last calm.
	falls int
	// until: however up it is, it is held down until then. From calm on its
	// falls are forgiven.
	until, calm time.Time
}

// observe takes a verdict.
func (f flaps) observe(v checker.Verdict, now time.Time) flaps {
	was := f.verdict
	if v == was || v == checker.Unknown {
		return f
	}
	f.verdict = v
	switch {
	case v == checker.Down && was == checker.Up:
		if !f.calm.IsZero() && !now.Before(f.calm) {
			f.falls = 0
		}
		f.falls++
		f.until, f.calm = time.Time{}, time.Time{}
	case v == checker.Up && was == checker.Down:
		f.until = now.Add(f.hold())
		f.calm = f.until.Add(calmAfter)
	}
	return f
}

// hold is how long the next comeback is not believed.
func (f flaps) hold() time.Duration {
	if f.falls < 2 {
		return 0
	}
	hold := firstHold
	for range f.falls - 2 {
		if hold *= 2; hold >= longestHold {
			return longestHold
		}
	}
	return hold
}

// held says whether a server that is up is held down.
func (f flaps) held(now time.Time) bool {
	return f.verdict == checker.Up && now.Before(f.until)
}
