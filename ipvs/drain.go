// Draining: destinations that left the desired table stay at weight 0 until their
// connections have ended or their time is over.

package ipvs

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// drainCountInterval is how often the connections of draining destinations are
	// counted. Reading the kernel takes at most 1/drainReadShare of the time.
	drainCountInterval = time.Second
	drainReadShare     = 20
)

// Draining is a destination that left the desired table and may still have
// connections.
type Draining struct {
	Entry
	Since, Deadline time.Time
	// Connections are the active, inactive and persistent ones of the last
	// reading. Counted is false until a reading found the weight at 0.
	Connections int
	Counted     bool

	ended string // the reason, while it is not deleted yet
}

// How a drain ends, in Change.To.
const (
	DrainEmpty     = "empty"    // no connection was left
	DrainDeadline  = "deadline" // connections were left
	DrainCancelled = "kept"     // it is desired again
	DrainGone      = "gone"     // another process deleted it
)

// drains are the draining destinations of a reconciler.
type drains struct {
	// timeouts are those of the last desired state that had the service, for
	// services that leave the table.
	timeouts map[ServiceKey]time.Duration
	active   map[Entry]Draining // including those that ended and are still in the kernel
	countAt  time.Time          // when to count connections next; zero: nothing drains
}

// drainPlan is what draining adds to a desired table.
type drainPlan struct {
	table  Table // the desired one with the draining destinations at weight 0
	active map[Entry]Draining
	ended  map[Entry]string // drains that ended now, and how
}

// weightZeroDrains reports whether new clients of a destination at weight 0 go to
// others. A hashing scheduler without fallback refuses them instead.
func (s Service) weightZeroDrains() bool {
	switch s.Scheduler {
	case "sh", "mh":
		return s.Flags&Sched1 != 0
	case "dh":
		return false
	}
	return true
}

// plan finds what drains now: the destinations that are owned, are in the kernel,
// left the desired table and have time left. A service that left the table stays as
// the kernel has it while one of its destinations drains. The desired table is not
// changed.
func (d *drains) plan(now time.Time, actual Table, desired Desired, owned Owned) drainPlan {
	if len(desired.Drain) == 0 && len(d.timeouts) == 0 && len(d.active) == 0 {
		return drainPlan{table: desired.Table}
	}
	p := drainPlan{table: maps.Clone(desired.Table), active: map[Entry]Draining{}, ended: map[Entry]string{}}
	if p.table == nil {
		p.table = Table{}
	}
	for k, dests := range owned {
		have, there := actual[k]
		want, wanted := desired.Table[k]
		timeout := desired.Drain[k]
		if !wanted {
			want, timeout = have, d.timeouts[k]
			want.Destinations = nil
		}
		if !there || timeout <= 0 || !want.weightZeroDrains() {
			continue
		}
		var kept []Destination
		for a := range dests {
			_, stays := want.Destinations[a]
			h, there := have.Destinations[a]
			_, failed := desired.NoDrain[Entry{k, a}]
			if there && !stays && !failed && p.add(d.active, Entry{k, a}, now, timeout) {
				h.Weight = 0
				kept = append(kept, h)
			}
		}
		if len(kept) > 0 {
			p.table[k] = want.with(kept)
		}
	}
	for e, before := range d.active {
		if _, still := p.active[e]; !still && before.ended == "" {
			p.ended[e] = whyNoLonger(e, actual, desired.Table)
		}
	}
	return p
}

// add takes a destination that left into the plan and reports whether it stays in
// the kernel.
func (p *drainPlan) add(before map[Entry]Draining, e Entry, now time.Time, timeout time.Duration) bool {
	d, known := before[e]
	if !known {
		d = Draining{Entry: e, Since: now}
	}
	d.Deadline = d.Since.Add(timeout)
	if d.ended == "" {
		switch {
		case d.Counted && d.Connections == 0:
			d.ended = DrainEmpty
		case !now.Before(d.Deadline):
			d.ended = DrainDeadline
		}
		if d.ended != "" {
			p.ended[e] = d.ended
		}
	}
	p.active[e] = d
	return d.ended == ""
}

// whyNoLonger returns how a drain ended that was active and is not in the plan.
func whyNoLonger(e Entry, actual, desired Table) string {
	if _, wanted := desired[e.Service].Destinations[e.RealServer]; wanted {
		return DrainCancelled
	}
	if _, there := actual[e.Service].Destinations[e.RealServer]; there {
		return DrainDeadline // its timeout was taken away
	}
	return DrainGone
}

// with returns the service with more destinations; s is not changed.
func (s Service) with(more []Destination) Service {
	all := make(map[netip.AddrPort]Destination, len(s.Destinations)+len(more))
	maps.Copy(all, s.Destinations)
	for _, d := range more {
		all[d.Address] = d
	}
	s.Destinations = all
	return s
}

// commit makes the plan the present state. A reading took readTook.
func (d *drains) commit(p drainPlan, now time.Time, desired Desired, owned Owned, readTook time.Duration) {
	d.active = p.active
	for k := range d.timeouts {
		if _, wanted := desired.Table[k]; wanted || !owned.hasService(k) {
			delete(d.timeouts, k)
		}
	}
	for k, timeout := range desired.Drain {
		if timeout > 0 {
			d.timeouts[k] = timeout
		}
	}
	d.countAt = time.Time{}
	for _, x := range sortedDrains(d.active) {
		if d.countAt.IsZero() {
			d.countAt = now.Add(max(drainCountInterval, drainReadShare*readTook))
		}
		if x.Deadline.Before(d.countAt) {
			d.countAt = x.Deadline
		}
	}
}

// count takes the connections from a reading. Until the kernel has weight 0 new
// connections can still begin.
func (d *drains) count(r Reading) {
	for e, x := range d.active {
		if h, there := r.Table[e.Service].Destinations[e.RealServer]; there && h.Weight == 0 {
			s := r.Stats[e.Service].Destinations[e.RealServer]
			x.Connections, x.Counted = int(s.Active)+int(s.Inactive)+int(s.Persistent), true
			d.active[e] = x
		}
	}
}

// sortedDrains returns the drains that have not ended, in order.
func sortedDrains(m map[Entry]Draining) []Draining {
	var all []Draining
	for _, d := range m {
		if d.ended == "" {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b Draining) int { return a.Entry.Compare(b.Entry) })
	return all
}
