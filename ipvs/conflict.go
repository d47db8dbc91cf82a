// Another writer that fights back: which places it keeps changing, and when they
// may be repaired again. It reads no clock and writes nothing.
//
// PURE.

package ipvs

import (
	"slices"
	"time"
)

const (
	// conflictAfter repairs of one place in a row, none longer than its span
	// after the one before, are a fight.
	conflictAfter = 5
	// minConflictSpan and maxConflictSpan bound that span, which is three resync
	// intervals.
	minConflictSpan, maxConflictSpan = 10 * time.Second, time.Minute
)

// Conflict is a place that somebody else changes again and again after our
// repairs. While it lasts, it is repaired once a resync interval.
type Conflict struct {
	Entry Entry  // zero for a setting or the synchronisation
	What  string // the kind of drift, or the setting's name
	Since time.Time
	// Repairs is how often it was repaired since.
	Repairs int
}

// subject is what is fought about: an entry, or a setting by its name.
type subject struct {
	entry   Entry
	setting string
}

// conflictState is what is known of a place that was changed by somebody else.
type conflictState struct {
	what    string
	last    time.Time // of the last change
	changes int       // in a row
	wrote   string    // what we last wrote there
	next    time.Time // no repair before
	clean   bool      // a reading after our last repair found it unchanged
	begun   time.Time // of the fight; zero is none
	repairs int
}

// conflicts are all such places.
type conflicts map[subject]*conflictState

func conflictSpan(interval time.Duration) time.Duration {
	return min(max(3*interval, minConflictSpan), maxConflictSpan)
}

// noteChange notes that somebody else changed a place, and says whether that makes
// a fight of it, and whether there was one before.
func (c conflicts) noteChange(p subject, what string, now time.Time, interval time.Duration) (begins, fought bool) {
	x := c[p]
	if x == nil {
		x = &conflictState{}
		c[p] = x
	}
	fought = !x.begun.IsZero()
	if now.Sub(x.last) > conflictSpan(interval) && !fought {
		x.changes = 0
	}
	x.what, x.last, x.clean = what, now, false
	if x.changes++; x.changes == conflictAfter && !fought {
		x.begun = now
		return true, true
	}
	return false, fought
}

// defers says whether a repair must wait: it is what was written there before,
// and not yet time for it. Another value is a new wish and is written at once.
func (c conflicts) defers(p subject, write string, now time.Time) bool {
	x := c[p]
	return x != nil && !x.begun.IsZero() && x.wrote == write && now.Before(x.next)
}

// noteWrite notes what we wrote to a place, which may be written again after the
// interval, and says whether it is fought about.
func (c conflicts) noteWrite(p subject, write string, readAt time.Time, interval time.Duration) bool {
	x := c[p]
	if x == nil {
		return false
	}
	x.wrote, x.next, x.clean = write, readAt.Add(interval), true
	if x.begun.IsZero() {
		return false
	}
	x.repairs++
	return true
}

// expire forgets the places that nobody changed for long, after a reading at
// now, and returns the fights that ended by that.
func (c conflicts) expire(now time.Time, interval time.Duration) (ended []Conflict) {
	for p, x := range c {
		if !x.clean || now.Sub(x.last) <= max(conflictSpan(interval), interval) {
			continue
		}
		if !x.begun.IsZero() {
			ended = append(ended, x.conflict(p))
		}
		delete(c, p)
	}
	sortConflicts(ended)
	return ended
}

func (x *conflictState) conflict(p subject) Conflict {
	return Conflict{Entry: p.entry, What: x.what, Since: x.begun, Repairs: x.repairs}
}

// active returns those that last, in order.
func (c conflicts) active() []Conflict {
	var all []Conflict
	for p, x := range c {
		if !x.begun.IsZero() {
			all = append(all, x.conflict(p))
		}
	}
	sortConflicts(all)
	return all
}

func sortConflicts(f []Conflict) {
	slices.SortFunc(f, func(a, b Conflict) int {
		if c := a.Entry.Compare(b.Entry); c != 0 {
			return c
		}
		if a.What < b.What {
			return -1
		}
		return 1
	})
}
