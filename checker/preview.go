package checker

import (
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
)

// Preview is what Set would do with a set of targets.
type Preview struct {
	Health map[ID]Health // what Health would return immediately after
	// Restarted counts the checks of a target that it does not have now: results of
	// other targets, if there are any, are all that is known of them.
	Restarted map[ID]int
}

// Preview returns what Set would do, and Set's error. The code of Set works on a copy
// of the state.
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
	copied := e.clone()
	e.mu.Unlock()
	copied.replace(targets, keys, prepared)
	out.Health = copied.Health()
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

// clone copies what replace changes. Histories are left out: states do not depend on
// them, and they are most of the memory.
func (e *Engine) clone() *Engine {
	s := &Engine{targets: make(map[ID]*target, len(e.targets)), probes: make(map[string]*probeState, len(e.probes))}
	for key, p := range e.probes {
		copied := &probeState{key: key, address: p.address, kind: p.kind, timeout: p.timeout, timing: p.timing,
			report: p.report, certExpiry: p.certExpiry, last: p.last, lastConclusive: p.lastConclusive, totals: p.totals,
			inconclusive: p.inconclusive, uncheckedSince: p.uncheckedSince}
		if _, ok := p.prober.(probe.ReportResumer); ok {
			copied.prober = previewProber{}
		}
		s.probes[key] = copied
	}
	for id, t := range e.targets {
		next := *t
		next.checks = make([]*checkState, len(t.checks))
		for i, j := range t.checks {
			copied := *j
			copied.target = &next
			if j.probe != nil {
				copied.probe = s.probes[j.key]
			}
			next.checks[i] = &copied
		}
		s.targets[id] = &next
	}
	return s
}

// previewProber stands for a prober that resumes a report.
type previewProber struct{ probe.Prober }

func (previewProber) ResumeReport(outcome.AgentReport) {}
