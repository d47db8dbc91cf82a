package decision

import (
	"fmt"
	"net/netip"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/config"
)

const (
	// A witness is pinged every witnessInterval and has witnessTimeout to reply, so
	// that a ping that is sent after a mass failure has its result within
	// guardPatience: for so long the failures do not count.
	witnessInterval = 500 * time.Millisecond
	witnessTimeout  = 500 * time.Millisecond
	guardPatience   = witnessInterval + witnessTimeout
	// guardPoll is how often the pings are read again while the guard is asking: one
	// that changes no health sends no wake-up.
	guardPoll = 50 * time.Millisecond
)

// GuardState is the state of the guard against mass failure: when most servers fail at
// once, by timeouts and the like, the failures count only if a witness replies, so that
// the path works.
type GuardState string

const (
	GuardOff      GuardState = ""         // not configured
	GuardWatching GuardState = "watching" // the checks' health counts
	GuardProbing  GuardState = "asking"   // a mass failure: waiting for the witnesses
	GuardFrozen   GuardState = "frozen"   // no witness replies: the health before counts
	// GuardRecovering: it is over, and each server keeps its health of before until its
	// checks have had the time for a new result.
	GuardRecovering GuardState = "thawing"
)

// Guard is the guard after a decision. The zero value is off.
type Guard struct {
	State GuardState
	Since time.Time // of State
	// Failing of Servers were failing when the guard last waited for witnesses.
	Failing, Servers int
	// Why is the reason of the state, for people.
	Why string

	// asked: pings that were sent before do not count.
	asked  time.Time
	seen   map[checker.ID]observation
	frozen map[checker.ID]frozenState
}

// Active reports whether the health is frozen.
func (g Guard) Active() bool { return g.State == GuardFrozen }

// observation is a server's health and the one before it.
type observation struct {
	state, before checker.State
	at            time.Time
	round         time.Duration // how long one round of its checks takes at most
}

// frozenState is the health that counts for a server instead of its own.
type frozenState struct {
	state checker.State
	until time.Time // while thawing: then its own counts
}

// WitnessID is the checker's name of a witness.
func WitnessID(a netip.Addr) checker.ID { return checker.ID{RealServer: "witness " + a.String()} }

// WitnessTargets returns the pings of the witnesses.
func WitnessTargets(g *config.Guard) []checker.Target {
	if g == nil {
		return nil
	}
	var out []checker.Target
	for _, a := range g.Witnesses {
		out = append(out, checker.Target{ID: WitnessID(a), Checks: []probe.Check{{
			Type: probe.TypePing, Address: netip.AddrPortFrom(a, 0), Interval: witnessInterval, Timeout: witnessTimeout, Rise: 1, Fall: 1,
		}}})
	}
	return out
}

// next returns the guard after one more decision.
func (g Guard) next(now time.Time, c *config.Config, health map[checker.ID]checker.Health) Guard {
	if c.Guard == nil {
		return Guard{}
	}
	if g.State == GuardOff {
		g = Guard{State: GuardWatching, Since: now}
	}
	g.seen = observe(g.seen, now, c, health)
	switch g.State {
	case GuardWatching, GuardProbing:
		return g.watch(now, c, health)
	case GuardFrozen:
		return g.freeze(now, c, health)
	default:
		return g.thaw(now, c, health)
	}
}

// observe records each server's health. Servers whose checks probe nothing do not count.
func observe(was map[checker.ID]observation, now time.Time, c *config.Config, health map[checker.ID]checker.Health) map[checker.ID]observation {
	seen := make(map[checker.ID]observation, len(was))
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			id := ServerID(svc, rs)
			h := health[id]
			if !probes(h) {
				continue
			}
			s, ok := was[id]
			switch {
			case !ok:
				s = observation{state: h.State, before: h.State, at: now}
			case s.state != h.State:
				s = observation{state: h.State, before: s.state, at: now}
			}
			s.round = round(rs)
			seen[id] = s
		}
	}
	return seen
}

// watch compares how many servers fail with the configured share, and waits for the
// witnesses when it is reached.
func (g Guard) watch(now time.Time, c *config.Config, health map[checker.ID]checker.Health) Guard {
	from := now.Add(-g.window(now, health))
	if g.State == GuardProbing {
		from = g.Since.Add(-g.window(g.Since, health))
	}
	var failing, servers int
	var fresh bool
	var newest time.Time
	for id, s := range g.seen {
		h := health[id]
		down := s.state == checker.Down
		if down && !s.fresh(from) {
			continue // was down before
		}
		at, ofPath := pathFailure(h)
		if h.ProbedBy != "" && !ofPath {
			continue // probed here too rarely to say anything of the path
		}
		servers++
		if !ofPath {
			continue
		}
		failing++
		if down {
			fresh = true
			if at.After(newest) {
				newest = at
			}
		}
	}
	if !fresh || failing*100 < c.Guard.Share*servers {
		return g.become(GuardWatching, now, "")
	}
	if g.State == GuardWatching {
		g = g.become(GuardProbing, now, "").recordHealth(from)
		g.asked = newest
	}
	g.Failing, g.Servers = failing, servers
	what := fmt.Sprintf("%d of %d servers fail at the same time", failing, servers)
	answer, by := g.witnesses(c.Guard.Witnesses, health)
	switch {
	case answer == witnessAnswers:
		// The path works: the failures are real, and do not count again.
		for id, s := range g.seen {
			s.before = s.state
			g.seen[id] = s
		}
		return g.become(GuardWatching, now, fmt.Sprintf("%s, and witness %s replies", what, by))
	case answer == witnessesSilent || now.Sub(g.Since) >= guardPatience:
		return g.become(GuardFrozen, now, what+", and no witness replies")
	}
	return g
}

// freeze waits for a witness. It also ends when so many servers reply again that the share
// is no longer reached.
func (g Guard) freeze(now time.Time, c *config.Config, health map[checker.ID]checker.Health) Guard {
	answer, by := g.witnesses(c.Guard.Witnesses, health)
	why := "witness " + by + " answers"
	if answer != witnessAnswers {
		var failing, servers int
		for id, h := range g.frozen {
			if h.state == checker.Down {
				continue
			}
			_, ofPath := pathFailure(health[id])
			if health[id].ProbedBy != "" && !ofPath {
				continue
			}
			servers++
			if ofPath || health[id].State == checker.Down {
				failing++
			}
		}
		if failing*100 >= c.Guard.Share*servers && failing > 0 {
			return g
		}
		why = fmt.Sprintf("%d of %d servers reply", servers-failing, servers)
	}
	settles := map[checker.ID]time.Duration{}
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			settles[ServerID(svc, rs)] = settling(rs)
		}
	}
	held := make(map[checker.ID]frozenState, len(g.frozen))
	for id, h := range g.frozen {
		h.until = now.Add(settles[id])
		held[id] = h
	}
	g.frozen = held
	g.asked = now
	g = g.become(GuardRecovering, now, why)
	return g.thaw(now, c, health)
}

// thaw releases each server when its checks have a new result, and freezes again when no
// witness replies before that.
func (g Guard) thaw(now time.Time, c *config.Config, health map[checker.ID]checker.Health) Guard {
	held := make(map[checker.ID]frozenState, len(g.frozen))
	for id, h := range g.frozen {
		if h.state != checker.Down && health[id].State == checker.Down && now.Before(h.until) {
			held[id] = h
		}
	}
	g.frozen = held
	if len(held) == 0 {
		return g.become(GuardWatching, now, "")
	}
	if answer, _ := g.witnesses(c.Guard.Witnesses, health); answer == witnessesSilent {
		return g.become(GuardFrozen, now, "the witnesses no longer reply").recordHealth(now.Add(-g.window(now, health)))
	}
	return g
}

// recordHealth records the health before the mass failure, of the servers for which it
// has none yet: for one that failed since from, the health before that.
func (g Guard) recordHealth(from time.Time) Guard {
	held := make(map[checker.ID]frozenState, len(g.seen))
	for id, s := range g.seen {
		v := s.state
		if v == checker.Down && s.fresh(from) {
			v = s.before
		}
		held[id] = frozenState{state: v}
		if before, ok := g.frozen[id]; ok {
			held[id] = frozenState{state: before.state}
		}
	}
	g.frozen = held
	return g
}

func (g Guard) become(s GuardState, now time.Time, why string) Guard {
	if g.State == s {
		return g
	}
	g.State, g.Since, g.Why = s, now, why
	if s == GuardWatching {
		g.frozen = nil
	}
	return g
}

// effective returns the health that counts for a server: its own, or the frozen one.
func (g Guard) effective(id checker.ID, h checker.Health) (v checker.State, held bool) {
	before, ok := g.frozen[id]
	if !ok || before.state == h.State {
		return h.State, false
	}
	if g.State == GuardProbing {
		// Not known to be the path yet: only failures that may be are frozen.
		if _, ofPath := pathFailure(h); h.State != checker.Down || !ofPath {
			return h.State, false
		}
	}
	return before.state, true
}

// text is the guard's state in a cause.
func (g Guard) text() string {
	switch g.State {
	case GuardProbing:
		return "guard is pinging the witnesses"
	case GuardRecovering:
		return "guard ended, waiting for new results"
	default:
		return "guard froze health"
	}
}

// deadline is when time alone may change the guard; zero: never.
func (g Guard) deadline(now time.Time) time.Time {
	var at time.Time
	switch g.State {
	case GuardProbing:
		at = Earliest(now.Add(guardPoll), g.Since.Add(guardPatience))
	case GuardFrozen:
		at = now.Add(guardPatience) // a ping that changes no health sends no wake-up
	case GuardRecovering:
		for _, h := range g.frozen {
			at = Earliest(at, h.until)
		}
	}
	return at
}

// witnessReply is the combined result of the witnesses.
type witnessReply int

const (
	noAnswerYet witnessReply = iota
	witnessAnswers
	witnessesSilent // each was pinged, and none replied
)

// witnesses reads the newest ping of each witness that was sent since asked; by is one
// that replied.
func (g Guard) witnesses(witnesses []netip.Addr, health map[checker.ID]checker.Health) (a witnessReply, by string) {
	a = witnessesSilent
	for _, w := range witnesses {
		last, ok := lastPing(health[WitnessID(w)])
		switch {
		case !ok || last.At.Before(g.asked):
			a = noAnswerYet
		case last.Reason == outcome.OK:
			return witnessAnswers, w.String()
		}
	}
	return a, ""
}

// WitnessAnswers reports whether the newest ping of a witness had a reply, and whether
// there was one.
func WitnessAnswers(h checker.Health) (answers, asked bool) {
	last, ok := lastPing(h)
	return last.Reason == outcome.OK, ok
}

func lastPing(h checker.Health) (last outcome.Result, ok bool) {
	for _, c := range h.Checks {
		if !c.Last.At.IsZero() {
			last, ok = c.Last, true
		}
	}
	return last, ok
}

// fresh reports whether the server went down since that moment.
func (s observation) fresh(from time.Time) bool {
	return s.state == checker.Down && s.before != checker.Down && !s.at.Before(from)
}

// ofPath are the results that a broken path causes. A server that refuses, resets or
// replies at all was reached.
var ofPath = map[outcome.Reason]bool{outcome.Timeout: true, outcome.Unreachable: true, outcome.Local: true, outcome.DNS: true}

// pathFailure reports whether a server is failing in a way that a broken path causes: it
// is down, or a failure counts against it. At is when the newest such probe began.
func pathFailure(h checker.Health) (at time.Time, ok bool) {
	failing := false
	for _, c := range h.Checks {
		if c.Last.Reason == outcome.OK || c.Last.At.IsZero() || c.State != checker.Down && c.InARow == 0 {
			continue
		}
		if !ofPath[c.Last.Reason] {
			return time.Time{}, false
		}
		failing = true
		if c.Last.At.After(at) {
			at = c.Last.At
		}
	}
	return at, failing
}

// probes reports whether a server's checks use the network.
func probes(h checker.Health) bool {
	for _, c := range h.Checks {
		if c.Type != probe.TypeOn && c.Type != probe.TypeOff {
			return true
		}
	}
	return false
}

// window is how far apart the failures of one broken path can be detected: one round of
// the slowest check among those that fail. A server that has been down for longer is not
// part of it.
func (g Guard) window(now time.Time, health map[checker.ID]checker.Health) time.Duration {
	var longest, own time.Duration
	for _, s := range g.seen {
		own = max(own, s.round)
	}
	oldest := now.Add(-own)
	for id, s := range g.seen {
		if _, ofPath := pathFailure(health[id]); ofPath && (s.state != checker.Down || s.fresh(oldest)) {
			longest = max(longest, s.round)
		}
	}
	return longest
}

// round is how long one round of a server's checks takes at most.
func round(rs config.RealServer) time.Duration {
	var longest time.Duration
	for _, check := range rs.Checks {
		longest = max(longest, check.Interval+check.Timeout)
	}
	return longest
}

// settling is how long a server's checks need for a new result: a probe that was sent into
// the broken path must end first, and the next one may lose its first packet to neighbour
// resolution.
func settling(rs config.RealServer) time.Duration {
	var longest time.Duration
	for _, check := range rs.Checks {
		rounds := time.Duration(max(check.Rise, check.Fall) + 1)
		longest = max(longest, rounds*check.Interval+2*check.Timeout)
	}
	return longest
}

// Earliest is the earlier of two moments, of which either may be never.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
