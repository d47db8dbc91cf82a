package decision

import (
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/vrrp"
)

// quorumLost reports whether failures caused the loss of the quorum: with every server that
// is not drained healthy it would be reached. A server without a result has not failed, and
// while the fallback serves another director would do no better.
func (p *Service) quorumLost(need int, servers []*evaluation) bool {
	if p.Up || p.Fallback.Active {
		return false
	}
	alive, could := 0, 0
	for _, s := range servers {
		healthy := s.plan.Agent.weight(s.operatorWeight())
		could += healthy
		switch {
		case s.state == checker.Unknown:
			alive += healthy
		case s.plan.InTable:
			alive += s.plan.availableWeight()
		}
	}
	return alive < need && could >= need
}

// Tracked returns how the services adjust an instance's priority: a director behind which a
// service has lost its quorum should not be master while another one has it.
func Tracked(tracks []config.TrackedService, services []Service) map[string]vrrp.Tracked {
	out := map[string]vrrp.Tracked{}
	for _, t := range tracks {
		for _, s := range services {
			if s.Name == t.Name && s.QuorumLost {
				name := "service " + t.Name
				out[name] = vrrp.Tracked{Name: name, Delta: t.Weight, Fault: t.Fault}
			}
		}
	}
	return out
}

// TrackingDelay is how long an instance that tracks services waits before it preempts: a round of
// their checks. When the servers fail for both directors, the one that detects it first has
// the lower priority for a moment, which must not move anything.
func TrackingDelay(tracks []config.TrackedService, services []config.Service) time.Duration {
	var longest time.Duration
	for _, t := range tracks {
		for _, svc := range services {
			if svc.Name != t.Name {
				continue
			}
			for _, rs := range svc.RealServers {
				for _, c := range rs.Checks {
					longest = max(longest, c.Interval+c.Timeout)
				}
			}
		}
	}
	return longest
}
