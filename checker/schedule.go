// When a probe is due.
//
// Every check has a grid: points in time, one interval apart, at a phase of its own.
// Probes are due on the grid, whatever the one before took, so a schedule neither
// drifts nor bunches, and after a stretch at the fast interval it returns to its own
// phase. The very first probe is due at once, outside the grid, as soon as not too many
// others are in progress; one that fails is repeated soon.

package checker

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// maxFirst bounds the first probes in progress, so that a start with thousands of
	// servers sends no burst. While they hang, others start firstGap apart.
	maxFirst = 256
	firstGap = time.Millisecond
	// firstRetry is how soon a first probe that failed is repeated.
	firstRetry = 250 * time.Millisecond
)

// firstProbes are the probes that were never made.
type firstProbes struct {
	waiting []*probeState // in the order of the targets
	running int
	last    time.Time // when the latest was started
}

// next returns when the next one may start, limit at the latest.
func (f *firstProbes) next(now, limit time.Time) time.Time {
	switch {
	case len(f.waiting) == 0:
		return limit
	case f.running < maxFirst:
		return now
	}
	if paced := f.last.Add(firstGap); paced.Before(limit) {
		return paced
	}
	return limit
}

// start appends those that may start now to due, up to room in all.
func (f *firstProbes) start(due []*probeState, now time.Time, room int) []*probeState {
	for len(f.waiting) > 0 && len(due) < room && !f.next(now, now.Add(firstGap)).After(now) {
		p := f.waiting[0]
		if f.waiting = f.waiting[1:]; p.removed {
			continue
		}
		p.due, p.first, p.running = now, true, true
		f.running++
		f.last = now
		due = append(due, p)
	}
	return due
}

// phases spreads n checks of one interval over that interval: one at a random point of
// each n-th part, all turned by a random angle, so that neither the checks of one
// director nor the two directors run in step. Each phase lies in [0, interval).
func phases(r *rand.Rand, n int, interval time.Duration) []time.Duration {
	turn := r.Float64()
	all := make([]time.Duration, n)
	for i := range all {
		f := (float64(i)+r.Float64())/float64(n) + turn
		if f >= 1 {
			f--
		}
		all[i] = min(time.Duration(f*float64(interval)), interval-1)
	}
	return all
}

const (
	rasterMost  = 29 * time.Millisecond
	rasterShare = 32 // of an interval
	together    = 16 // probes per wake-up, about; more would only delay the last
)

// rasterStep returns the distance of the points on which n checks of one interval start.
// Those that are due together start together: a wake-up costs as much as a few probes.
// The largest step divides neither the usual intervals nor the ticks of a kernel's
// clock, to be in step with neither.
func rasterStep(interval time.Duration, n int) time.Duration {
	return min(rasterMost, interval/rasterShare, interval/time.Duration(n)*together)
}

// onRaster moves a point of a grid back to a raster that starts at anchor.
func onRaster(t, anchor time.Time, step time.Duration) time.Time {
	if step <= 0 {
		return t
	}
	return t.Add(-(t.Sub(anchor) % step))
}

// timing is the grid of one check.
type timing struct {
	origin         time.Time // a point of the grid
	interval, fast time.Duration
}

// next returns when the next probe is due, after one that was due at due and ended at
// now: the first point after due that has not passed, on the grid, or on a grid of the
// fast interval through due while the state is changing. A probe that ended within its
// interval is followed one interval after it was due at the latest, and a stall by one
// probe, not by all that were missed.
func (t timing) next(due, now time.Time, changing bool) time.Time {
	origin, step := t.origin, t.interval
	if changing && t.fast > 0 && t.fast < t.interval {
		origin, step = due, t.fast
	}
	next := pointAfter(origin, step, due)
	if next.Before(now) {
		next = pointAfter(origin, step, now.Add(-1))
		if last := due.Add(t.interval); !last.Before(now) && last.Before(next) {
			return last // between two grids: the probe outlasted a point, but not the interval
		}
	}
	return next
}

// pointAfter returns the first of origin + k × step, for any integer k, after t.
func pointAfter(origin time.Time, step time.Duration, t time.Time) time.Time {
	past := t.Sub(origin) % step
	if past < 0 {
		past += step
	}
	return t.Add(step - past)
}

// dueQueue is a heap of probes, the earliest due time first.
type dueQueue []*probeState

func (a dueQueue) first() *probeState {
	if len(a) == 0 {
		return nil
	}
	return a[0]
}

func (a *dueQueue) push(p *probeState) {
	*a = append(*a, p)
	h := *a
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].due.Before(h[parent].due) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (a *dueQueue) pop() *probeState {
	h := *a
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], nil
	*a = h[:last]
	a.sink(0)
	return first
}

func (a dueQueue) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(a); child++ {
			if a[child].due.Before(a[least].due) {
				least = child
			}
		}
		if least == i {
			return
		}
		a[i], a[least] = a[least], a[i]
		i = least
	}
}

// dropRemoved removes probes that no target has any more.
func (a *dueQueue) dropRemoved() {
	n := len(*a)
	*a = slices.DeleteFunc(*a, func(p *probeState) bool { return p.removed })
	if len(*a) == n {
		return
	}
	a.sort()
}

// sort restores the heap after due times changed. A sorted slice is a heap.
func (a dueQueue) sort() {
	slices.SortFunc(a, func(p, q *probeState) int { return cmp.Compare(p.due.Sub(q.due), 0) })
}
