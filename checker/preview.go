// This file says what a new set of targets would make of the verdicts, without
// taking it over: the same code as Set's works on a copy of what is known. It
// never starts a probe.

package checker

import (
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
)

// Preview is what Set would make of a set of targets.
type Preview struct {
	Health map[ID]Health // as Health would tell at once afterwards
	// Restarted counts the checks of a target that the target has not now: their
	// results so far, if any, are those of other targets.
	Restarted map[ID]int
}

// Preview says what Set would do. Its error is Set's.
func (e *Engine) Preview(targets []Target) (Preview, error) {
	e.setMu.Lock()
	defer e.setMu.Unlock()
	keys, prepared, err := e.prepareAll(targets)
	if err != nil {
		return Preview{}, err
	}
	out := Preview{Restarted: map[ID]int{}}
	e.mu.Lock()
	next := keys
	for _, t := range targets {
		if n := e.targets[t.ID].missing(next[:len(t.Checks)]); n > 0 {
			out.Restarted[t.ID] = n
		}
		next = next[len(t.Checks):]
	}
	shadow := e.clone()
	e.mu.Unlock()
	shadow.replace(targets, keys, prepared)
	out.Health = shadow.Health()
	return out, nil
}

// missing counts the keys of which the target has no check. A nil target has none.
func (t *target) missing(keys []string) int {
	had := map[string]bool{}
	if t != nil {
		for _, j := range t.checks {
			had[j.key] = true
		}
	}
	n := 0
	for _, k := range keys {
		if !had[k] {
			n++
		}
	}
	return n
}

// clone copies what replace changes. Histories are left out: verdicts do not
// come from them, and they are most of the memory.
func (e *Engine) clone() *Engine {
	s := &Engine{targets: make(map[ID]*target, len(e.targets)), probes: make(map[string]*probeState, len(e.probes))}
	for key, p := range e.probes {
		own := &probeState{key: key, address: p.address, kind: p.kind, timeout: p.timeout, timing: p.timing,
			report: p.report, certExpiry: p.certExpiry, last: p.last, lastConclusive: p.lastConclusive, totals: p.totals}
		if _, ok := p.prober.(probe.ReportResumer); ok {
			own.prober = shadowProber{}
		}
		s.probes[key] = own
	}
	for id, t := range e.targets {
		own := *t
		own.checks = make([]*checkState, len(t.checks))
		for i, j := range t.checks {
			copied := *j
			copied.target = &own
			if j.probe != nil {
				copied.probe = s.probes[j.key]
			}
			own.checks[i] = &copied
		}
		s.targets[id] = &own
	}
	return s
}

// shadowProber stands for a prober that goes on from what was said.
type shadowProber struct{ probe.Prober }

func (shadowProber) ResumeReport(outcome.AgentReport) {}
