package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// Service is what is decided for one virtual service.
type Service struct {
	Name string
	Key  ipvs.ServiceKey
	// Up: the available weight reaches the quorum (plus the hysteresis on the way
	// up).
	Up bool
	// QuorumLost: failures caused the loss of the quorum, and no fallback serves.
	QuorumLost bool
	// AvailableWeight is the sum of the weights without slow start.
	AvailableWeight int
	// Panic: so few servers are healthy that all count as up (panic mode).
	Panic      bool
	PanicSince time.Time
	// Healthy of Counted servers are healthy; drained ones do not count.
	Healthy, Counted int
	Fallback         Fallback
	Servers          []RealServer // in the order of the file

	digest   string // of the service in the file
	reusable bool   // see reuse
}

// Fallback is the server that takes over while the quorum is lost.
type Fallback struct {
	Address netip.AddrPort // zero: none
	Active  bool
	Since   time.Time // when it took over
}

// service decides for one virtual service.
func (d *decider) service(svc config.Service) (ipvs.Service, Service) {
	wanted := DesiredService(svc)
	decided := Service{Name: svc.Name, Key: wanted.Key, Fallback: Fallback{Address: svc.Fallback}, digest: svc.Digest}
	was, before := d.Kernel[wanted.Key].Destinations, d.services[svc.Name]
	all, servers := d.scratch(len(svc.RealServers))
	old := before.Lookup()
	next := d.next
	d.next = time.Time{}
	for i, rs := range svc.RealServers {
		kernel, known := was[rs.Address]
		servers[i] = &all[i]
		d.evaluate(servers[i], svc, rs, old(i, rs.Address), kernel, known)
	}
	releaseDamping(svc, servers)
	decided.panicMode(svc, servers, before, d.Now)
	for _, s := range servers {
		d.applyWeights(svc, &decided, s)
		if s.plan.InTable = inTable(svc, s, d.keepTemplates) && !d.waits(s); s.plan.InTable {
			decided.AvailableWeight += s.plan.availableWeight()
		}
	}
	need := svc.Quorum
	if before == nil || !before.Up {
		need += svc.Hysteresis
	}
	decided.Up = decided.AvailableWeight >= need
	if _, serves := was[svc.Fallback]; serves || !slices.ContainsFunc(servers, d.waits) {
		decided.applyFallback(svc, before, servers, d.Now)
	}
	decided.QuorumLost = decided.quorumLost(need, servers)
	decided.Servers = make([]RealServer, 0, len(servers))
	for _, s := range servers {
		decided.Servers = append(decided.Servers, s.plan)
		if s.plan.InTable {
			dest := DesiredDestination(s.rs)
			dest.Weight = s.plan.Weight
			wanted.Destinations[s.rs.Address] = dest
		}
	}
	if decided.Fallback.Active {
		dest := desiredFallback(svc)
		wanted.Destinations[dest.Address] = dest
	}
	decided.reusable = d.next.IsZero() && reusableServers(svc, servers)
	d.next = Earliest(next, d.next)
	return wanted, decided
}

// scratch returns room for the servers of one service, which the next one uses again.
func (d *decider) scratch(n int) ([]evaluation, []*evaluation) {
	d.all, d.servers = slices.Grow(d.all[:0], n)[:n], slices.Grow(d.servers[:0], n)[:n]
	return d.all, d.servers
}

// waits reports whether a server stays out of the table until its first result.
func (d *decider) waits(s *evaluation) bool {
	return d.Starting && s.state == checker.Unknown && !s.inKernel
}

// releaseDamping releases the servers that flap damping holds down while the service has
// no quorum without them.
func releaseDamping(svc config.Service, servers []*evaluation) {
	without := 0
	for _, s := range servers {
		if s.available() {
			without += s.plan.Agent.weight(s.operatorWeight())
		}
	}
	if without >= svc.Quorum {
		return
	}
	for _, s := range servers {
		if s.damped {
			s.damped, s.dampingReleased = false, true
		}
	}
}

// panicMode counts the healthy servers of those that are not drained. A server without a
// result counts as healthy, so that a start is no panic. It has no hysteresis of its own:
// rise and fall of the checks are one.
func (p *Service) panicMode(svc config.Service, servers []*evaluation, before *Service, now time.Time) {
	for _, s := range servers {
		if s.drained || s.plan.Agent.drains() {
			continue
		}
		p.Counted++
		if s.available() || s.state == checker.Unknown {
			p.Healthy++
		}
	}
	if p.Panic = p.Healthy*100 < svc.PanicThreshold*p.Counted; !p.Panic {
		return
	}
	p.PanicSince = now
	if before != nil && before.Panic {
		p.PanicSince = before.PanicSince
	}
	for _, s := range servers {
		s.assumedUp = !s.available() && s.state != checker.Unknown
	}
}

// applyFallback replaces the remaining servers by the fallback while the quorum is lost:
// they get weight 0, or leave the table where weight 0 would still send clients to them or
// refuse clients.
func (p *Service) applyFallback(svc config.Service, before *Service, servers []*evaluation, now time.Time) {
	if p.Up || !p.Fallback.Address.IsValid() {
		return
	}
	p.Fallback.Active, p.Fallback.Since = true, now
	if before != nil && before.Fallback.Active {
		p.Fallback.Since = before.Fallback.Since
	}
	for _, s := range servers {
		if s.plan.Weight > 0 {
			s.plan.Causes = append(s.plan.Causes, Cause{Kind: CauseFallback, Since: p.Fallback.Since,
				Text: fmt.Sprintf("quorum lost (available weight %d): the fallback %s is serving", p.AvailableWeight, p.Fallback.Address)})
			s.plan.Weight = 0
			s.plan.InTable = s.plan.InTable && svc.OnFailure != "remove"
		}
	}
}

// availableWeight is the effective weight without slow start.
func (s RealServer) availableWeight() int {
	lowest := s.Configured
	for _, c := range s.Causes {
		if c.Kind != CauseSlowStart {
			lowest = min(lowest, c.Weight)
		}
	}
	return lowest
}

// inTable reports whether the desired table has a server. With on_failure = "remove" a
// server that failed, or that has no result and is not in the kernel, is left out; a
// drained one stays in with weight 0. While the kernel keeps persistent clients on servers
// of weight 0, a failed one would keep its own: it is left out, too.
func inTable(svc config.Service, s *evaluation, keep bool) bool {
	switch {
	case keep && svc.Persistence > 0 && s.state == checker.Down:
		return s.assumedUp
	case svc.OnFailure != "remove" || s.assumedUp:
		return true
	case s.state == checker.Unknown:
		return s.inKernel
	default:
		return s.available()
	}
}

// fallbackWeight is any: no other server has one then.
const fallbackWeight = 1

// desiredFallback returns the kernel's form of a service's fallback.
func desiredFallback(svc config.Service) ipvs.Destination {
	rs := config.RealServer{Address: svc.Fallback, Weight: fallbackWeight, Forward: svc.FallbackForward}
	if rs.Forward == "tun" {
		rs.Tunnel = svc.Tunnel
	}
	return DesiredDestination(rs)
}
