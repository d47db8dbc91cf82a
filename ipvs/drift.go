// What others changed: the kernel's table as read, against the table as we knew
// it. It repairs nothing (Diff does) and has no opinion on what is wanted.
//
// PURE.

package ipvs

import "net/netip"

// The kinds of drift, as counted in Snapshot.Drift.
const (
	DriftServiceMissing     = "service_missing"
	DriftServiceChanged     = "service_changed"
	DriftDestinationMissing = "destination_missing"
	DriftDestinationChanged = "destination_changed"
	DriftForeignDestination = "foreign_destination"
	DriftTimeouts           = "timeouts"
	DriftSysctl             = "sysctl"
	DriftSync               = "sync"
)

// DriftKinds are all kinds of drift, for those who count them.
var DriftKinds = [...]string{DriftServiceMissing, DriftServiceChanged, DriftDestinationMissing,
	DriftDestinationChanged, DriftForeignDestination, DriftTimeouts, DriftSysctl, DriftSync}

// Drift is one change that somebody else made to a service of ours.
type Drift struct {
	Kind     string
	Entry    Entry
	From, To string // for people
}

// findDrift compares what we knew with what the kernel has now, in the services
// for which ours is true. A missing service is one drift, whatever was in it.
func findDrift(known, actual Table, ours func(ServiceKey) bool) []Drift {
	var drifts []Drift
	for _, k := range sortedKeys(known) {
		if !ours(k) {
			continue
		}
		was := known[k]
		is, there := actual[k]
		if !there {
			drifts = append(drifts, Drift{DriftServiceMissing, Entry{Service: k}, was.String(), "missing"})
			continue
		}
		if !was.sameSettings(is) {
			drifts = append(drifts, Drift{DriftServiceChanged, Entry{Service: k}, was.String(), is.String()})
		}
		drifts = append(drifts, destinationDrift(k, was.Destinations, is.Destinations)...)
	}
	return drifts
}

func destinationDrift(k ServiceKey, was, is map[netip.AddrPort]Destination) []Drift {
	found := map[netip.AddrPort]Drift{}
	for a, w := range was {
		switch i, there := is[a]; {
		case !there:
			found[a] = Drift{DriftDestinationMissing, Entry{k, a}, w.String(), "missing"}
		case i != w:
			found[a] = Drift{DriftDestinationChanged, Entry{k, a}, w.String(), i.String()}
		}
	}
	for a, i := range is {
		if _, there := was[a]; !there {
			found[a] = Drift{DriftForeignDestination, Entry{k, a}, "missing", i.String()}
		}
	}
	drifts := make([]Drift, 0, len(found))
	for _, a := range sortedAddrs(found) {
		drifts = append(drifts, found[a])
	}
	return drifts
}
