// A director that comes up, or whose interface was away, knows nothing of its
// real servers: with the virtual address it would refuse every client that the
// peer serves. So it does not preempt a live master before its checks are in.
// It takes over all the same when no master is heard.
//
// PURE.

package director

import (
	"fmt"
	"time"

	"lvsd/checker"
)

// readinessLimit bounds the waiting: a check with a very long interval must not
// keep the better director away for ever.
const readinessLimit = time.Minute

// notReady says what a director still waits for since the moment from which on
// its probes count; "" when it is ready.
func notReady(now, since time.Time, services []ServicePlan, health map[checker.ID]checker.Health) string {
	if now.Sub(since) >= readinessLimit {
		return ""
	}
	waiting := 0
	for _, svc := range services {
		for _, s := range svc.Servers {
			if !settled(since, health[s.ID]) {
				waiting++
			}
		}
	}
	if waiting == 0 {
		return ""
	}
	return fmt.Sprintf("waits for the checks of %d real servers", waiting)
}

// settled says whether a verdict rests on probes since that moment, and is not
// just about to become better.
func settled(since time.Time, h checker.Health) bool {
	if h.Verdict == checker.Unknown || h.Verdict == checker.Down && h.InARow > 0 {
		return false
	}
	for _, c := range h.Checks {
		if c.Type == checker.TypeOn || c.Type == checker.TypeOff {
			continue
		}
		if c.Last.At.Before(since) {
			return false
		}
	}
	return true
}
