package decision

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// Inputs is all that a decision depends on.
type Inputs struct {
	Now    time.Time
	Config *config.Config
	Health map[checker.ID]checker.Health
	// Kernel is the table as it was last read: until a server's first result the
	// kernel's weight counts.
	Kernel ipvs.Table
	// Before is the decision before this one, nil at the start: for the quorum's
	// hysteresis, slow start, damping, the guard and the age of causes.
	Before *Decision
	// Starting: first results are still coming in. A server that the kernel lacks is left
	// out of the table until its own, so that it is written once, and no fallback takes
	// over before.
	Starting bool
	// MarkServices are the services of probes through the kernel's forwarding:
	// they are part of the desired table and have no reasons.
	MarkServices []MarkService
}

// MarkService is the service of a firewall mark for probes to one real server.
type MarkService struct {
	Service ipvs.Service
	Name    string // shown in place of a configured service's
}

// Decision is the outcome of a decision.
type Decision struct {
	// Config is the configuration of the decision: Services are its services, in
	// the same order.
	Config   *config.Config
	Desired  ipvs.Desired
	Services []Service // in the order of the file
	Guard    Guard
	// Next is when time alone will change the decision; zero: never.
	Next time.Time

	health map[checker.ID]checker.Health // that it was made from
}

// RealServer is what is decided for one real server of one service.
type RealServer struct {
	ID         checker.ID
	Address    netip.AddrPort
	Configured int
	// Weight is the effective one: the lowest of all causes.
	Weight int
	// InTable: the desired table has the server. A failed server of a service with
	// on_failure = "remove" is left out.
	InTable bool
	// DrainUntil is when a configured drain ends by itself; zero: it does not.
	DrainUntil time.Time
	// State is the checks' own, before guard and panic mode.
	State checker.State
	// UncheckedSince is since when this director cannot make a check of the server, and
	// UncheckedWhy which and why; zero: it can.
	UncheckedSince time.Time
	UncheckedWhy   string
	Agent          Agent
	Causes         []Cause // the configured weight first

	ramp  ramp
	flaps flaps
	// saved is the reason of its weight before the restart, while it has no result yet, and
	// agentReport the latest report of its agent, also of before the restart.
	saved       string
	agentReport Agent
}

// Draining reports whether the server gets no new connections because the configuration
// or its agent says so, whatever its health.
func (s RealServer) Draining() bool {
	return s.Configured == 0 || !s.DrainUntil.IsZero() || s.Agent.drains()
}

// DrainingSince is when the drain began; zero for a server that does not drain.
func (s RealServer) DrainingSince() time.Time {
	if !s.Draining() {
		return time.Time{}
	}
	for _, c := range s.Causes {
		if c.Weight == 0 && (c.Kind == CauseDrain || c.Kind == CauseAgent) {
			return c.Since
		}
	}
	return time.Time{}
}

// Decide computes the desired table and the reasons for it.
func Decide(in Inputs) Decision {
	c := in.Config
	plan := Decision{Config: c, Desired: DesiredSettings(c, in.Now), health: in.Health, Services: make([]Service, 0, len(c.Services))}
	d := decider{Inputs: in, services: map[string]*Service{}}
	if in.Before != nil {
		d.remember(in.Before)
		d.guard = in.Before.Guard
	}
	d.keepTemplates = plan.Desired.KeepTemplates
	d.guard = d.guard.next(in.Now, c, in.Health)
	for _, svc := range c.Services {
		wanted, decided, same := d.reuse(svc)
		if !same {
			wanted, decided = d.service(svc)
		}
		plan.Desired.Table[wanted.Key] = wanted
		dropFailed(&plan.Desired, decided)
		plan.Services = append(plan.Services, decided)
	}
	for _, m := range in.MarkServices {
		plan.Desired.Table[m.Service.Key] = m.Service
		plan.Desired.Names[m.Service.Key] = m.Name
	}
	plan.Guard = d.guard
	plan.Next = Earliest(d.next, d.guard.deadline(in.Now))
	return plan
}

// decider is one run of Decide.
type decider struct {
	Inputs
	guard         Guard
	keepTemplates bool                // persistent clients stay on servers of weight 0
	services      map[string]*Service // decided before, by name
	next          time.Time
	all           []evaluation // of the service that is decided
	servers       []*evaluation
}

func (d *decider) remember(p *Decision) {
	for i := range p.Services {
		d.services[p.Services[i].Name] = &p.Services[i]
	}
}

// wakeAt records when time alone changes something.
func (d *decider) wakeAt(t time.Time) { d.next = Earliest(d.next, t) }

// evaluation is a real server while it is decided about.
type evaluation struct {
	rs       config.RealServer
	health   checker.Health
	kernel   ipvs.Destination
	inKernel bool // the kernel has it
	plan     RealServer
	before   *RealServer // nil for a new server

	// state is the health that counts after the guard; frozen: it is not the checks'
	// own.
	state           checker.State
	frozen          bool
	drained         bool // by configuration
	damped          bool // up, and held down for failing too often
	dampingReleased bool // damped, except that the quorum needs it
	assumedUp       bool // counts as up in panic mode
}

// operatorWeight is the configured weight; 0 during a drain.
func (s *evaluation) operatorWeight() int {
	if s.drained {
		return 0
	}
	return s.rs.Weight
}

// available reports whether a server counts as up without panic mode.
func (s *evaluation) available() bool { return s.state == checker.Up && !s.damped }

// evaluate gathers what is known of a server, up to the health that counts.
func (d *decider) evaluate(s *evaluation, svc config.Service, rs config.RealServer, before *RealServer, kernel ipvs.Destination, known bool) {
	id := ServerID(svc, rs)
	h := d.Health[id]
	*s = evaluation{rs: rs, health: h, kernel: kernel, inKernel: known, before: before,
		plan: RealServer{ID: id, Address: rs.Address, Configured: rs.Weight, State: h.State, Agent: agentOf(h),
			UncheckedSince: h.UncheckedSince, UncheckedWhy: h.UncheckedWhy}}
	if s.drained = rs.Weight == 0 || d.Now.Before(rs.DrainUntil); d.Now.Before(rs.DrainUntil) {
		s.plan.DrainUntil = rs.DrainUntil
		d.wakeAt(rs.DrainUntil)
	}
	s.state, s.frozen = d.guard.effective(id, h)
	s.plan.agentReport = s.plan.Agent
	if s.before != nil && h.State == checker.Unknown {
		s.plan.agentReport = s.before.agentReport
	}
	if s.before != nil {
		s.plan.ramp, s.plan.flaps = s.before.ramp, s.before.flaps
		if h.State == checker.Unknown {
			s.plan.saved = s.before.saved
		}
	}
	if !svc.FlapDamping {
		s.plan.flaps = flaps{}
		return
	}
	s.plan.flaps = s.plan.flaps.observe(s.state, d.Now)
	if s.damped = s.plan.flaps.heldDown(d.Now); s.damped {
		d.wakeAt(s.plan.flaps.until)
	}
}

// applyWeights adds a server's causes, each with a weight of its own: the lowest is the
// server's weight (docs/design.md, rule 8).
func (d *decider) applyWeights(svc config.Service, p *Service, s *evaluation) {
	add := func(kind CauseKind, weight int, since time.Time, text string) {
		c := Cause{Kind: kind, Weight: weight, Since: since, Text: text}
		if since.IsZero() {
			c.Since = s.since(c, d.Now)
		}
		s.plan.Causes = append(s.plan.Causes, c)
	}
	until := func(t time.Time) { s.plan.Causes[len(s.plan.Causes)-1].Until = t }
	rs, h, file, line := s.rs, s.health, cmp.Or(svc.File, "the file"), s.rs.WeightPosition.Line
	switch {
	case !s.plan.DrainUntil.IsZero():
		add(CauseDrain, 0, time.Time{}, fmt.Sprintf("drained until %s (drain_until in %s, line %d), then weight %d",
			rs.DrainUntil.UTC().Format(time.RFC3339), file, rs.DrainUntilPosition.Line, rs.Weight))
		until(rs.DrainUntil)
	case rs.Drain:
		add(CauseDrain, 0, time.Time{}, fmt.Sprintf("drained: drain = true in %s, line %d", file, line))
	case rs.Weight == 0:
		add(CauseDrain, 0, time.Time{}, fmt.Sprintf("drained: weight 0 in %s, line %d", file, line))
	default:
		// The one cause of most servers, and so without the cost of a format.
		add(CauseConfigured, rs.Weight, time.Time{}, "weight "+strconv.Itoa(rs.Weight)+" in "+file+", line "+strconv.Itoa(line))
	}
	if a := s.plan.Agent; a.reducesWeight() {
		add(CauseAgent, a.weight(rs.Weight), time.Time{}, fmt.Sprintf("reported by the server: %s", a))
	}
	unchecked := ""
	if !h.UncheckedSince.IsZero() {
		add(CauseUnchecked, rs.Weight, h.UncheckedSince, "unchecked: "+h.UncheckedWhy)
		unchecked = "; unchecked: " + h.UncheckedWhy
	}
	if percent := s.slowStart(d, svc); percent < 100 && !p.Panic {
		add(CauseSlowStart, share(rs.Weight, percent), s.plan.ramp.since, fmt.Sprintf("slow start %d %% of %v", percent, svc.SlowStart))
		until(s.plan.ramp.since.Add(svc.SlowStart))
	}
	if s.frozen {
		add(CauseGuard, rs.Weight, d.guard.Since, fmt.Sprintf("%s: %s counts, not %s", d.guard.text(), s.state, DescribeHealth(h)))
	}
	switch {
	case s.assumedUp:
		add(CausePanic, rs.Weight, p.PanicSince, "panic mode: treated as up although "+s.downReason())
	case s.state == checker.Down:
		add(CauseHealth, 0, h.Since, DescribeHealth(h))
	case s.state == checker.Unknown:
		// Rule 7 of docs/design.md: a server that the kernel has keeps its weight, a
		// new one waits.
		if s.inKernel {
			add(CausePending, min(s.kernel.Weight, rs.Weight), h.Since, fmt.Sprintf("waiting for the first health check: keeping the kernel's weight %d%s%s", s.kernel.Weight, s.plan.savedReason(), unchecked))
		} else {
			add(CausePending, 0, h.Since, "waiting for the first health check"+unchecked)
		}
	case s.damped:
		add(CauseDamping, 0, h.Since, s.downReason())
		until(s.plan.flaps.until)
	case s.dampingReleased:
		add(CauseQuorum, rs.Weight, time.Time{}, fmt.Sprintf("needed for the quorum, although it failed %d times recently", s.plan.flaps.falls))
	}
	s.plan.Weight = s.plan.Why().Weight
}

// savedReason is the reason before the restart, for the text of a cause.
func (s RealServer) savedReason() string {
	if s.saved == "" {
		return ""
	}
	return "; before the restart: " + s.saved
}

// downReason is why a server does not count as up.
func (s *evaluation) downReason() string {
	if s.damped {
		f := s.plan.flaps
		return fmt.Sprintf("flap damping: %d recent failures, held down for %v", f.falls, f.holdDown())
	}
	return DescribeHealth(s.health)
}

// slowStart updates the ramp and returns its share in percent.
func (s *evaluation) slowStart(d *decider, svc config.Service) int {
	balanced := s.inKernel && s.kernel.Weight > 0
	carries := s.operatorWeight() > 0 && !s.plan.Agent.drains() && (s.available() || s.state == checker.Unknown && balanced)
	s.plan.ramp = s.plan.ramp.observe(carries, s.before == nil && balanced, svc.SlowStart, d.Now)
	if !carries {
		return 100
	}
	d.wakeAt(s.plan.ramp.next(svc.SlowStart, d.Now))
	return s.plan.ramp.percent(svc.SlowStart, d.Now)
}

// since is when a cause began: it is as old as the same one in the decision before.
func (s *evaluation) since(c Cause, now time.Time) time.Time {
	if s.before != nil {
		for _, was := range s.before.Causes {
			if was.Kind == c.Kind && was.Weight == c.Weight {
				return was.Since
			}
		}
	}
	return now
}

// ServerID is the checker's name of a real server of a service.
func ServerID(svc config.Service, rs config.RealServer) checker.ID {
	return checker.ID{Service: svc.Name, RealServer: rs.Address.String()}
}
