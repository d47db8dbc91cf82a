// This file holds what the engine tells: snapshots of verdicts and of the results
// behind them. A snapshot never changes after it was handed out.

package checker

import (
	"lvsd/checker/outcome"
	"net/netip"
	"time"
)

// Health is the state of one target: down when any of its checks is down, else
// unknown when any is unknown, else up.
type Health struct {
	Verdict Verdict
	Since   time.Time // when Verdict last changed, or the target was set
	// Reason and Detail explain Verdict: of the first check that is down, its
	// latest failure; else of the first check. Reason is "" while Unknown
	// without any result.
	Reason outcome.Reason
	Detail string
	// Cause is what made Verdict what it is: "http refused, 3 of 3".
	Cause string
	// InARow results in a row speak against the verdict of that check, and
	// Needed of them change it. InARow is 0 while nothing is changing.
	InARow, Needed int
	// What the server's agents, or programs, said last: the least share of its
	// configured weight in percent, 100 where nothing was said (more than 100
	// counts as 100), and whether it is to be taken out ("maint") or to get no
	// new connections ("drain"). Verdict knows nothing of it.
	Weight       int
	Maint, Drain bool
	Checks       []CheckHealth
}

// CheckHealth is the state of one check of a target. Last, Totals and History
// belong to the probe, which other targets may share.
type CheckHealth struct {
	Type           string
	Address        netip.AddrPort
	Verdict        Verdict
	Last           outcome.Result
	Cause          string
	InARow, Needed int
	Totals         outcome.Totals
	// CertificateExpiry is when the chain of certificates that the server
	// showed last ends to be valid: of those by which it is trusted, the one
	// that holds longest. Where none is trusted, or none has to be, it is the
	// end of the server's own certificate. Zero where there was none.
	CertificateExpiry time.Time
	History           []outcome.Result // up to 32, oldest first; only Explain fills it
}

// Change is a change of one target's verdict.
type Change struct {
	ID       ID
	From, To Verdict
	At       time.Time
	Cause    string // "http refused, 3 of 3"
}

// Health returns the state of every target, without histories. The map and what
// it holds are shared and must not be changed by the caller; it is made only
// where something happened since the last call.
func (e *Engine) Health() map[ID]Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snapshot != nil {
		return e.snapshot
	}
	n := 0
	for _, t := range e.targets {
		n += len(t.checks)
	}
	checks := make([]CheckHealth, 0, n)
	e.snapshot = make(map[ID]Health, len(e.targets))
	for id, t := range e.targets {
		h := t.health()
		first := len(checks)
		for _, j := range t.checks {
			checks = append(checks, j.health())
		}
		h.Checks = checks[first:len(checks):len(checks)]
		e.snapshot[id] = h
	}
	return e.snapshot
}

// Explain returns one target's state with the histories of its checks, and
// whether there is such a target.
func (e *Engine) Explain(id ID) (Health, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, ok := e.targets[id]
	if !ok {
		return Health{}, false
	}
	h := t.health()
	for _, j := range t.checks {
		c := j.health()
		if j.probe != nil {
			c.History = j.probe.history.Results()
		}
		h.Checks = append(h.Checks, c)
	}
	return h, true
}

// health is the target's state without its checks.
func (t *target) health() Health {
	j := t.checks[t.decidingCheck()]
	h := Health{Verdict: t.verdict, Since: t.since, Reason: j.reason, Detail: j.detail, Cause: t.cause,
		InARow: j.riseFall.streak, Needed: j.riseFall.needed(), Weight: outcome.NoReport.Weight}
	for _, j := range t.checks {
		if j.probe != nil {
			h.Weight = min(h.Weight, j.probe.report.Weight)
			h.Maint, h.Drain = h.Maint || j.probe.report.Maint, h.Drain || j.probe.report.Drain
		}
	}
	return h
}

// decidingCheck is the check that explains the target's verdict: the first that has
// that verdict; of an up target, the first whose verdict is changing.
func (t *target) decidingCheck() int {
	for i, j := range t.checks {
		if j.riseFall.verdict == t.verdict && (t.verdict != Up || j.riseFall.streak > 0) {
			return i
		}
	}
	return 0
}

func (j *checkState) health() CheckHealth {
	h := CheckHealth{Type: j.kind, Address: j.address, Verdict: j.riseFall.verdict, Cause: j.cause,
		InARow: j.riseFall.streak, Needed: j.riseFall.needed()}
	if j.probe != nil {
		h.Last, h.Totals, h.CertificateExpiry = j.probe.last, j.probe.totals, j.probe.certExpiry
	}
	return h
}
