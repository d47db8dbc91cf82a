// What lvsd itself wrote into the kernel, as a set: it tells an entry that went
// out of the configuration (ours, so removed) from one that somebody else made
// (never touched). Keeping it in a file is the caller's business.
//
// PURE.

package ipvs

import (
	"maps"
	"net/netip"
	"slices"
)

// Owned is the set of services and destinations that lvsd wrote. A service may
// be there without destinations.
type Owned map[ServiceKey]map[netip.AddrPort]struct{}

// Ledger remembers Owned over restarts. Save is called before the kernel is
// written, with all that is about to be written added, and again afterwards
// with what is gone taken out. It must replace the former set whole or fail.
type Ledger interface {
	Load() (Owned, error)
	Save(Owned) error
}

// syncOwner stands for the connection synchronisation in the set: no service has
// this key.
var syncOwner ServiceKey

// Sync says whether the connection synchronisation is ours.
func (o Owned) Sync() bool {
	_, ours := o[syncOwner]
	return ours
}

// SetSync puts the connection synchronisation into the set or takes it out.
func (o Owned) SetSync(ours bool) {
	if delete(o, syncOwner); ours {
		o[syncOwner] = map[netip.AddrPort]struct{}{}
	}
}

// Keys returns the services of the set, in order.
func (o Owned) Keys() []ServiceKey {
	keys := sortedKeys(o)
	return slices.DeleteFunc(keys, func(k ServiceKey) bool { return k == syncOwner })
}

// Clone copies the set.
func (o Owned) Clone() Owned {
	c := make(Owned, len(o))
	for k, dests := range o {
		c[k] = maps.Clone(dests)
		if c[k] == nil {
			c[k] = map[netip.AddrPort]struct{}{}
		}
	}
	return c
}

// Equal compares two sets.
func (o Owned) Equal(p Owned) bool {
	return maps.EqualFunc(o, p, func(a, b map[netip.AddrPort]struct{}) bool { return maps.Equal(a, b) })
}

// has says whether the destination is in the set.
func (o Owned) has(k ServiceKey, a netip.AddrPort) bool {
	_, ok := o[k][a]
	return ok
}

func (o Owned) hasService(k ServiceKey) bool {
	_, ok := o[k]
	return ok
}

// covers says whether all of the table is in the set.
func (o Owned) covers(t Table) bool {
	for k, s := range t {
		dests, ok := o[k]
		if !ok {
			return false
		}
		for a := range s.Destinations {
			if _, ok := dests[a]; !ok {
				return false
			}
		}
	}
	return true
}

// with returns the set and all of the table.
func (o Owned) with(t Table) Owned {
	c := o.Clone()
	for k, s := range t {
		if c[k] == nil {
			c[k] = make(map[netip.AddrPort]struct{}, len(s.Destinations))
		}
		for a := range s.Destinations {
			c[k][a] = struct{}{}
		}
	}
	return c
}

// trimmed returns what of the set is wanted or still in the kernel. The second
// result says whether anything went.
func (o Owned) trimmed(wanted, actual Table) (Owned, bool) {
	if !o.exceeds(wanted, actual) {
		return o, false
	}
	kept, gone := make(Owned, len(o)), false
	for k, dests := range o {
		w, isWanted := wanted[k]
		a, isThere := actual[k]
		if !isWanted && !isThere && k != syncOwner {
			gone = true
			continue
		}
		kept[k] = make(map[netip.AddrPort]struct{}, len(dests))
		for addr := range dests {
			if _, ok := w.Destinations[addr]; !ok {
				if _, ok := a.Destinations[addr]; !ok {
					gone = true
					continue
				}
			}
			kept[k][addr] = struct{}{}
		}
	}
	return kept, gone
}

// exceeds says whether something of the set is neither wanted nor in the kernel.
func (o Owned) exceeds(wanted, actual Table) bool {
	for k, dests := range o {
		w, isWanted := wanted[k]
		a, isThere := actual[k]
		if !isWanted && !isThere && k != syncOwner {
			return true
		}
		for addr := range dests {
			if _, ok := w.Destinations[addr]; ok {
				continue
			}
			if _, ok := a.Destinations[addr]; !ok {
				return true
			}
		}
	}
	return false
}
