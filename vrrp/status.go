// Status, events and logs of an instance. Reading the status does not disturb the
// event loop.

package vrrp

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Status returns the present status. It may be called at any time.
func (e *Engine) Status() Status {
	s := e.status.Load()
	c := &e.counters
	out := Status{
		Name: e.name, Interface: e.iface, VRID: e.vrid,
		State: s.state, Since: s.since, Reason: s.reason, Detail: s.detail,
		Priority: s.priority, Master: s.master, MasterPriority: s.masterPriority,
		Contested: s.conflict, GroupWait: s.groupWait, Alarm: s.warning,
		AdvertsSent: c.sent.Load(), AdvertsReceived: c.received.Load(),
		Announcements: c.announced.Load(), Restored: c.restored.Load(), Mismatched: c.mismatched.Load(), Unauthenticated: c.unauthenticated.Load(),
		Dropped:     make(map[string]uint64, dropReasons),
		Checksums:   make(map[string]uint64, checksums),
		Transitions: maps.Clone(s.transitions),
		Tracked:     slices.Clone(*e.tracked.Load()),
		HasVIPs:     len(s.present) > 0,
		Addresses:   slices.Clone(s.present),
		Configured:  slices.Clone(*e.configured.Load()),
		Conflicts:   slices.Clone(s.holders),
	}
	if at := c.lastAdvert.Load(); at != 0 {
		out.LastAdvert = time.Unix(0, at)
	}
	for d := DropNone + 1; d < dropReasons; d++ {
		out.Dropped[d.String()] = c.dropped[d].Load()
	}
	for f := range Checksum(checksums) {
		out.Checksums[f.String()] = c.checksums[f].Load()
	}
	return out
}

// publish stores a changed status and calls Wake.
func (e *Engine) publish() {
	e.counters.mismatched.Store(e.machine.mismatched)
	old := e.status.Load()
	now := e.machine.snapshot()
	e.logWarning(now.warning)
	defer func() { // a callback must not see an older status
		e.reportConflict(now)
		e.reportHolders(now.holders)
	}()
	if now.equal(&old.snapshot) {
		return
	}
	e.status.Store(&published{snapshot: now, transitions: old.transitions})
	if e.o.Wake != nil {
		e.o.Wake()
	}
}

// reportConflict calls OnMasterConflict when a conflict begins and when it ends.
func (e *Engine) reportConflict(now snapshot) {
	if now.conflict == e.conflictReported {
		return
	}
	e.conflictReported = now.conflict
	if e.o.OnMasterConflict != nil {
		e.o.OnMasterConflict(MasterConflict{At: time.Now(), Name: e.name, State: now.state, On: now.conflict, Detail: now.warning})
	}
}

// reportHolders calls OnAddressConflict for each holder that appeared or went.
func (e *Engine) reportHolders(now []Holder) {
	before := e.holdersReported
	if slices.Equal(before, now) {
		return
	}
	e.holdersReported = now
	if e.o.OnAddressConflict == nil {
		return
	}
	report := func(all, but []Holder, on bool) {
		for _, h := range all {
			if !slices.Contains(but, h) {
				e.o.OnAddressConflict(AddressConflict{At: time.Now(), Name: e.name, On: on, Holder: h})
			}
		}
	}
	report(before, now, false)
	report(now, before, true)
}

// logWarning logs each warning once, at most one in logEvery; one that came too
// early is logged later if it persists.
func (e *Engine) logWarning(alarm string) {
	switch {
	case alarm == "":
		e.warningLogged = ""
	case alarm != e.warningLogged && time.Since(e.warnedAt) >= logEvery:
		e.warnedAt, e.warningLogged = time.Now(), alarm
		e.log.Warn("alarm", "alarm", alarm)
	}
}

// reportTransition counts, logs and reports a state change.
func (e *Engine) reportTransition(now time.Time, a action) {
	old := e.status.Load()
	transitions := maps.Clone(old.transitions)
	if transitions == nil {
		transitions = make(map[Transition]uint64)
	}
	transitions[Transition{To: a.to, Reason: a.reason}]++
	// A callback must not see an older status.
	s := e.machine.snapshot()
	e.status.Store(&published{snapshot: s, transitions: transitions})
	if e.o.Wake != nil {
		e.o.Wake()
	}
	level := slog.LevelInfo
	if a.to == Fault {
		level = slog.LevelError
	}
	message := "VRRP state is now " + string(a.to)
	if a.to == Init && a.reason == ReasonStop {
		message = "VRRP stopped"
	}
	e.log.Log(context.Background(), level, message, "from", string(a.from), "reason", a.reason, "detail", a.detail)
	if e.o.OnEvent != nil {
		e.o.OnEvent(Event{At: now, Name: e.name, From: a.from, To: a.to, Reason: a.reason, Detail: a.detail, Priority: s.priority})
	}
}
