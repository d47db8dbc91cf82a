package decision

import (
	"fmt"
	"time"

	"lvsd/checker"
	"lvsd/checker/probe"
	"lvsd/cmd/internal/printable"
	"lvsd/config"
	"lvsd/vrrp"
)

// readinessLimit bounds the waiting: a check with a very long interval must not keep the
// preferred director from preempting.
const readinessLimit = time.Minute

// WaitsForChecks returns what a director waits for before it preempts a live master: a result
// of each check since the moment when probes began to count. "": it is ready. A director
// that has just started knows nothing of its real servers, and would refuse the clients
// that the peer serves. Where there is no master it takes over anyway.
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
	return "waiting for the checks of " + printable.Count(waiting, "real server")
}

// verified reports whether a health is based on probes since that moment, and is not about to
// improve.
func verified(since time.Time, h checker.Health) bool {
	if h.State == checker.Unknown || h.State == checker.Down && h.InARow > 0 {
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

// enoughConnections is how much of the master's connections a director must have, in percent:
// never all, because they change while they are counted, and the kernel has not
// synchronised the newest.
const enoughConnections = 95

// enough reports whether a director knows as many connections as another one, about; its own
// are negative where they are not known.
func enough(own, peer int) bool { return own >= 0 && own*100 >= peer*enoughConnections }

// WaitsForConnections returns what a director with connection sync waits for before it preempts
// in an instance, or may be handed it; "": nothing.
func WaitsForConnections(now, since time.Time, e config.Instance, own int, peers []Peer) string {
	left := e.SyncHold - now.Sub(since)
	if left <= 0 {
		return ""
	}
	for _, p := range peers {
		if !p.Up || p.Instances[e.Name].State != string(vrrp.Master) || p.Connections < 0 || own < 0 {
			continue
		}
		if enough(own, p.Connections) {
			return ""
		}
		return fmt.Sprintf("waiting for connections: %d of the %d of %s synchronised, %v of sync_hold left", own, p.Connections, p.Name, left.Round(time.Second))
	}
	return fmt.Sprintf("waiting for connections, %v of sync_hold left", left.Round(time.Second))
}

// Peer is another director as it reports itself in the exchange.
type Peer struct {
	Name       string
	Up         bool   // it replied recently
	Error      string // why it did not
	WaitReason string // what it waits for before it may be handed the addresses
	// Unreachable: it has not replied although there was time for it. A peer that was not
	// asked long enough yet is neither Up nor Unreachable.
	Unreachable bool
	// RequestedAt is when the request was sent whose reply this is.
	RequestedAt time.Time
	// Instances are its instances, Announces its announcements, by name.
	Instances map[string]PeerInstance
	Announces map[string]PeerAnnounce
	// Hash is that of its configuration, and Probed has the real servers that its own probes
	// find up, see Probed; Answers: it replied to the latest request.
	Hash    string
	Probed  []byte
	Answers bool
	// Connections is how many its kernel has; negative: not known.
	Connections int
}

// PeerInstance is one instance of a peer.
type PeerInstance struct {
	State   string // init, backup, master, fault
	Standby bool
}

// PeerAnnounce is one announcement of a peer.
type PeerAnnounce struct {
	Announced bool // it has routes
	Serving   bool // and can serve
	Kept      bool // although it should not
}

// NotReady returns why a peer is not ready to take an instance's addresses; "": it is.
func (p Peer) NotReady(instance string) string {
	e, takes := p.Instances[instance]
	switch {
	case !p.Up:
		return "does not answer: " + p.Error
	case !takes:
		return "has no such VRRP instance"
	case e.State != string(vrrp.Backup):
		return "is " + e.State + " itself"
	case e.Standby:
		return "is on standby itself"
	case p.WaitReason != "":
		return p.WaitReason
	}
	return ""
}
