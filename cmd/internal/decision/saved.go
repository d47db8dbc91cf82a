package decision

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"lvsd/checker"
)

// savedVersion is the version of the format.
const savedVersion = 1

type savedDecision struct {
	Version  int            `json:"version"`
	Services []savedService `json:"services"`
}

type savedService struct {
	Name          string        `json:"name"`
	Up            bool          `json:"up"`
	Panic         bool          `json:"panic,omitempty"`
	PanicSince    time.Time     `json:"panic_since,omitzero"`
	Fallback      bool          `json:"fallback,omitempty"`
	FallbackSince time.Time     `json:"fallback_since,omitzero"`
	Servers       []savedServer `json:"real_servers"`
}

type savedServer struct {
	Address netip.AddrPort `json:"address"`
	Weight  int            `json:"weight"`
	InTable bool           `json:"listed"`
	Causes  []savedCause   `json:"causes"`
	// Why is the reason of the weight, with its age.
	Why   string      `json:"why,omitempty"`
	Agent *savedAgent `json:"agent,omitempty"`
	Ramp  *savedRamp  `json:"slow_start,omitempty"`
	Flaps *savedFlaps `json:"damping,omitempty"`
}

type savedAgent struct {
	Weight int  `json:"weight"` // percent
	Maint  bool `json:"maint,omitempty"`
	Drain  bool `json:"drain,omitempty"`
}

type savedCause struct {
	Kind   CauseKind `json:"kind"`
	Weight int       `json:"weight"`
	Since  time.Time `json:"since"`
}

type savedRamp struct {
	Since time.Time `json:"since,omitzero"`
}

type savedFlaps struct {
	State checker.State `json:"verdict"`
	Falls int           `json:"falls"`
	Until time.Time     `json:"until,omitzero"`
	Calm  time.Time     `json:"calm,omitzero"`
}

// Save encodes what the next run of the daemon needs: since when each cause holds, slow start,
// damping, quorums, the agents' reports, and the reason of each weight. Health is not
// included: until the first results the kernel's weights hold.
func (p *Decision) Save() ([]byte, error) {
	out := savedDecision{Version: savedVersion, Services: []savedService{}}
	for _, svc := range p.Services {
		k := savedService{Name: svc.Name, Up: svc.Up, Panic: svc.Panic, PanicSince: svc.PanicSince,
			Fallback: svc.Fallback.Active, FallbackSince: svc.Fallback.Since, Servers: []savedServer{}}
		for _, s := range svc.Servers {
			k.Servers = append(k.Servers, s.save())
		}
		out.Services = append(out.Services, k)
	}
	return json.Marshal(out)
}

func (s RealServer) save() savedServer {
	out := savedServer{Address: s.Address, Weight: s.Weight, InTable: s.InTable, Why: s.saved}
	if s.State != checker.Unknown {
		why := s.Why()
		out.Why = fmt.Sprintf("%s, %s since %s", s.State, why.Text, why.Since.UTC().Format(time.RFC3339))
	}
	for _, c := range s.Causes {
		out.Causes = append(out.Causes, savedCause{c.Kind, c.Weight, c.Since})
	}
	if a := s.agentReport; a.reducesWeight() {
		out.Agent = &savedAgent{a.Weight, a.Maint, a.Drain}
	}
	if s.ramp.carries {
		out.Ramp = &savedRamp{s.ramp.since}
	}
	if f := s.flaps; f != (flaps{}) {
		out.Flaps = &savedFlaps{f.state, f.falls, f.until, f.resetAt}
	}
	return out
}

// Restore decodes it as the decision before the first one. No time in it is after now,
// whatever the clock did meanwhile.
func Restore(text []byte, now time.Time) (*Decision, error) {
	var kept savedDecision
	if err := json.Unmarshal(text, &kept); err != nil {
		return nil, fmt.Errorf("saved state unreadable: %w", err)
	}
	if kept.Version != savedVersion {
		return nil, fmt.Errorf("saved state has version %d, which this lvsd does not support", kept.Version)
	}
	plan := &Decision{}
	for _, k := range kept.Services {
		svc := Service{Name: k.Name, Up: k.Up, Panic: k.Panic, PanicSince: past(k.PanicSince, now),
			Fallback: Fallback{Active: k.Fallback, Since: past(k.FallbackSince, now)}}
		for _, s := range k.Servers {
			if s.Address.IsValid() && len(s.Causes) > 0 {
				svc.Servers = append(svc.Servers, s.restore(k.Name, now))
			}
		}
		plan.Services = append(plan.Services, svc)
	}
	return plan, nil
}

func (s savedServer) restore(service string, now time.Time) RealServer {
	out := RealServer{ID: checker.ID{Service: service, RealServer: s.Address.String()}, Address: s.Address, Weight: s.Weight, InTable: s.InTable, saved: s.Why, agentReport: Agent{Weight: 100}}
	if a := s.Agent; a != nil {
		out.agentReport = Agent{Weight: min(max(a.Weight, 0), 100), Maint: a.Maint, Drain: a.Drain}
	}
	for _, c := range s.Causes {
		out.Causes = append(out.Causes, Cause{Kind: c.Kind, Weight: c.Weight, Since: past(c.Since, now)})
	}
	if s.Ramp != nil {
		out.ramp = ramp{carries: true, since: past(s.Ramp.Since, now)}
	}
	if f := s.Flaps; f != nil {
		out.flaps = flaps{state: f.State, falls: max(f.Falls, 0), until: f.Until, resetAt: f.Calm}
		if latest := now.Add(maxHoldDown); f.Until.After(latest) {
			out.flaps.until, out.flaps.resetAt = latest, latest.Add(flapReset)
		}
	}
	return out
}

// AgentReports returns what the servers' agents reported last, where that reduces a weight.
// It is valid over a restart: an agent that drained its server need not repeat that.
func (p *Decision) AgentReports() map[checker.ID]Agent {
	out := map[checker.ID]Agent{}
	if p == nil {
		return out
	}
	for _, svc := range p.Services {
		for _, s := range svc.Servers {
			if s.agentReport.reducesWeight() {
				out[s.ID] = s.agentReport
			}
		}
	}
	return out
}

// past bounds a time by now; zero stays zero.
func past(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}
