// This file takes a new set of targets over: what is unchanged goes on, what is
// new is prepared, what is gone is forgotten. It never starts or waits for a
// probe.

package checker

import (
	"errors"
	"fmt"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"slices"
	"time"
)

// Set replaces the whole set of targets. A check that is unchanged keeps its
// timing, verdict and history, also when only Rise or Fall changed; a target
// whose check changed keeps its verdict until its own results change it. On an
// error, which names every mistake, nothing has changed. It may be called before
// Run and at any time.
func (e *Engine) Set(targets []Target) error {
	e.setMu.Lock()
	defer e.setMu.Unlock()

	// Preparing may take a while (expressions, certificates): without mu, so
	// that the probes go on.
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
	e.resolver.SetHosts(hosts) // before the probes begin

	e.mu.Lock()
	e.replace(targets, keys, prepared)
	e.mu.Unlock()
	e.poller.Wake()
	return nil
}

// prepareAll finds the key of every check, in the order of the targets, and makes
// a probe for every key that has none yet.
func (e *Engine) prepareAll(targets []Target) (keys []string, prepared map[string]*probeState, err error) {
	var mistakes []error
	seen := make(map[ID]struct{}, len(targets))
	prepared = map[string]*probeState{}
	common := probe.NewShared()
	common.Resolver = e.resolver
	var scratch []byte
	for _, t := range targets {
		mistake := func(err error) {
			mistakes = append(mistakes, fmt.Errorf("checker: %s %s: %w", t.ID.Service, t.ID.RealServer, err))
		}
		if _, twice := seen[t.ID]; twice {
			mistake(errors.New("is there twice"))
		}
		seen[t.ID] = struct{}{}
		if len(t.Checks) == 0 {
			mistake(errors.New("has no check"))
		}
		for i := range t.Checks {
			c := &t.Checks[i]
			scratch = c.AppendKey(scratch[:0])
			if p, ok := e.probes[string(scratch)]; ok { // setting is held: nobody writes it
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
				mistake(fmt.Errorf("%s check: %w", c.Type, err))
				continue
			}
			prepared[key] = p
		}
	}
	return keys, prepared, errors.Join(mistakes...)
}

func (e *Engine) prepareOne(c *probe.Check, key string, common *probe.Shared) (*probeState, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	run, err := e.newProber_(c, common)
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
	p.inflight.Owner = p
	return p, nil
}

// replace puts the new set in the old one's place. It cannot fail.
func (e *Engine) replace(targets []Target, keys []string, prepared map[string]*probeState) {
	now := time.Now()
	old, oldProbes := e.targets, e.probes
	e.targets = make(map[ID]*target, len(targets))
	e.probes = make(map[string]*probeState, len(oldProbes))
	e.snapshot = nil
	for _, p := range oldProbes {
		p.checks = nil
	}
	for _, stated := range targets {
		t := &target{id: stated.ID, known: stated.Known, since: now}
		before := old[stated.ID]
		if before != nil {
			t.known, t.verdict, t.since, t.cause = before.known, before.verdict, before.since, before.cause
		}
		t.checks = make([]*checkState, len(stated.Checks))
		for i := range stated.Checks {
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
			t.checks[i] = inherit(t, before, &stated.Checks[i], key, p)
		}
		e.targets[t.id] = t
		e.updateVerdict(t, t.start())
	}
	for key, p := range oldProbes {
		p.gone = e.probes[key] == nil
	}
	e.due.dropGone()
	e.added = slices.DeleteFunc(e.added, func(p *probeState) bool { return p.gone })
}

// inherit makes the judge of one check: the one before it goes on where there is
// one, else a new one begins with what the target was.
func inherit(t, before *target, c *probe.Check, key string, p *probeState) *checkState {
	if before != nil {
		for _, j := range before.checks {
			if j.key == key && j.target == before {
				j.target, j.address = t, c.Address
				j.riseFall.rethreshold(c.Rise, c.Fall)
				if p != nil {
					p.checks = append(p.checks, j)
				}
				return j
			}
		}
	}
	j := &checkState{key: key, kind: c.Type, address: c.Address, probe: p, target: t, added: true,
		riseFall: newRiseFall(t.verdict, t.known, c.Rise, c.Fall)}
	if before != nil {
		if p != nil && p.last.At.IsZero() { // what was said holds until something else is
			p.inheritReport(before, c)
		}
		h := before.health()
		j.reason, j.detail, j.cause = h.Reason, h.Detail, h.Cause
	}
	if p != nil {
		p.checks = append(p.checks, j)
	}
	return j
}

// inheritReport lets a probe that never ran go on from what was said to the one before it:
// of the same target, type and address.
func (p *probeState) inheritReport(before *target, c *probe.Check) {
	for _, j := range before.checks {
		if r, ok := p.prober.(probe.ReportResumer); ok && j.kind == c.Type && j.address == c.Address && j.probe != nil && j.probe.report != outcome.NoReport {
			p.report = j.probe.report
			r.ResumeReport(p.report)
			return
		}
	}
}

// start lets the new judges of a target begin, and says what to call the change
// of its verdict that may come of it.
func (t *target) start() (cause string) {
	cause = "checks changed"
	for _, j := range t.checks {
		if j.start() && (cause == "checks changed" || j.riseFall.verdict == Down) {
			cause = j.cause
		}
	}
	return cause
}

// start gives a new judge what is known already: a fixed verdict, or the latest
// result of a probe that others have. It reports whether that settled a verdict.
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
	j.riseFall.become(verdictOf(j.reason == outcome.OK))
	return true
}
