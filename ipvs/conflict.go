// Conflicts with another writer that undoes our repairs: detecting them, and
// limiting the repairs to one in each resync interval.

package ipvs

import (
	"cmp"
	"slices"
	"time"
)

const (
	// conflictAfter changes in a row, each within conflictSpan of the one before,
	// are a conflict.
	conflictAfter = 5
	// minConflictSpan and maxConflictSpan bound conflictSpan.
	minConflictSpan, maxConflictSpan = 10 * time.Second, time.Minute
)

// Conflict is an entry or a setting that another process changes again after each
// repair. It is repaired once per resync interval as long as the conflict lasts.
type Conflict struct {
	Entry Entry  // zero for a setting or the synchronisation
	What  string // the kind of drift, or the setting's name
	Since time.Time
	// Repairs counts the repairs since then.
	Repairs int
}

// subject is what a conflict is about: an entry, or a setting by its name.
type subject struct {
	entry   Entry
	setting string
}

// conflictState is what is known of a subject that another process changed.
type conflictState struct {
	what      string
	changedAt time.Time
	changes   int       // in a row
	written   string    // the value we wrote last
	next      time.Time // no repair before
	clean     bool      // a reading after our last repair found it unchanged
	since     time.Time // start of the conflict; zero: there is none
	repairs   int
}

type conflicts map[subject]*conflictState

// conflictSpan is three resync intervals, within the bounds.
func conflictSpan(interval time.Duration) time.Duration {
	return min(max(3*interval, minConflictSpan), maxConflictSpan)
}

// noteChange records that another process changed a subject. It reports whether
// that starts a conflict, and whether one was active before.
func (c conflicts) noteChange(p subject, what string, now time.Time, interval time.Duration) (starts, active bool) {
	x := c[p]
	if x == nil {
		x = &conflictState{}
		c[p] = x
	}
	active = !x.since.IsZero()
	if now.Sub(x.changedAt) > conflictSpan(interval) && !active {
		x.changes = 0
	}
	x.what, x.changedAt, x.clean = what, now, false
	if x.changes++; x.changes == conflictAfter && !active {
		x.since = now
		return true, true
	}
	return false, active
}

// defers reports whether a repair must wait: it would write the same value as the
// last one, and its time has not come. Another value is a new desired state and is
// written at once.
func (c conflicts) defers(p subject, value string, now time.Time) bool {
	x := c[p]
	return x != nil && !x.since.IsZero() && x.written == value && now.Before(x.next)
}

// noteWrite records what we wrote to a subject and reports whether it is in
// conflict. The same value may be written again an interval after readAt.
func (c conflicts) noteWrite(p subject, value string, readAt time.Time, interval time.Duration) bool {
	x := c[p]
	if x == nil {
		return false
	}
	x.written, x.next, x.clean = value, readAt.Add(interval), true
	if x.since.IsZero() {
		return false
	}
	x.repairs++
	return true
}

// expire forgets the subjects that a reading at now found unchanged for longer than
// the span, and returns the conflicts that ended by that.
func (c conflicts) expire(now time.Time, interval time.Duration) (ended []Conflict) {
	for p, x := range c {
		if !x.clean || now.Sub(x.changedAt) <= max(conflictSpan(interval), interval) {
			continue
		}
		if !x.since.IsZero() {
			ended = append(ended, x.conflict(p))
		}
		delete(c, p)
	}
	sortConflicts(ended)
	return ended
}

func (x *conflictState) conflict(p subject) Conflict {
	return Conflict{Entry: p.entry, What: x.what, Since: x.since, Repairs: x.repairs}
}

// active returns the conflicts that last, in order.
func (c conflicts) active() []Conflict {
	var all []Conflict
	for p, x := range c {
		if !x.since.IsZero() {
			all = append(all, x.conflict(p))
		}
	}
	sortConflicts(all)
	return all
}

func sortConflicts(all []Conflict) {
	slices.SortFunc(all, func(a, b Conflict) int {
		return cmp.Or(a.Entry.Compare(b.Entry), cmp.Compare(a.What, b.What))
	})
}
