// This file turns responses into levels for the director and changes for the history.

package peers

import (
	"fmt"
	"reflect"
	"time"
)

// knownPeer is the loop's state of a peer.
type knownPeer struct {
	Peer
	watch    watch
	reported Peer // reported last; zero Since: never
	inFlight bool // a request is under way
	repeat   bool // another one is to follow it at once
}

// updatePeers adds new peers and removes those that left.
func (e *Exchange) updatePeers(s *setup, now time.Time) {
	next := make(map[string]*knownPeer, len(s.Peers))
	for _, p := range s.Peers {
		a := e.known[p.Name]
		if a == nil || a.Address != p.Address {
			a = &knownPeer{Peer: Peer{Name: p.Name, Address: p.Address, Since: now}}
		}
		next[p.Name] = a
	}
	e.known = next
	e.publish(s)
}

func (e *Exchange) publish(s *setup) {
	peers := make([]Peer, 0, len(s.Peers))
	for _, p := range s.Peers {
		peers = append(peers, e.known[p.Name].Peer)
	}
	e.peers.Store(&peers)
}

// handle applies the response of one peer.
func (e *Exchange) handle(a result, now time.Time) {
	k := a.peer
	before := k.Peer
	k.update(a.setup, a.self, a.response, now)
	changes := k.changes(a.self, now)
	e.publish(a.setup)
	if !sameLevel(before, k.Peer) {
		e.o.Wake()
	}
	for _, c := range changes {
		e.o.OnChange(c)
	}
}

// sameLevel reports whether two states of a peer are the same to the director, which
// reads the number of connections when it needs it.
func sameLevel(a, b Peer) bool {
	for _, p := range []*Peer{&a, &b} {
		p.RequestedAt, p.At, p.State.At, p.State.Connections, p.Clock = time.Time{}, time.Time{}, time.Time{}, nil, 0
		p.Error = pick(p.Error != "", "did not reply")
	}
	return reflect.DeepEqual(a, b)
}

// update applies one response.
func (a *knownPeer) update(s *setup, own State, h response, now time.Time) {
	if h.err != nil {
		a.Error = h.err.Error()
		if a.Up && now.Sub(a.At) >= peerTimeout {
			a.Up, a.Since, a.Differences, a.watch = false, now, Differences{}, nil
		}
		return
	}
	if !a.Up {
		a.Up, a.Since = true, now
	}
	a.Error, a.RequestedAt, a.At, a.State = "", h.sentAt, now, h.state
	d := Differences{Config: own.Hash != h.state.Hash, Version: own.Version != h.state.Version, Clock: h.clockAhead.Round(100 * time.Millisecond)}
	var lasting []HealthDifference
	a.watch, lasting = a.watch.next(now, differing(own.Health, h.state.Health, d.Config), func(service, realServer string) time.Duration {
		return s.maxDiffering[server{service, realServer}]
	})
	d.HealthCount = len(lasting)
	d.Health = lasting[:min(len(lasting), maxDifferences)]
	a.Differences = d
}

// ClockDiffers reports whether the clocks differ by more than is tolerated.
func (d Differences) ClockDiffers() bool { return d.Clock.Abs() > maxClockDiff }

// Unreachable reports that a peer is unreachable, and has had the time to be reached.
func (p Peer) Unreachable(now time.Time) bool { return !p.Up && now.Sub(p.Since) >= peerTimeout }

// changes returns what to report, each once.
func (a *knownPeer) changes(own State, now time.Time) []Change {
	var all []Change
	add := func(from, to, format string, args ...any) {
		all = append(all, Change{At: now, Peer: a.Name, From: from, To: to, Reason: fmt.Sprintf(format, args...)})
	}
	last := &a.reported
	switch {
	case a.Up && (!last.Up || last.Since.IsZero()):
		add(downText(last), "up", "it replies at %s", a.Address)
	case a.Unreachable(now) && (last.Up || last.Since.IsZero()), !a.Up && last.Up:
		add(upText(last), "down", "%s", a.Error)
	case !a.Up:
		return nil
	}
	was := last.Differences
	if a.Up && a.Config != was.Config {
		add(pick(was.Config, "configuration differs"), pick(a.Config, "configuration differs", "configuration matches"), "%s here, %s there", own.Hash, a.State.Hash)
	}
	if a.Up && a.Version != was.Version {
		add(pick(was.Version, "version differs"), pick(a.Version, "version differs", "version matches"), "%s here, %s there", own.Version, a.State.Version)
	}
	if a.Up && a.ClockDiffers() != was.ClockDiffers() {
		add(pick(was.ClockDiffers(), "clock differs"), pick(a.ClockDiffers(), "clock differs", "clock matches"), "its clock is ahead by %v", a.Clock)
	}
	if a.Up && (a.HealthCount > 0) != (was.HealthCount > 0) {
		add(pick(was.HealthCount > 0, "health differs"), pick(a.HealthCount > 0, "health differs", "health matches"), "%s", a.HealthText())
	}
	*last = a.Peer
	return all
}

// HealthText names the servers whose health differs.
func (d Differences) HealthText() string {
	if d.HealthCount == 0 {
		return "both have the same health of all real servers"
	}
	f := d.Health[0]
	text := fmt.Sprintf("%s of %s is %s here and %s there", f.RealServer, f.Service, f.Local, f.Peer)
	if d.HealthCount > 1 {
		text += fmt.Sprintf(", and %d more differ", d.HealthCount-1)
	}
	return text
}

// String returns the health, weight and cause.
func (s ServerHealth) String() string {
	text := fmt.Sprintf("%s at weight %d", s.Health, s.Weight)
	if s.Why != "" {
		text += " (" + s.Why + ")"
	}
	return text
}

func pick(is bool, yes string, no ...string) string {
	switch {
	case is:
		return yes
	case len(no) > 0:
		return no[0]
	}
	return ""
}

func upText(last *Peer) string   { return pick(last.Up, "up") }
func downText(last *Peer) string { return pick(!last.Up && !last.Since.IsZero(), "down") }
