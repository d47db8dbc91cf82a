// Decide is where weights come from: a pure function from what is known
// (configuration, health, what the kernel had) to what the kernel shall have,
// with a reason for every weight. It never looks at a clock, reads or writes.
//
// PURE.

package director

import (
	"fmt"
	"net/netip"
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// Inputs is all that a decision depends on.
type Inputs struct {
	Config *config.Config
	Health map[checker.ID]checker.Health
	// Kernel is the table as it was last read: until a server's first verdict
	// the weight that the kernel has counts.
	Kernel ipvs.Table
	// Up says for each service by name whether it had its quorum after the
	// decision before this one; the hysteresis needs it.
	Up map[string]bool
}

// Plan is the outcome of a decision.
type Plan struct {
	Wanted   ipvs.Wanted
	Services []ServicePlan // in the order of the file
}

// ServicePlan is what is decided for one virtual service.
type ServicePlan struct {
	Name string
	Key  ipvs.ServiceKey
	// Up: the weight alive reaches the quorum (plus the hysteresis on the way
	// up).
	Up          bool
	WeightAlive int
	Servers     []ServerPlan // in the order of the file
}

// ServerPlan is what is decided for one real server of one service.
type ServerPlan struct {
	ID         checker.ID
	Address    netip.AddrPort
	Configured int
	// Weight is the effective one: the lowest of all causes.
	Weight int
	// Listed says whether the kernel's table is to hold the server at all. A
	// failed server whose service says on_failure = "remove" is left out.
	Listed  bool
	Verdict checker.Verdict
	Causes  []Cause // the configured weight first
}

// Draining tells a server that takes no new connection because the file says
// so, whatever its health.
func (s ServerPlan) Draining() bool { return s.Configured == 0 }

// Why is the cause that decides: the one with the lowest weight, the first of
// equals.
func (s ServerPlan) Why() Cause {
	why := s.Causes[0]
	for _, c := range s.Causes[1:] {
		if c.Weight < why.Weight {
			why = c
		}
	}
	return why
}

// Cause is one reason for a weight, with the weight that it alone would give.
type Cause struct {
	Kind   CauseKind `json:"kind"`
	Weight int       `json:"weight"`
	Text   string    `json:"text"`
	// Since is when the cause began to hold; zero where nobody recorded it.
	Since time.Time `json:"since,omitzero"`
}

// CauseKind names a kind of cause.
type CauseKind string

const (
	CauseConfigured CauseKind = "configured" // the weight in the file
	CauseDrain      CauseKind = "drain"      // weight 0 in the file: a drain by hand
	CauseVerdict    CauseKind = "verdict"    // the probes say down
	CausePending    CauseKind = "pending"    // no verdict yet
)

// Decide computes the wanted table and the reasons for it.
func Decide(in Inputs) Plan {
	c := in.Config
	plan := Plan{Wanted: WantedSettings(c)}
	for _, svc := range c.Services {
		wanted, decided := decideService(in, svc)
		plan.Wanted.Table[wanted.Key] = wanted
		dropUnlisted(&plan.Wanted, decided)
		plan.Services = append(plan.Services, decided)
	}
	return plan
}

func decideService(in Inputs, svc config.Service) (ipvs.Service, ServicePlan) {
	wanted := WantedService(svc)
	decided := ServicePlan{Name: svc.Name, Key: wanted.Key}
	was := in.Kernel[wanted.Key].Destinations
	for _, rs := range svc.RealServers {
		id := ServerID(svc, rs)
		kernel, known := was[rs.Address]
		s := decideServer(rs, in.Health[id], kernel, known)
		s.ID = id
		s.Listed = listed(svc, s, known)
		decided.Servers = append(decided.Servers, s)
		if !s.Listed {
			continue
		}
		decided.WeightAlive += s.Weight
		dest := WantedDestination(rs)
		dest.Weight = s.Weight
		wanted.Destinations[rs.Address] = dest
	}
	need := svc.Quorum
	if !in.Up[svc.Name] {
		need += svc.Hysteresis
	}
	decided.Up = decided.WeightAlive >= need
	return wanted, decided
}

// decideServer applies rule 8 of the house: every cause has a weight of its
// own, and the lowest holds.
func decideServer(rs config.RealServer, h checker.Health, kernel ipvs.Destination, known bool) ServerPlan {
	s := ServerPlan{Address: rs.Address, Configured: rs.Weight, Verdict: h.Verdict}
	add := func(kind CauseKind, weight int, since time.Time, format string, args ...any) {
		s.Causes = append(s.Causes, Cause{Kind: kind, Weight: weight, Since: since, Text: fmt.Sprintf(format, args...)})
	}
	at := rs.WeightPosition
	if rs.Weight == 0 {
		add(CauseDrain, 0, time.Time{}, "weight 0 in the file, line %d: drained by hand", at.Line)
	} else {
		add(CauseConfigured, rs.Weight, time.Time{}, "weight %d in the file, line %d", rs.Weight, at.Line)
	}
	switch h.Verdict {
	case checker.Down:
		add(CauseVerdict, 0, h.Since, "%s", DescribeHealth(h))
	case checker.Unknown:
		// Rule 7 of the house: nothing is known of this server yet. One that
		// the kernel balances to goes on as it is, a new one waits.
		if known {
			add(CausePending, min(kernel.Weight, rs.Weight), time.Time{}, "no verdict yet: the kernel's weight %d holds", kernel.Weight)
		} else {
			add(CausePending, 0, time.Time{}, "no verdict yet, and new to the kernel")
		}
	}
	s.Weight = s.Why().Weight
	return s
}

// listed decides whether the kernel's table holds a server. With on_failure =
// "remove" a server that failed, or of which nothing is known and that the
// kernel does not have, is left out; a drain by hand stays in with weight 0.
func listed(svc config.Service, s ServerPlan, known bool) bool {
	if svc.OnFailure != "remove" {
		return true
	}
	switch s.Verdict {
	case checker.Down:
		return false
	case checker.Unknown:
		return known
	default:
		return true
	}
}

// DescribeHealth says in one short sentence why a verdict is what it is:
// "http refused, 3 of 3 (connection refused)".
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

// ServerID is the name under which the checker knows a real server of a
// service.
func ServerID(svc config.Service, rs config.RealServer) checker.ID {
	return checker.ID{Service: svc.Name, RealServer: rs.Address.String()}
}
