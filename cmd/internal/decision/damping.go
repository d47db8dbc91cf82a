package decision

import (
	"time"

	"lvsd/checker"
)

// Flap damping: from the second failure on, a server is held down for firstHold after the
// checks report up; each further failure doubles that, up to longestHold. After calmAfter
// without a failure the count starts again.
const (
	firstHold   = 30 * time.Second
	longestHold = 10 * time.Minute
	calmAfter   = 10 * time.Minute
)

// flaps counts a server's failures. The zero value has none.
type flaps struct {
	verdict checker.Verdict
	// falls counts the changes from up to down since the last calm.
	falls int
	// until is when the server is no longer held down, calm when its falls are
	// forgotten.
	until, calm time.Time
}

// observe records a health.
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

// hold is how long the server is held down after its next return.
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

// held reports whether a server that is up is held down.
func (f flaps) held(now time.Time) bool {
	return f.verdict == checker.Up && now.Before(f.until)
}
