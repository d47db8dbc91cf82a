package decision

import (
	"time"

	"lvsd/checker"
)

// Flap damping: from the second failure on, a server is held down for minHoldDown after the
// checks report up; each further failure doubles that, up to maxHoldDown. After flapReset
// without a failure the count starts again.
const (
	minHoldDown = 30 * time.Second
	maxHoldDown = 10 * time.Minute
	flapReset   = 10 * time.Minute
)

// flaps counts a server's failures. The zero value has none.
type flaps struct {
	state checker.State
	// falls counts the changes from up to down since the last reset.
	falls int
	// until is when the server is no longer held down, resetAt when its falls are
	// forgotten.
	until, resetAt time.Time
}

// observe records a health.
func (f flaps) observe(v checker.State, now time.Time) flaps {
	was := f.state
	if v == was || v == checker.Unknown {
		return f
	}
	f.state = v
	switch {
	case v == checker.Down && was == checker.Up:
		if !f.resetAt.IsZero() && !now.Before(f.resetAt) {
			f.falls = 0
		}
		f.falls++
		f.until, f.resetAt = time.Time{}, time.Time{}
	case v == checker.Up && was == checker.Down:
		f.until = now.Add(f.holdDown())
		f.resetAt = f.until.Add(flapReset)
	}
	return f
}

// holdDown is how long the server is held down after its next return.
func (f flaps) holdDown() time.Duration {
	if f.falls < 2 {
		return 0
	}
	hold := minHoldDown
	for range f.falls - 2 {
		if hold *= 2; hold >= maxHoldDown {
			return maxHoldDown
		}
	}
	return hold
}

// heldDown reports whether a server that is up is held down.
func (f flaps) heldDown(now time.Time) bool {
	return f.state == checker.Up && now.Before(f.until)
}
