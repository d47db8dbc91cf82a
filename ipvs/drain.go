// Destinations that left the wanted table with connections: which are kept at
// weight 0, and until when. It reads no clock and writes nothing.
//
// PURE.

package ipvs

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Draining is a destination that left the wanted table and still has
// connections, or may have.
type Draining struct {
	Entry
	Since, Deadline time.Time
	// Connections are its connections when the kernel was last read: active, inactive
	// and persistent ones together. Counted is false until that was after its
	// weight went to 0.
	Connections int
	Counted     bool

	ended string // how it ended, while it is not deleted yet
}

// How a drain ends, in Change.To.
const (
	DrainEmpty     = "empty"    // no connection was left
	DrainDeadline  = "deadline" // connections were left
	DrainCancelled = "kept"     // it is wished for again
	DrainGone      = "gone"     // somebody else deleted it
)

// drains says whether weight 0 lets a service's other servers take over: a
// hashing scheduler without fallback refuses the clients of that server.
func (s Service) drains() bool {
	switch s.Scheduler {
	case "sh", "mh":
		return s.Flags&Sched1 != 0
	case "dh":
		return false
	}
	return true
}

// drainTable returns the wanted table with the destinations added, at weight 0,
// that drain: those of ours that the kernel has, that left the table, and whose
// time is not over. A service that left the table stays as the kernel has it
// while one of its destinations drains; remembered has the times of such ones.
// The wanted table is not changed. The second result is what drains now and what
// ended so and may still be there, the third how drains ended now.
func drainTable(now time.Time, actual Table, wish Desired, remembered map[ServiceKey]time.Duration, owned Owned, before map[Entry]Draining) (Table, map[Entry]Draining, map[Entry]string) {
	if len(wish.Drain) == 0 && len(remembered) == 0 && len(before) == 0 {
		return wish.Table, nil, nil
	}
	table, draining, ended := maps.Clone(wish.Table), map[Entry]Draining{}, map[Entry]string{}
	if table == nil {
		table = Table{}
	}
	for k, dests := range owned {
		have, there := actual[k]
		if !there {
			continue
		}
		want, wanted := wish.Table[k]
		timeout := wish.Drain[k]
		if !wanted {
			want, timeout = have, remembered[k]
			want.Destinations = nil
		}
		if timeout <= 0 || !want.drains() {
			continue
		}
		copied := false
		for a := range dests {
			_, keep := want.Destinations[a]
			h, there := have.Destinations[a]
			e := Entry{k, a}
			if _, drop := wish.NoDrain[e]; keep && wanted || !there || drop {
				continue
			}
			d, known := before[e]
			if !known {
				d = Draining{Entry: e, Since: now}
			}
			d.Deadline = d.Since.Add(timeout)
			switch {
			case d.ended != "":
			case d.Counted && d.Connections == 0:
				d.ended = DrainEmpty
				ended[e] = d.ended
			case !now.Before(d.Deadline):
				d.ended = DrainDeadline
				ended[e] = d.ended
			}
			if draining[e] = d; d.ended != "" {
				continue
			}
			if !copied {
				want.Destinations, copied = maps.Clone(want.Destinations), true
				if want.Destinations == nil {
					want.Destinations = map[netip.AddrPort]Destination{}
				}
			}
			h.Weight = 0
			want.Destinations[a] = h
		}
		if copied {
			table[k] = want
		}
	}
	for e, d := range before {
		if _, still := draining[e]; still || d.ended != "" {
			continue
		}
		_, wanted := wish.Table[e.Service].Destinations[e.RealServer]
		_, there := actual[e.Service].Destinations[e.RealServer]
		switch {
		case wanted:
			ended[e] = DrainCancelled
		case there:
			ended[e] = DrainDeadline // its time was taken away
		default:
			ended[e] = DrainGone
		}
	}
	return table, draining, ended
}

// count takes what a fresh reading of the kernel says of the destinations that
// drain. A connection may still begin until the kernel has weight 0.
func countDrains(draining map[Entry]Draining, r Reading) {
	for e, d := range draining {
		if h, there := r.Table[e.Service].Destinations[e.RealServer]; there && h.Weight == 0 {
			s := r.Stats[e.Service].Destinations[e.RealServer]
			d.Connections, d.Counted = int(s.Active)+int(s.Inactive)+int(s.Persistent), true
			draining[e] = d
		}
	}
}

// sortedDrains are those that last.
func sortedDrains(m map[Entry]Draining) []Draining {
	var last []Draining
	for _, d := range m {
		if d.ended == "" {
			last = append(last, d)
		}
	}
	slices.SortFunc(last, func(a, b Draining) int { return a.Entry.Compare(b.Entry) })
	return last
}
