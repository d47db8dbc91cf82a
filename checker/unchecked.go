// Checks that cannot be made: Health.UncheckedSince.

package checker

import (
	"time"

	"lvsd/checker/outcome"
	"lvsd/checker/probe"
)

// lateSearch is how often the probes are searched for those without a result for too long.
const lateSearch = time.Second

// findLate finds checks that are not made: their probes wait for others to end. A probe
// reports nothing before it ends.
func (e *Engine) findLate(now time.Time) {
	since := now.Sub(e.lateSearched)
	if since < lateSearch {
		return
	}
	e.lateSearched = now
	if since > 2*lateSearch {
		return // no probe was in progress, or the whole process did not run: then all are late
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.probes {
		if now.Sub(p.due) > p.timing.interval {
			e.updateUnchecked(p, now)
		}
	}
}

// updateUnchecked updates since when the checks of a probe cannot be made.
func (e *Engine) updateUnchecked(p *probeState, now time.Time) {
	for _, j := range p.checks {
		since := j.impossibleSince(now)
		if since.IsZero() != j.unchecked.IsZero() {
			j.target.shown, e.snapshot, e.wakeDue = nil, nil, true
		}
		j.unchecked = since
	}
}

// impossibleSince returns since when the check could not be made for as many probes as
// failures take a server out of service, or had no result for as long as that takes; zero:
// it can be made. The lack of a program or of a name's address is no passing shortage of
// this machine: there the first result counts.
func (j *checkState) impossibleSince(now time.Time) time.Time {
	p := j.probe
	switch tooLate := time.Duration(j.riseFall.fall)*p.timing.interval + p.timeout; {
	case p.inconclusive >= j.riseFall.fall, p.inconclusive > 0 && (p.last.Reason == outcome.DNS || p.last.Phase == outcome.PhaseRun):
		return p.uncheckedSince
	case !j.unchecked.IsZero() && max(p.lag, now.Sub(p.due)) > tooLate:
		return j.unchecked // until a probe is in time again
	case now.Sub(p.due) > tooLate:
		return p.due
	}
	return time.Time{}
}

// impossibleWhy explains impossibleSince.
func (p *probeState) impossibleWhy() string {
	switch {
	case p.inconclusive > 0:
		return p.last.Detail
	case p.kind == probe.TypeExec:
		return "its probes start late: too many programs of checks run at once ([checker] exec_parallel)"
	}
	return "its probes start late: too many probes are in progress at once (limit of open files)"
}
