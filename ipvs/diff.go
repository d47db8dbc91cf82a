// Diff: what must be written so that the kernel's table becomes the wanted one.
// It writes nothing, and it proposes nothing for a service that was never ours.
//
// PURE.

package ipvs

import (
	"fmt"
	"net/netip"
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
	return nil, nil
}
