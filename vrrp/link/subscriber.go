// Subscribers of the address cache, and which changes concern them.

package link

import (
	"context"
	"net/netip"
	"slices"
)

// subscriber is notified of changes.
type subscriber struct {
	name        string
	vmac        string // name of our macvlan
	changed     func() // nil: before and after watch
	wantsRoutes bool   // routes and rules are managed
	routes      []Route
	routesStale bool // some of them may be missing
	owned       []netip.Prefix
	claims      []netip.Prefix // wanted on the interface claimsOn
	claimsOn    int
}

// subscribe adds a subscriber for an interface.
func (h *addrCache) subscribe(name string) *subscriber {
	c := &subscriber{name: name}
	h.mu.Lock()
	h.subscribers[c] = true
	h.mu.Unlock()
	return c
}

func (h *addrCache) unsubscribe(c *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setOwned(c, nil)
	delete(h.subscribers, c)
}

// setOwned sets the addresses whose changes concern the subscriber. Changes of
// owned addresses are not reported to others. h.mu must be held.
func (h *addrCache) setOwned(c *subscriber, ours []netip.Prefix) {
	if slices.Equal(c.owned, ours) {
		return
	}
	for _, q := range c.owned {
		if by := h.owners[q.Addr()]; by != nil {
			if delete(by, c); len(by) == 0 {
				delete(h.owners, q.Addr())
			}
		}
	}
	c.owned = slices.Clone(ours)
	for _, q := range ours {
		if h.owners[q.Addr()] == nil {
			h.owners[q.Addr()] = map[*subscriber]bool{}
		}
		h.owners[q.Addr()][c] = true
	}
}

// watch calls changed after every change that may concern the subscriber, until
// ctx ends. changed must not block.
func (h *addrCache) watch(ctx context.Context, c *subscriber, changed func()) {
	h.mu.Lock()
	c.changed = changed
	h.mu.Unlock()
	h.run.Do(func() { go h.listen() })
	changed() // it may have changed before
	<-ctx.Done()
	h.mu.Lock()
	c.changed = nil
	h.mu.Unlock()
}

func (h *addrCache) notifyAll(affected map[*subscriber]bool) {
	for c := range h.subscribers {
		c.routesStale = c.wantsRoutes
		if c.changed != nil {
			affected[c] = true
		}
	}
}

// notifyByAddress notifies the owners of an address; a change of any other
// address concerns all, since it may be a source address.
func (h *addrCache) notifyByAddress(index int, e entry, affected map[*subscriber]bool) {
	by := h.owners[e.prefix.Addr()]
	if len(by) == 0 {
		by = h.subscribers
	}
	l := h.links[index]
	for c := range by {
		if c.changed != nil && (l == nil || l.Attrs().Name == c.name || l.Attrs().Name == c.vmac) {
			affected[c] = true
		}
	}
}
