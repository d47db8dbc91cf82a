package checker

import (
	"lvsd/checker/outcome"
	"net/netip"
	"time"
)

// Health is the state of one target: down when any of its checks is down, else
// unknown when any is unknown, else up.
type Health struct {
	State State
	Since time.Time // when State last changed, or the target was added
	// Reason and Detail explain State: of the first check that is down, its
	// latest failure; else of the first check. Reason is "" while Unknown
	// without any result.
	Reason outcome.Reason
	Detail string
	// Cause is what changed State last: "http refused, 3 of 3".
	Cause string
	// InARow is how many consecutive results contradict the state of that
	// check, 0 while nothing is changing; Needed of them change it.
	InARow, Needed int
	// What the server's agents, or programs, reported last: the smallest share of
	// its configured weight in percent, 0 to 100, 100 without a report, and whether
	// it is in maintenance ("maint") or gets no new connections ("drain"). State
	// does not depend on it.
	Weight       int
	Maint, Drain bool
	// UncheckedSince is since when a check of the target cannot be made, because of this
	// machine or its name servers, for at least Fall probes, or has no result because its
	// probe waits for others, for Fall intervals and the timeout; zero: all can be made.
	// UncheckedWhy is the check and the error. State is that of before.
	UncheckedSince time.Time
	UncheckedWhy   string
	// ProbedBy is the director that makes the probes, see Delegate; "": this one.
	ProbedBy string
	Checks   []CheckHealth
}

// CheckHealth is the state of one check of a target. Last, Totals and History
// belong to the probe, which other targets may share.
type CheckHealth struct {
	Name           string // unique among those of the target
	Type           string
	Address        netip.AddrPort
	State          State
	Last           outcome.Result
	Cause          string
	InARow, Needed int
	UncheckedSince time.Time // as in Health
	Totals         outcome.Totals
	// CertificateExpiry is when the certificate chain that the server showed last
	// expires: of several trusted chains, the one that is valid longest. If none
	// is trusted or verified, it is the expiry of the server's own certificate.
	// Zero if there was none.
	CertificateExpiry time.Time
	History           []outcome.Result // up to 32, oldest first; only Explain fills it
}

// Change is a change of one target's state.
type Change struct {
	ID       ID
	From, To State
	At       time.Time
	Cause    string // "http refused, 3 of 3"
}

// Health returns the state of every target, without histories. The map and its contents
// are shared and must not be changed; a new one is made only after something changed.
func (e *Engine) Health() map[ID]Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snapshot != nil {
		return e.snapshot
	}
	e.snapshot = make(map[ID]Health, len(e.targets))
	for id, t := range e.targets {
		if t.shown == nil {
			t.shown = make([]CheckHealth, len(t.checks))
			for i, j := range t.checks {
				t.shown[i] = j.health()
			}
		}
		h := t.health()
		h.Checks, h.ProbedBy = t.shown, e.delegated[id]
		e.snapshot[id] = h
	}
	return e.snapshot
}

// Unknown returns how many targets have no result yet.
func (e *Engine) Unknown() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unknown
}

// Explain returns the state of one target with the histories of its checks, and whether
// the target exists.
func (e *Engine) Explain(id ID) (Health, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.targets[id]
	if !ok {
		return Health{}, false
	}
	h := t.health()
	h.ProbedBy = e.delegated[id]
	for _, j := range t.checks {
		c := j.health()
		if j.probe != nil {
			c.History = j.probe.history.Results()
		}
		h.Checks = append(h.Checks, c)
	}
	return h, true
}

// health returns the state of the target without its checks.
func (t *target) health() Health {
	j := t.checks[t.decidingCheck()]
	h := Health{State: t.state, Since: t.since, Reason: j.reason, Detail: j.detail, Cause: t.cause,
		InARow: j.riseFall.streak, Needed: j.riseFall.needed(), Weight: outcome.NoReport.Weight}
	for _, j := range t.checks {
		if j.probe != nil {
			h.Weight = min(h.Weight, j.probe.report.Weight)
			h.Maint, h.Drain = h.Maint || j.probe.report.Maint, h.Drain || j.probe.report.Drain
		}
		if !j.unchecked.IsZero() && h.UncheckedSince.IsZero() {
			h.UncheckedSince, h.UncheckedWhy = j.unchecked, j.name()+": "+j.probe.impossibleWhy()
		}
	}
	return h
}

// decidingCheck returns the index of the check that explains the target's state: the
// first that has that state; of an up target, the first whose state is changing.
func (t *target) decidingCheck() int {
	for i, j := range t.checks {
		if j.riseFall.state == t.state && (t.state != Up || j.riseFall.streak > 0) {
			return i
		}
	}
	return 0
}

func (j *checkState) health() CheckHealth {
	h := CheckHealth{Name: j.name(), Type: j.kind, Address: j.address, State: j.riseFall.state, Cause: j.cause,
		InARow: j.riseFall.streak, Needed: j.riseFall.needed(), UncheckedSince: j.unchecked}
	if j.probe != nil {
		h.Last, h.Totals, h.CertificateExpiry = j.probe.last, j.probe.totals, j.probe.certExpiry
	}
	return h
}
