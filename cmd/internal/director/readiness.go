package director

import (
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
)

// readinessInterval is how often a director that is not ready decides again.
const readinessInterval = 200 * time.Millisecond

// waiting is what this director waits for before it preempts a live master; ""
// when it is ready.
func (d *Director) waiting() string {
	if p := d.waits.Load(); p != nil {
		return *p
	}
	return "waits for the kernel's table"
}

// updateReadiness lets the instances preempt once every check has a result and, where
// connections are synchronised, most of the master's are known.
func (d *Director) updateReadiness(next *decision.Decision, health map[checker.ID]checker.Health) {
	now := time.Now()
	if d.instances.AnyFault() {
		d.trusted = now // the checks fail because of it
	}
	checks := decision.WaitsForChecks(now, d.trusted, next.Services, health)
	first, each := checks, make(map[string]string, len(next.Config.Instances))
	for _, i := range next.Config.Instances {
		waits := checks
		if waits == "" && next.Config.IPVS.Sync != nil && !d.instances.IsMaster(i.Name) {
			waits = decision.WaitsForConnections(now, d.trusted, i, d.ownConnections(), d.peers())
		}
		if each[i.Name] = waits; first == "" {
			first = waits
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
