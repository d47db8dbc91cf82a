// A director that comes up, or whose interface was away, knows nothing of its
// real servers: with the virtual address it would refuse every client that the
// peer serves. So it does not preempt a live master before its checks are in.
// Nor before it knows their connections, where these are synchronised.
// It takes over all the same when no master is heard.

package decision

import (
	"fmt"
	"time"

	"lvsd/checker"
	"lvsd/checker/probe"
	"lvsd/config"
	"lvsd/vrrp"
)

// readinessLimit bounds the waiting: a check with a very long interval must not
// keep the better director away for ever.
const readinessLimit = time.Minute

// WaitsForChecks says what a director still waits for since the moment from which on
// its probes count; "" when it is ready.
func WaitsForChecks(now, since time.Time, services []Service, health map[checker.ID]checker.Health) string {
	if now.Sub(since) >= readinessLimit {
		return ""
	}
	waiting := 0
	for _, svc := range services {
		for _, s := range svc.Servers {
			if !verified(since, health[s.ID]) {
				waiting++
			}
		}
	}
	if waiting == 0 {
		return ""
	}
	return fmt.Sprintf("waits for the checks of %d real servers", waiting)
}

// verified says whether a verdict rests on probes since that moment, and is not
// just about to become better.
func verified(since time.Time, h checker.Health) bool {
	if h.Verdict == checker.Unknown || h.Verdict == checker.Down && h.InARow > 0 {
		return false
	}
	for _, c := range h.Checks {
		if c.Type == probe.TypeOn || c.Type == probe.TypeOff {
			continue
		}
		if c.Last.At.Before(since) {
			return false
		}
	}
	return true
}

// enoughConnections is how much of the master's connections a director must know, in percent:
// those that come and go while they are counted, and those that the kernel has not
// told yet, are never all there.
const enoughConnections = 95

// WaitsForConnections says what a director of synchronised connections still waits for before
// it preempts in an election, or may be handed it; "" when for nothing.
func WaitsForConnections(now, since time.Time, e config.Instance, own int, peers []Peer) string {
	left := e.SyncHold - now.Sub(since)
	if left <= 0 {
		return ""
	}
	for _, p := range peers {
		if !p.Up || p.Instances[e.Name].State != string(vrrp.Master) || p.Connections < 0 || own < 0 {
			continue
		}
		if own*100 >= p.Connections*enoughConnections {
			return ""
		}
		return fmt.Sprintf("waits for connections: it knows %d of the %d of %s, %v of sync_hold are left", own, p.Connections, p.Name, left.Round(time.Second))
	}
	return fmt.Sprintf("waits for connections: %v of sync_hold are left", left.Round(time.Second))
}

// Peer is another director as it says of itself over the pair's exchange.
type Peer struct {
	Name  string
	Up    bool   // it answered lately
	Error string // why it did not
	Waits string // what it waits for before it could serve
	// Instances are those that it takes part in, by name.
	Instances map[string]PeerInstance
	// Connections is how many its kernel knows; negative: it does not say.
	Connections int
}

// PeerInstance is one election as a peer stands in it.
type PeerInstance struct {
	State   string // init, backup, master, fault
	Standby bool
}

// NotReady says why a peer is not ready to take an election's addresses.
func (p Peer) NotReady(election string) string {
	e, takes := p.Instances[election]
	switch {
	case !p.Up:
		return "does not answer: " + p.Error
	case !takes:
		return "has no such election"
	case e.State != string(vrrp.Backup):
		return "is " + e.State + " itself"
	case e.Standby:
		return "is held itself"
	case p.Waits != "":
		return p.Waits
	}
	return ""
}
