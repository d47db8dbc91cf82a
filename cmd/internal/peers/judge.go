// This file makes levels of what the peers said, and tells the changes.

package peers

import (
	"fmt"
	"reflect"
	"time"
)

// acquaintance is what the loop remembers of a peer between its questions.
type acquaintance struct {
	Peer
	watch watch
	told  Peer // what people were told last; Since zero: nothing
}

// meet makes the acquaintance of peers that are new, and forgets those that left.
func (e *Exchange) meet(s *setup, now time.Time) {
	next := make(map[string]*acquaintance, len(s.Peers))
	for _, p := range s.Peers {
		a := e.known[p.Name]
		if a == nil || a.Address != p.Address {
			a = &acquaintance{Peer: Peer{Name: p.Name, Address: p.Address, Since: now}}
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

// conclude takes up what all peers answered.
func (e *Exchange) conclude(s *setup, own State, answers []heard, now time.Time) {
	wake := false
	var changes []Change
	for i, p := range s.Peers {
		a := e.known[p.Name]
		before := a.Peer
		a.hear(s, own, answers[i], now)
		wake = wake || !alike(before, a.Peer)
		changes = append(changes, a.tell(own, now)...)
	}
	e.publish(s)
	if wake {
		e.o.Wake()
	}
	for _, c := range changes {
		e.o.OnChange(c)
	}
}

// alike says that two pictures of a peer are the same to whoever decides: how many
// connections it has he asks when he needs it.
func alike(a, b Peer) bool {
	for _, p := range []*Peer{&a, &b} {
		p.At, p.State.At, p.State.Connections, p.Clock, p.Error = time.Time{}, time.Time{}, nil, 0, ""
	}
	return reflect.DeepEqual(a, b)
}

// hear takes up one answer.
func (a *acquaintance) hear(s *setup, own State, h heard, now time.Time) {
	if h.err != nil {
		a.Error = h.err.Error()
		if a.Up && now.Sub(a.At) >= lost {
			a.Up, a.Since, a.Differences, a.watch = false, now, Differences{}, nil
		}
		return
	}
	if !a.Up {
		a.Up, a.Since = true, now
	}
	a.Error, a.At, a.State = "", now, h.state
	d := Differences{Config: own.Hash != h.state.Hash, Version: own.Version != h.state.Version, Clock: h.ahead.Round(100 * time.Millisecond)}
	var lasting []HealthDifference
	a.watch, lasting = a.watch.next(now, differing(own.Health, h.state.Health, d.Config), func(service, realServer string) time.Duration {
		return s.bears[server{service, realServer}]
	})
	d.HealthCount = len(lasting)
	d.Health = lasting[:min(len(lasting), maxDifferences)]
	a.Differences = d
}

// ClockDiffers says that the clocks are so far apart that something will break.
func (d Differences) ClockDiffers() bool { return d.Clock.Abs() > clockBears }

// Away says that a peer is not up, and has had the time to be.
func (p Peer) Away(now time.Time) bool { return !p.Up && now.Sub(p.Since) >= lost }

// tell lists what people should know, each once.
func (a *acquaintance) tell(own State, now time.Time) []Change {
	var all []Change
	say := func(from, to, format string, args ...any) {
		all = append(all, Change{At: now, Peer: a.Name, From: from, To: to, Reason: fmt.Sprintf(format, args...)})
	}
	told := &a.told
	switch {
	case a.Up && (!told.Up || told.Since.IsZero()):
		say(downText(told), "up", "it answers at %s", a.Address)
	case a.Away(now) && (told.Up || told.Since.IsZero()), !a.Up && told.Up:
		say(upText(told), "down", "%s", a.Error)
	case !a.Up:
		return nil
	}
	was := told.Differences
	if a.Up && a.Config != was.Config {
		say(pick(was.Config, "configuration differs"), pick(a.Config, "configuration differs", "configuration matches"), "%s here, %s there", own.Hash, a.State.Hash)
	}
	if a.Up && a.Version != was.Version {
		say(pick(was.Version, "version differs"), pick(a.Version, "version differs", "version matches"), "%s here, %s there", own.Version, a.State.Version)
	}
	if a.Up && a.ClockDiffers() != was.ClockDiffers() {
		say(pick(was.ClockDiffers(), "clock differs"), pick(a.ClockDiffers(), "clock differs", "clock matches"), "its clock is ahead by %v", a.Clock)
	}
	if a.Up && (a.HealthCount > 0) != (was.HealthCount > 0) {
		say(pick(was.HealthCount > 0, "health differs"), pick(a.HealthCount > 0, "health differs", "health matches"), "%s", a.HealthText())
	}
	*told = a.Peer
	return all
}

// HealthText says on which servers the two differ.
func (d Differences) HealthText() string {
	if d.HealthCount == 0 {
		return "both see all real servers alike"
	}
	f := d.Health[0]
	text := fmt.Sprintf("%s of %s is %s here and %s there", f.RealServer, f.Service, f.Own, f.Peer)
	if d.HealthCount > 1 {
		text += fmt.Sprintf(", and %d more differ", d.HealthCount-1)
	}
	return text
}

// String is a verdict, with its weight and why.
func (s ServerHealth) String() string {
	text := fmt.Sprintf("%s at weight %d", s.Verdict, s.Weight)
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

func upText(told *Peer) string   { return pick(told.Up, "up") }
func downText(told *Peer) string { return pick(!told.Up && !told.Since.IsZero(), "down") }
