// This file says when a probe is due. It never waits and never reads a clock.
//
// Every check has a grid: fixed points in time, one interval apart, at a phase
// of its own. Probes are due on the grid, whatever the one before took, so a
// schedule neither drifts nor bunches, and after a fast stretch it comes back
// to its own phase. The first probe of all is due at once, outside the grid.
//
// PURE.
package checker

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// startSpread is how far apart the first probes of one start may lie, and
	// startGap how far two neighbours do: thousands take the whole spread, a
	// few start at once.
	startSpread = 100 * time.Millisecond
	startGap    = 200 * time.Microsecond
)

// firstDelay is how long the i-th of n first probes waits: less than
// startSpread.
func firstDelay(i, n int) time.Duration {
	spread := min(startSpread, startGap*time.Duration(n))
	return spread / time.Duration(n) * time.Duration(i)
}

// phases places n checks of one interval over that interval: one in each n-th
// part, at a random place in it, and the whole turned by a random angle, so that
// neither the checks of one director nor the two directors beat together.
// Each phase lies in [0, interval).
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
	together    = 16 // probes of one wake-up, about; more would only delay the last
)

// rasterStep is how far apart the points are on which n checks of one interval
// begin. Those that are due together start together: to wake up costs as much as a
// few probes do. What it is at most divides neither the usual intervals nor the
// ticks of a kernel's clock, to beat with neither.
func rasterStep(interval time.Duration, n int) time.Duration {
	return min(rasterMost, interval/rasterShare, interval/time.Duration(n)*together)
}

// onRaster moves a point of a grid back onto a raster from anchor on.
func onRaster(t, anchor time.Time, step time.Duration) time.Time {
	if step <= 0 {
		return t
	}
	return t.Add(-(t.Sub(anchor) % step))
}

// timing is one check's grid.
type timing struct {
	origin         time.Time // a point of the grid
	interval, fast time.Duration
}

// next is when the probe after the one due at due is due, seen from now, when
// that one ended: the first point after due that is not over yet. On the grid,
// or on a grid of the fast interval through due while the verdict is changing.
// A probe that ended within its interval is followed one interval after it was
// due at the latest, and a stall by one probe and not by all that were missed.
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

// pointAfter is the first of origin + k × step, k any whole number, after t.
func pointAfter(origin time.Time, step time.Duration, t time.Time) time.Time {
	past := t.Sub(origin) % step
	if past < 0 {
		past += step
	}
	return t.Add(step - past)
}

// dueQueue is a heap of what is due, the earliest first.
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

// dropGone drops what is gone. A sorted slice is a heap.
func (a *dueQueue) dropGone() {
	n := len(*a)
	*a = slices.DeleteFunc(*a, func(p *probeState) bool { return p.gone })
	if len(*a) == n {
		return
	}
	slices.SortFunc(*a, func(p, q *probeState) int { return cmp.Compare(p.due.Sub(q.due), 0) })
}
