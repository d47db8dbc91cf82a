// Which elections the services bend: a director behind which a service has lost
// its quorum should not be master while another one has it. It is a level of each
// decision; what the election makes of it is the election's own.

package decision

import (
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/vrrp"
)

// quorumLost says whether failures took the quorum away: with all that is not drained in
// good health it would be there. A server without a verdict has not failed, and
// while the fallback serves nothing is lost that another director would have.
func (p *Service) quorumLost(need int, servers []*evaluation) bool {
	if p.Up || p.Fallback.Active {
		return false
	}
	alive, could := 0, 0
	for _, s := range servers {
		healthy := s.plan.Agent.weight(s.operatorWeight())
		could += healthy
		switch {
		case s.verdict == checker.Unknown:
			alive += healthy
		case s.plan.Listed:
			alive += s.plan.availableWeight()
		}
	}
	return alive < need && could >= need
}

// Tracked is what the services do to an election.
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

// TrackingDelay is how long a director that tracks services waits before it preempts:
// a round of their checks. When the servers die for both directors, the one that
// noticed first has the lower priority for a moment, and that is no reason to move
// anything.
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
