package checker

import (
	"errors"
	"fmt"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"slices"
	"time"
)

// Set replaces the whole set of targets. A check that is unchanged keeps its timing,
// state and history, also if only Rise or Fall changed; a target whose check changed
// keeps its state until new results change it. On an error, which lists every invalid
// check, nothing has changed. It may be called before Run and at any time.
func (e *Engine) Set(targets []Target) error {
	e.setMu.Lock()
	defer e.setMu.Unlock()

	// Preparing may take a while (expressions, certificates): without mu, so
	// that probes continue.
	keys, prepared, err := e.prepareAll(targets)
	if err != nil {
		return err
	}

	hosts := map[string]struct{}{}
	for _, t := range targets {
		for i := range t.Checks {
			if host := t.Checks[i].HostName; host != "" && t.Checks[i].Probes() {
				hosts[host] = struct{}{}
			}
		}
	}
	e.resolver.SetHosts(hosts) // before the first probe

	e.mu.Lock()
	e.replace(targets, keys, prepared)
	e.mu.Unlock()
	e.poller.Wake()
	return nil
}

// prepareAll returns the key of every check, in the order of the targets, and a probe for
// every key that has none yet.
func (e *Engine) prepareAll(targets []Target) (keys []string, prepared map[string]*probeState, err error) {
	var errs []error
	seen := make(map[ID]struct{}, len(targets))
	prepared = map[string]*probeState{}
	common := probe.NewShared()
	common.Resolver = e.resolver
	var scratch []byte
	for _, t := range targets {
		fail := func(err error) {
			errs = append(errs, fmt.Errorf("checker: %s %s: %w", t.ID.Service, t.ID.RealServer, err))
		}
		if _, twice := seen[t.ID]; twice {
			fail(errors.New("duplicate"))
		}
		seen[t.ID] = struct{}{}
		if len(t.Checks) == 0 {
			fail(errors.New("has no check"))
		}
		for i := range t.Checks {
			c := &t.Checks[i]
			scratch = c.AppendKey(scratch[:0])
			if p, ok := e.probes[string(scratch)]; ok { // setMu is held: nothing writes it
				keys = append(keys, p.key)
				continue
			}
			if p, ok := prepared[string(scratch)]; ok {
				keys = append(keys, p.key)
				continue
			}
			key := string(scratch)
			keys = append(keys, key)
			if !c.Probes() {
				continue
			}
			p, err := e.prepareOne(c, key, common)
			if err != nil {
				fail(fmt.Errorf("%s check: %w", c.Type, err))
				continue
			}
			prepared[key] = p
		}
	}
	return keys, prepared, errors.Join(errs...)
}

func (e *Engine) prepareOne(c *probe.Check, key string, common *probe.Shared) (*probeState, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	run, err := e.newProber(c, common)
	if err != nil {
		return nil, err
	}
	p := &probeState{
		key: key, address: c.TargetName(), kind: c.Type, timeout: c.Timeout, prober: run, report: outcome.NoReport, secrets: c.Secrets,
		timing: timing{interval: c.Interval, fast: c.FastInterval},
	}
	if c.MarkPath {
		p.mark = c.Mark
	}
	return p, nil
}

// replace installs the new set of targets. It cannot fail.
func (e *Engine) replace(targets []Target, keys []string, prepared map[string]*probeState) {
	now := time.Now()
	old, oldProbes := e.targets, e.probes
	e.targets = make(map[ID]*target, len(targets))
	e.probes = make(map[string]*probeState, len(oldProbes))
	e.snapshot, e.unknown = nil, 0
	for _, p := range oldProbes {
		p.checks = nil
	}
	for _, next := range targets {
		t := &target{id: next.ID, known: next.InKernel, since: now}
		prev := old[next.ID]
		if prev != nil {
			t.known, t.state, t.since, t.cause = prev.known, prev.state, prev.since, prev.cause
		}
		t.checks = make([]*checkState, len(next.Checks))
		for i := range next.Checks {
			key := keys[0]
			keys = keys[1:]
			p := oldProbes[key]
			if p == nil {
				p = prepared[key]
			}
			if p != nil && e.probes[key] == nil {
				e.probes[key] = p
				if prepared[key] == p {
					e.added = append(e.added, p)
				}
			}
			if c := &next.Checks[i]; prev == nil && next.Report != nil && c.Type == probe.TypeAgent && prepared[key] == p {
				p.resumeReport(*next.Report)
			}
			t.checks[i] = inherit(t, prev, &next.Checks[i], key, p)
		}
		e.targets[t.id] = t
		if t.state == Unknown {
			e.unknown++
		}
		e.updateState(t, t.start(), now)
	}
	for key, p := range oldProbes {
		p.removed = e.probes[key] == nil
	}
	e.due.dropRemoved()
	e.added = slices.DeleteFunc(e.added, func(p *probeState) bool { return p.removed })
}

// inherit returns the state of one check: that of the same check before, or a new one
// that starts with the state of the target.
func inherit(t, prev *target, c *probe.Check, key string, p *probeState) *checkState {
	if prev != nil {
		for _, j := range prev.checks {
			if j.key == key && j.target == prev {
				j.target, j.address, j.label = t, c.Address, c.Name
				j.riseFall.rethreshold(c.Rise, c.Fall)
				if p != nil {
					p.checks = append(p.checks, j)
				}
				return j
			}
		}
	}
	j := &checkState{key: key, label: c.Name, kind: c.Type, address: c.Address, probe: p, target: t, added: true,
		riseFall: newRiseFall(t.state, t.known, c.Rise, c.Fall)}
	if prev != nil {
		if p != nil && p.last.At.IsZero() { // a report is valid until the next one
			p.inheritReport(prev, c)
		}
		h := prev.health()
		j.reason, j.detail, j.cause = h.Reason, h.Detail, h.Cause
	}
	if p != nil {
		p.checks = append(p.checks, j)
	}
	return j
}

// inheritReport lets a probe that has not run yet start with the report of the one before
// it: of the same target, type and address.
func (p *probeState) inheritReport(prev *target, c *probe.Check) {
	for _, j := range prev.checks {
		if j.kind == c.Type && j.address == c.Address && j.probe != nil && j.probe.report != outcome.NoReport {
			p.resumeReport(j.probe.report)
			return
		}
	}
}

// resumeReport lets a probe that has not run yet start with a report.
func (p *probeState) resumeReport(report outcome.AgentReport) {
	if r, ok := p.prober.(probe.ReportResumer); ok {
		p.report = report
		r.ResumeReport(report)
	}
}

// start starts the new checks of a target and returns the cause of the change of its
// state that may follow.
func (t *target) start() (cause string) {
	cause = "checks changed"
	for _, j := range t.checks {
		if j.start() && (cause == "checks changed" || j.riseFall.state == Down) {
			cause = j.cause
		}
	}
	return cause
}

// start gives a new check what is known already: a fixed state, or the latest result of
// a shared probe. It reports whether that decided the state.
func (j *checkState) start() bool {
	if !j.added {
		return false
	}
	j.added = false
	if j.probe != nil {
		return j.probe.lastConclusive.Reason != "" && j.observe(j.probe.lastConclusive)
	}
	j.reason, j.detail, j.cause = outcome.OK, "", j.kind
	if j.kind == probe.TypeOff {
		j.reason = outcome.Off
	}
	j.riseFall.become(stateOf(j.reason == outcome.OK))
	return true
}
