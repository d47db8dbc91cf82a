// The tables of the address cache: interfaces and the addresses of each.

package link

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrTable is the addresses of one interface.
type addrTable struct {
	all []entry // in order of addition
	by  map[netip.Addr][]entry
}

func (h *addrCache) putLink(l netlink.Link) {
	a := l.Attrs()
	if old := h.links[a.Index]; old != nil && h.byName[old.Attrs().Name] == a.Index {
		delete(h.byName, old.Attrs().Name)
	}
	h.links[a.Index], h.byName[a.Name] = l, a.Index
}

func (h *addrCache) deleteLink(index int) {
	if old := h.links[index]; old != nil && h.byName[old.Attrs().Name] == index {
		delete(h.byName, old.Attrs().Name)
	}
	delete(h.links, index)
	delete(h.addrs, index)
}

// putAddress adds an entry, or updates it in its place.
func (h *addrCache) putAddress(index int, e entry) {
	t := h.addrs[index]
	if t == nil {
		t = &addrTable{by: map[netip.Addr][]entry{}}
		h.addrs[index] = t
	}
	a := e.prefix.Addr()
	i := slices.IndexFunc(t.by[a], e.same)
	if i < 0 {
		t.all, t.by[a] = append(t.all, e), append(t.by[a], e)
		return
	}
	t.by[a][i] = e
	t.all[slices.IndexFunc(t.all, e.same)] = e
}

func (h *addrCache) deleteAddress(index int, e entry) {
	t := h.addrs[index]
	if t == nil {
		return
	}
	a := e.prefix.Addr()
	t.all = slices.DeleteFunc(t.all, e.same)
	if t.by[a] = slices.DeleteFunc(t.by[a], e.same); len(t.by[a]) == 0 {
		delete(t.by, a)
	}
}

func (e entry) same(o entry) bool { return e.prefix == o.prefix }

// linkByName returns an interface by name.
func (h *addrCache) linkByName(name string) (netlink.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refresh(); err != nil {
		return nil, err
	}
	return h.named(name)
}

func (h *addrCache) named(name string) (netlink.Link, error) {
	if index, ok := h.byName[name]; ok {
		return h.links[index], nil
	}
	return nil, unix.ENODEV
}

// linkByIndex returns an interface by index.
func (h *addrCache) linkByIndex(index int) (netlink.Link, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refresh(); err != nil {
		return nil, err
	}
	if l := h.links[index]; l != nil {
		return l, nil
	}
	return nil, unix.ENODEV
}

// withAddresses calls f with the addresses of an interface. f must not keep them.
func (h *addrCache) withAddresses(index int, f func(t *addrTable)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refresh(); err != nil {
		return err
	}
	t := h.addrs[index]
	if t == nil {
		t = &addrTable{}
	}
	f(t)
	return nil
}

// entries returns the entries of an interface that have one of these addresses.
func (h *addrCache) entries(index int, some []netip.Prefix) (found []entry, err error) {
	err = h.withAddresses(index, func(t *addrTable) {
		for _, q := range some {
			found = append(found, t.by[q.Addr()]...)
		}
	})
	return found, err
}

// invalidate makes the next read dump everything.
func (h *addrCache) invalidate() {
	h.mu.Lock()
	h.stale = true
	h.mu.Unlock()
}

// expect adds an IPv6 address that is about to be requested: its notification
// comes after the acknowledgement. It must be called before the request, so that
// any notification is newer.
func (h *addrCache) expect(index int, e entry) {
	if e.prefix.Addr().Is4() {
		return // notified before the acknowledgement
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drain()
	h.putAddress(index, e)
}

// unexpect reverts expect.
func (h *addrCache) unexpect(index int, e entry) {
	if e.prefix.Addr().Is4() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleteAddress(index, e)
}
