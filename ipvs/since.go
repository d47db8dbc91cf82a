// A reading of the kernel that is later than something that happened. It never
// reads by itself: it asks the reconciler for a pass, which repairs on the way.

package ipvs

import (
	"context"
	"fmt"
	"time"
)

// SnapshotAfter returns a snapshot of a reading that began after t, and of which drift
// was repaired. Many who ask at once share one reading. It fails when ctx ends
// before, or when the kernel cannot be read.
func (r *Reconciler) SnapshotAfter(ctx context.Context, t time.Time) (Snapshot, error) {
	asked := r.Snapshot().reads
	later := func(s *Snapshot) bool { return s.Up && s.Began.After(t) }
	if s := r.Snapshot(); later(&s) {
		return s, nil
	}
	r.mu.Lock()
	r.refresh = true
	r.mu.Unlock()
	r.wakeRun()
	// One that was under way may be the first that is seen; two that failed are
	// an answer.
	s, err := r.await(ctx, func(s *Snapshot) bool { return later(s) || !s.Up && s.reads > asked+1 })
	switch {
	case err != nil:
		return *s, fmt.Errorf("the kernel's table was not read: %w", err)
	case !s.Up:
		return *s, fmt.Errorf("the kernel's table can't be read: %s", s.LastError)
	}
	return *s, nil
}
