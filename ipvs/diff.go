// Diff: what must be written so that the kernel's table becomes the wanted one.
// It writes nothing, and it proposes nothing for a service that was never ours.
//
// PURE.

package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
)

// OpKind is the kind of one write to the kernel.
type OpKind uint8

// The kinds of writes.
const (
	AddService OpKind = iota + 1
	EditService
	DeleteService
	AddDestination
	EditDestination
	DeleteDestination
)

// OpKinds are all kinds, for those who count them.
var OpKinds = [...]OpKind{AddService, EditService, DeleteService, AddDestination, EditDestination, DeleteDestination}

// String is the operation's name in metrics and logs.
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

// Op is one write.
type Op struct {
	Kind OpKind
	// Service holds the settings for AddService and EditService, for all
	// others its Key alone. Its Destinations are never part of the write.
	Service Service
	// Destination is set for the kinds that concern one; for
	// DeleteDestination only its Address and Forward count.
	Destination Destination
	// FromService and FromDestination are what the kernel has before an edit
	// or a delete.
	FromService     Service
	FromDestination Destination
}

// Entry names a service or, with a valid RealServer, one of its destinations.
type Entry struct {
	Service    ServiceKey
	RealServer netip.AddrPort
}

// Compare orders by service, then real server, the service itself first.
func (e Entry) Compare(o Entry) int {
	if c := e.Service.Compare(o.Service); c != 0 {
		return c
	}
	return e.RealServer.Compare(o.RealServer)
}

// String is like "tcp 10.0.0.88:80 10.0.0.9:80".
func (e Entry) String() string {
	if !e.RealServer.IsValid() {
		return e.Service.String()
	}
	return e.Service.String() + " " + e.RealServer.String()
}

// Diff compares the kernel's table with the wanted one and returns the fewest
// writes that make them equal, in an order in which no service ever has fewer
// live destinations (weight above 0) than both tables give it: within a
// service what adds capacity goes first, what takes it away last, and services
// that go away go when all others stand.
//
// A service in actual that is neither wanted nor owned is not ours and is left
// alone. A destination of a wanted service that is neither wanted nor owned is
// foreign: it is returned (in order) unless the policy is Ignore, and deleted
// if it is Remove.
func Diff(actual, wanted Table, owned Owned, foreign ForeignPolicy) (ops []Op, foreignEntries []Entry) {
	var gone []Service
	for _, k := range sortedKeys(wanted) {
		have, there := actual[k]
		var entries []Entry
		ops, entries = diffService(ops, have, there, wanted[k], owned[k], foreign)
		foreignEntries = append(foreignEntries, entries...)
	}
	for k := range owned {
		if _, keep := wanted[k]; keep {
			continue
		}
		if have, there := actual[k]; there {
			gone = append(gone, have)
		}
	}
	slices.SortFunc(gone, func(a, b Service) int { return a.Key.Compare(b.Key) })
	for _, have := range gone {
		ops = append(ops, Op{Kind: DeleteService, Service: Service{Key: have.Key}, FromService: have})
	}
	return ops, foreignEntries
}

// diffService appends what one wanted service needs.
func diffService(ops []Op, have Service, there bool, want Service, owned map[netip.AddrPort]struct{}, foreign ForeignPolicy) ([]Op, []Entry) {
	switch {
	case !there:
		ops = append(ops, Op{Kind: AddService, Service: want})
	case !have.sameSettings(want):
		ops = append(ops, Op{Kind: EditService, Service: want, FromService: have})
	}
	// What adds or keeps capacity first (add, raise), then what takes it away.
	var add, raise, lower, remove, others []netip.AddrPort
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
			others = append(others, a)
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

	slices.SortFunc(others, netip.AddrPort.Compare)
	entries := make([]Entry, len(others))
	for i, a := range others {
		entries[i] = Entry{want.Key, a}
	}
	return ops, entries
}

// reducesLive says whether the write takes one live destination away.
func (o Op) reducesLive() bool {
	switch o.Kind {
	case EditDestination:
		return o.FromDestination.Weight > 0 && o.Destination.Weight <= 0
	case DeleteDestination:
		return o.FromDestination.Weight > 0
	}
	return false
}

// entry names what the write is about.
func (o Op) entry() Entry {
	e := Entry{Service: o.Service.Key}
	switch o.Kind {
	case AddDestination, EditDestination, DeleteDestination:
		e.RealServer = o.Destination.Address
	}
	return e
}

// value is what the write puts there, so that two writes can be compared.
func (o Op) value() string {
	switch o.Kind {
	case AddService, EditService:
		return o.Service.String()
	case AddDestination, EditDestination:
		return o.Destination.String()
	}
	return "none"
}

// String is like "edit_destination tcp 10.0.0.88:80 10.0.0.9:80".
func (o Op) String() string { return o.Kind.String() + " " + o.entry().String() }

// ApplyTo makes the write's effect in a table of ours, as the kernel would.
// Destination maps are changed in place.
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
