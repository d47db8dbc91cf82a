// Probes that another director makes.

package checker

import (
	"slices"
	"time"
)

// Delegate replaces the set of targets whose probes another director makes, by its name. The
// engine probes such a target once every n intervals, as long as it is up and no result
// contradicts that; a failure restores the configured interval at once. A probe that targets
// share is made rarely only where all of them are delegated. The map must not be changed
// afterwards.
func (e *Engine) Delegate(to map[ID]string, n int) {
	now := time.Now()
	e.mu.Lock()
	e.delegated, e.rarely, e.snapshot = to, max(n, 1), nil
	for _, p := range e.due {
		// A probe that is no longer delegated must not wait for its rare turn.
		if soonest := pointAfter(p.timing.origin, p.timing.interval, now); p.due.After(soonest) && !e.isDelegated(p) {
			p.due = soonest
		}
	}
	e.due.sort()
	e.mu.Unlock()
	e.poller.Wake()
}

// isDelegated reports whether a probe is made rarely.
func (e *Engine) isDelegated(p *probeState) bool {
	return p.inconclusive == 0 && len(p.checks) > 0 && !slices.ContainsFunc(p.checks, func(j *checkState) bool {
		return j.riseFall.state != Up || j.riseFall.streak > 0 || e.delegated[j.target.id] == ""
	})
}

// timingOf returns the grid of a probe. A delegated probe is made at every n-th point, each
// probe at an offset of its own.
func (e *Engine) timingOf(p *probeState) timing {
	t := p.timing
	if len(e.delegated) > 0 && e.isDelegated(p) {
		t.origin = t.origin.Add(time.Duration(p.turn%e.rarely) * t.interval)
		t.interval *= time.Duration(e.rarely)
	}
	return t
}
