// Comparing tables: the writes that lead from one to another, and the changes that
// another process made. A service that was never ours is left alone.

package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
)

// OpKind is the kind of a write to the kernel.
type OpKind uint8

// Kinds of writes.
const (
	AddService OpKind = iota + 1
	EditService
	DeleteService
	AddDestination
	EditDestination
	DeleteDestination
)

// OpKinds are all kinds of writes.
var OpKinds = [...]OpKind{AddService, EditService, DeleteService, AddDestination, EditDestination, DeleteDestination}

// String returns the operation's name in metrics and logs, for example
// "add_service".
func (k OpKind) String() string {
	switch k {
	case AddService:
		return "add_service"
	case EditService:
		return "edit_service"
	case DeleteService:
		return "delete_service"
	case AddDestination:
		return "add_destination"
	case EditDestination:
		return "edit_destination"
	case DeleteDestination:
		return "delete_destination"
	}
	return fmt.Sprintf("op-%d", uint8(k))
}

// Op is one write to the kernel.
type Op struct {
	Kind OpKind
	// Service has the settings for AddService and EditService, and only the Key
	// for the other kinds. Its Destinations are never part of the write.
	Service Service
	// Destination is set for the kinds that concern one. DeleteDestination uses
	// only its Address.
	Destination Destination
	// FromService and FromDestination are what the kernel has before an edit or a
	// deletion.
	FromService     Service
	FromDestination Destination
}

// Entry identifies a service or, with a valid RealServer, one of its destinations.
type Entry struct {
	Service    ServiceKey
	RealServer netip.AddrPort
}

// Compare orders entries by service, then real server, the service itself first.
func (e Entry) Compare(o Entry) int {
	if c := e.Service.Compare(o.Service); c != 0 {
		return c
	}
	return e.RealServer.Compare(o.RealServer)
}

// String returns for example "tcp 10.0.0.88:80 10.0.0.9:80".
func (e Entry) String() string {
	if !e.RealServer.IsValid() {
		return e.Service.String()
	}
	return e.Service.String() + " " + e.RealServer.String()
}

// Diff compares the kernel's table with the desired one and returns the fewest writes
// that make them equal. Their order is such that no service ever has fewer live
// destinations (weight above 0) than in the table in which it has fewer: within a
// service, writes that add capacity come first and writes that remove it last, and
// services are deleted after all others were written.
//
// A service in actual that is neither desired nor owned is not ours and is left
// alone. A destination of a desired service that is neither desired nor owned is
// foreign: it is returned, in order, unless the policy is Ignore, and deleted if the
// policy is Remove.
func Diff(actual, desired Table, owned Owned, foreign ForeignPolicy) (ops []Op, foreignEntries []Entry) {
	var leaving []Service
	if n := missing(actual, desired); n > 0 {
		ops = make([]Op, 0, n) // those of a start take megabytes
	}
	for _, k := range sortedKeys(desired) {
		have, there := actual[k]
		var entries []Entry
		ops, entries = diffService(ops, have, there, desired[k], owned[k], foreign)
		foreignEntries = append(foreignEntries, entries...)
	}
	for k := range owned {
		if _, keep := desired[k]; keep {
			continue
		}
		if have, there := actual[k]; there {
			leaving = append(leaving, have)
		}
	}
	slices.SortFunc(leaving, func(a, b Service) int { return a.Key.Compare(b.Key) })
	for _, have := range leaving {
		ops = append(ops, Op{Kind: DeleteService, Service: Service{Key: have.Key}, FromService: have})
	}
	return ops, foreignEntries
}

// missing returns how many services and destinations the actual table has less, about.
func missing(actual, desired Table) (n int) {
	for k, want := range desired {
		have, there := actual[k]
		if !there {
			n++
		}
		n += max(len(want.Destinations)-len(have.Destinations), 0)
	}
	return n
}

// diffService appends the writes for one desired service, and returns its foreign
// entries.
func diffService(ops []Op, have Service, there bool, want Service, owned map[netip.AddrPort]struct{}, foreign ForeignPolicy) ([]Op, []Entry) {
	switch {
	case !there:
		ops = append(ops, Op{Kind: AddService, Service: want})
	case !have.sameSettings(want):
		ops = append(ops, Op{Kind: EditService, Service: want, FromService: have})
	}
	// Writes that add or keep capacity (add, raise) come before those that reduce it.
	var add, raise, lower, remove, notOurs []netip.AddrPort
	for a, w := range want.Destinations {
		switch h, there := have.Destinations[a]; {
		case !there:
			add = append(add, a)
		case h == w:
		case w.Weight < h.Weight:
			lower = append(lower, a)
		default:
			raise = append(raise, a)
		}
	}
	for a := range have.Destinations {
		if _, keep := want.Destinations[a]; keep {
			continue
		}
		_, ours := owned[a]
		if !ours && foreign != Ignore {
			notOurs = append(notOurs, a)
		}
		if ours || foreign == Remove {
			remove = append(remove, a)
		}
	}
	emit := func(kind OpKind, addrs []netip.AddrPort) {
		slices.SortFunc(addrs, netip.AddrPort.Compare)
		for _, a := range addrs {
			op := Op{Kind: kind, Service: Service{Key: want.Key}, Destination: want.Destinations[a], FromDestination: have.Destinations[a]}
			if kind == DeleteDestination {
				op.Destination = op.FromDestination
			}
			ops = append(ops, op)
		}
	}
	ops = slices.Grow(ops, len(add)+len(raise)+len(lower)+len(remove))
	emit(AddDestination, add)
	emit(EditDestination, raise)
	emit(EditDestination, lower)
	emit(DeleteDestination, remove)

	slices.SortFunc(notOurs, netip.AddrPort.Compare)
	entries := make([]Entry, len(notOurs))
	for i, a := range notOurs {
		entries[i] = Entry{want.Key, a}
	}
	return ops, entries
}

// reducesUsable reports whether the write makes one destination unusable.
func (o Op) reducesUsable() bool {
	switch o.Kind {
	case EditDestination:
		return o.FromDestination.Weight > 0 && o.Destination.Weight <= 0
	case DeleteDestination:
		return o.FromDestination.Weight > 0
	}
	return false
}

// entry returns what the write concerns.
func (o Op) entry() Entry {
	e := Entry{Service: o.Service.Key}
	switch o.Kind {
	case AddDestination, EditDestination, DeleteDestination:
		e.RealServer = o.Destination.Address
	}
	return e
}

// value returns what is written, so that two writes can be compared.
func (o Op) value() string {
	switch o.Kind {
	case AddService, EditService:
		return o.Service.String()
	case AddDestination, EditDestination:
		return o.Destination.String()
	}
	return "none"
}

// String returns for example "edit_destination tcp 10.0.0.88:80 10.0.0.9:80".
func (o Op) String() string { return o.Kind.String() + " " + o.entry().String() }

// ApplyTo applies the write to a table as the kernel would. Maps of destinations are
// changed in place.
func (o Op) ApplyTo(t Table) {
	k := o.Service.Key
	switch o.Kind {
	case AddService, EditService:
		s := o.Service
		s.PersistenceBits = s.PersistencePrefix()
		s.Destinations = t[k].Destinations
		if s.Destinations == nil {
			s.Destinations = map[netip.AddrPort]Destination{}
		}
		t[k] = s
	case DeleteService:
		delete(t, k)
	case AddDestination, EditDestination:
		t[k].Destinations[o.Destination.Address] = o.Destination
	case DeleteDestination:
		delete(t[k].Destinations, o.Destination.Address)
	}
}

// Kinds of drift, as counted in Snapshot.Drift.
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

// DriftKinds are all kinds of drift.
var DriftKinds = [...]string{DriftServiceMissing, DriftServiceChanged, DriftDestinationMissing,
	DriftDestinationChanged, DriftForeignDestination, DriftTimeouts, DriftSysctl, DriftSync}

// Drift is one change that another process made to a service of ours.
type Drift struct {
	Kind     string
	Entry    Entry
	From, To string // texts for people
}

// findDrift compares the known table with the kernel's, in the services for which
// ours returns true. A missing service is one drift, whatever its destinations.
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
