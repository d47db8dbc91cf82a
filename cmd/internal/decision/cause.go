package decision

import (
	"fmt"
	"time"

	"lvsd/checker"
)

// Cause is one reason for a weight, with the weight that it alone would give.
type Cause struct {
	Kind   CauseKind `json:"kind"`
	Weight int       `json:"weight"`
	Text   string    `json:"text"`
	// Since is when the cause began, at that weight.
	Since time.Time `json:"since,omitzero"`
	// Until is when it ends by itself; zero: it does not.
	Until time.Time `json:"until,omitzero"`
}

// CauseKind names a kind of cause.
type CauseKind string

// The causes, in the order in which they are shown.
const (
	CauseConfigured CauseKind = "configured" // the weight in the file
	CauseDrain      CauseKind = "drain"      // weight 0 or drain_until in the file
	CauseAgent      CauseKind = "agent"      // the server's agent or an exec check reduces it
	CauseSlowStart  CauseKind = "slow_start" // the server came back a short time ago
	CauseHealth     CauseKind = "verdict"    // the checks report down
	CausePending    CauseKind = "pending"    // no result yet
	CauseDamping    CauseKind = "damping"    // up, but it failed too often recently
	CauseFallback   CauseKind = "fallback"   // the quorum is lost, and the fallback serves

	// These lower nothing: they explain why the checks' health does not count, or is that
	// of before.
	CauseGuard     CauseKind = "guard"
	CausePanic     CauseKind = "panic"
	CauseQuorum    CauseKind = "quorum"    // damping is released for it
	CauseUnchecked CauseKind = "unchecked" // a check cannot be made
)

func (c Cause) overrides() bool {
	return c.Kind == CauseGuard || c.Kind == CausePanic || c.Kind == CauseQuorum || c.Kind == CauseUnchecked
}

// Why returns the cause that decides: the first one with the lowest weight. A cause that
// overrides the checks' health takes precedence over the configured weight.
func (s RealServer) Why() Cause {
	why := s.Causes[0]
	for _, c := range s.Causes[1:] {
		if c.Weight < why.Weight || c.Weight == why.Weight && c.overrides() && why.Kind == CauseConfigured {
			why = c
		}
	}
	return why
}

// Agent is what a server's agent, or an exec check, reports.
type Agent struct {
	Weight       int // percent of the configured weight
	Maint, Drain bool
}

// agentOf is the agent's report in a server's health; a server without a result has none.
func agentOf(h checker.Health) Agent {
	if h.State == checker.Unknown {
		return Agent{Weight: 100}
	}
	return Agent{Weight: min(max(h.Weight, 0), 100), Maint: h.Maint, Drain: h.Drain}
}

func (a Agent) drains() bool { return a.Maint || a.Drain || a.Weight == 0 }

// reducesWeight reports whether the agent reduces the weight.
func (a Agent) reducesWeight() bool { return a.Weight < 100 || a.drains() }

func (a Agent) weight(configured int) int {
	if a.drains() {
		return 0
	}
	return share(configured, a.Weight)
}

// String is "maint", "drain" or "75 %".
func (a Agent) String() string {
	switch {
	case a.Maint:
		return "maint"
	case a.Drain:
		return "drain"
	}
	return fmt.Sprintf("%d %%", a.Weight)
}

// DescribeHealth returns the reason of a health in a few words: "http refused, 3 of 3
// (connection refused)".
func DescribeHealth(h checker.Health) string {
	switch {
	case h.Cause == "":
		return "no probe has ended yet"
	case h.Detail == "":
		return h.Cause
	default:
		return h.Cause + " (" + h.Detail + ")"
	}
}
