package director

import (
	"fmt"
	"strings"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
)

// readinessInterval is how often a director that is not ready decides again.
const readinessInterval = 200 * time.Millisecond

// waiting is what this director waits for before it preempts a live master; ""
// when it is ready.
func (d *Director) waiting() string {
	if p := d.waits.Load(); p != nil {
		return *p
	}
	return "waiting for the kernel's IPVS table"
}

// updateReadiness lets the instances preempt once every check has a result and, where
// connections are synchronised, most of the master's are known. When a fault ends they wait
// again, because the checks may have failed due to it. While it lasts only its own instance
// waits, as a fault may last for ever.
func (d *Director) updateReadiness(next *decision.Decision, health map[checker.ID]checker.Health) {
	now := time.Now()
	faults := d.instances.InFault()
	for name := range d.faults {
		if !faults[name] {
			d.trusted = now
		}
	}
	d.faults = faults
	checks := decision.WaitsForChecks(now, d.trusted, next.Services, health)
	first, each := checks, make(map[string]string, len(next.Config.Instances))
	for _, i := range next.Config.Instances {
		waits := checks
		if waits == "" && next.Config.IPVS.Sync != nil && !d.instances.IsMaster(i.Name) {
			waits = decision.WaitsForConnections(now, d.trusted, i, d.ownConnections(), d.peers())
		}
		if first == "" {
			first = waits
		}
		if each[i.Name] = waits; waits == "" && faults[i.Name] {
			each[i.Name] = "waiting for the end of the fault"
		}
	}
	d.waits.Store(&first)
	d.instances.SetWaits(each)
}

// peers are the other directors, as far as they are known.
func (d *Director) peers() []decision.Peer {
	if d.deps.Peers == nil {
		return nil
	}
	return d.deps.Peers.Peers()
}

// ownConnections is how many connections this kernel knows; negative: not known.
func (d *Director) ownConnections() int {
	if d.deps.Peers == nil {
		return -1
	}
	return d.deps.Peers.OwnConnections()
}

const (
	// startLimit bounds how long first results are waited for. A server that has none by
	// then is added with weight 0.
	startLimit = 10 * time.Second
	// While they come in, a wake-up waits for others gatherShare times as long as the
	// latest decision took, at most gatherMost: thousands of them cost few decisions.
	gatherShare = 8
	gatherMost  = time.Second
)

// start is the time from the first decision until each real server has a result. New
// servers are written once then, and reported together instead of in several lines each.
type start struct {
	began    time.Time // zero: before the first decision
	ended    bool
	reloaded bool            // a reload ends the start: it does at once what lvsd plan showed
	took     time.Duration   // of the latest decision
	unserved map[string]bool // services new to this director that had no quorum yet
}

// waits reports whether first results are still waited for.
func (s *start) waits(now time.Time, targeted bool, health map[checker.ID]checker.Health) bool {
	if s.ended {
		return false
	}
	if s.began.IsZero() {
		s.began, s.unserved = now, map[string]bool{}
	}
	if s.reloaded || now.Sub(s.began) >= startLimit {
		return false
	}
	for _, h := range health {
		if h.State == checker.Unknown {
			return true
		}
	}
	return !targeted
}

// gather is how long a wake-up waits for others.
func (s *start) gather() time.Duration {
	if s.ended {
		return gatherDelay
	}
	return max(gatherDelay, min(gatherShare*s.took, gatherMost))
}

// endStart reports the result of the start.
func (d *Director) endStart(plan *decision.Decision, now time.Time) {
	for i := range plan.Services {
		if svc := &plan.Services[i]; d.start.unserved[svc.Name] {
			d.deps.Events.Record(quorumEvent(nil, svc))
		}
	}
	if len(plan.Services) > 0 {
		d.deps.Events.Record(summary(plan, now.Sub(d.start.began)))
	}
	d.start = start{ended: true}
}

// summary is the event of the end of a start.
func summary(plan *decision.Decision, took time.Duration) event.Event {
	var up, down, unknown, quorums int
	for _, svc := range plan.Services {
		if svc.Up {
			quorums++
		}
		for _, s := range svc.Servers {
			switch s.State {
			case checker.Up:
				up++
			case checker.Down:
				down++
			default:
				unknown++
			}
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d real servers are up", up, up+down+unknown)
	if down > 0 {
		fmt.Fprintf(&text, ", %d down", down)
	}
	if unknown > 0 {
		fmt.Fprintf(&text, ", %d without a result", unknown)
	}
	fmt.Fprintf(&text, "; %d of %d services have their quorum; after %v", quorums, len(plan.Services), took.Round(time.Millisecond))
	return event.Event{Kind: event.KindDaemon, To: "checked", Reason: text.String()}
}
