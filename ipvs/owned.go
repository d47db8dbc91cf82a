// What lvsd itself wrote into the kernel. Ownership distinguishes an entry that left the
// configuration, which is removed, from one that another process added, which is
// left alone.

package ipvs

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Owned is the set of services and destinations that lvsd wrote. A service may have
// no destinations.
type Owned map[ServiceKey]map[netip.AddrPort]struct{}

// Ledger stores Owned across restarts. Save is called before the kernel is written,
// with everything that is about to be written, and again when entries are gone from
// the kernel. It must replace the stored set as a whole or fail.
type Ledger interface {
	Load() (Owned, error)
	Save(Owned) error
}

// syncOwner stands for the sync daemons in the set: no service has this key.
var syncOwner ServiceKey

// Sync reports whether the sync daemons are ours.
func (o Owned) Sync() bool {
	_, ours := o[syncOwner]
	return ours
}

// SetSync adds the sync daemons to the set or removes them.
func (o Owned) SetSync(ours bool) {
	if delete(o, syncOwner); ours {
		o[syncOwner] = map[netip.AddrPort]struct{}{}
	}
}

// Keys returns the services of the set in order.
func (o Owned) Keys() []ServiceKey {
	keys := sortedKeys(o)
	return slices.DeleteFunc(keys, func(k ServiceKey) bool { return k == syncOwner })
}

// Clone returns a copy of the set.
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

// Equal reports whether two sets are the same.
func (o Owned) Equal(p Owned) bool {
	return maps.EqualFunc(o, p, func(a, b map[netip.AddrPort]struct{}) bool { return maps.Equal(a, b) })
}

// has reports whether the destination is in the set.
func (o Owned) has(k ServiceKey, a netip.AddrPort) bool {
	_, ok := o[k][a]
	return ok
}

func (o Owned) hasService(k ServiceKey) bool {
	_, ok := o[k]
	return ok
}

// covers reports whether all of the table is in the set.
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

// with returns the set with all of the table added.
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

// trimmed returns the part of the set that is desired or in the kernel, and whether
// that is less than the set.
func (o Owned) trimmed(desired, actual Table) (Owned, bool) {
	if !o.exceeds(desired, actual) {
		return o, false
	}
	rest, gone := make(Owned, len(o)), false
	for k, dests := range o {
		w, isWanted := desired[k]
		a, isThere := actual[k]
		if !isWanted && !isThere && k != syncOwner {
			gone = true
			continue
		}
		rest[k] = make(map[netip.AddrPort]struct{}, len(dests))
		for addr := range dests {
			if _, ok := w.Destinations[addr]; !ok {
				if _, ok := a.Destinations[addr]; !ok {
					gone = true
					continue
				}
			}
			rest[k][addr] = struct{}{}
		}
	}
	return rest, gone
}

// exceeds reports whether part of the set is neither desired nor in the kernel.
func (o Owned) exceeds(desired, actual Table) bool {
	for k, dests := range o {
		w, isWanted := desired[k]
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

// loadLedger loads what an earlier run wrote. Without it only the desired state is
// ours: entries that left the configuration meanwhile stay in the kernel, which is
// the safe side.
func (r *Reconciler) loadLedger() {
	if r.owned != nil {
		return
	}
	r.owned = Owned{}
	if r.o.Ledger == nil {
		return
	}
	owned, err := r.o.Ledger.Load()
	if err != nil {
		r.ledgerFailed(fmt.Errorf("failed to load the record of lvsd's entries: %w", err))
		return
	}
	r.owned = owned.Clone()
}

// saveLedger saves the ledger if it is stale. A failure, such as a full disk, does
// not stop the writes to the kernel: it is reported, and retried in each pass.
func (r *Reconciler) saveLedger() {
	if r.o.Ledger == nil || !r.ledgerStale {
		return
	}
	if err := r.o.Ledger.Save(r.owned.Clone()); err != nil {
		r.ledgerFailed(fmt.Errorf("failed to save the record of lvsd's entries: %w", err))
		return
	}
	r.ledgerStale = false
	if r.ledgerErr != "" {
		r.ledgerErr = ""
		r.log.Info("the record of lvsd's IPVS entries is saved again")
		r.note(Change{Kind: ChangeLedgerOK})
	}
}

func (r *Reconciler) ledgerFailed(err error) {
	if r.lastErr = err.Error(); r.ledgerErr == r.lastErr {
		return
	}
	r.ledgerErr = r.lastErr
	r.log.Error("the record of lvsd's IPVS entries is outdated: after a restart, entries removed from the file meanwhile may stay in the kernel", "reason", err)
	r.note(Change{Kind: ChangeLedgerFailed, Err: err})
}
