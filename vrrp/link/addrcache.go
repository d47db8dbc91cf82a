// This file knows the interfaces and addresses of a network namespace from what
// the kernel tells, so that a look costs no question to it, however many elections
// look. It never changes anything.
//
// Whoever looks first reads what the kernel has queued. The kernel queues a change
// before it answers the request for it, so a look sees all that was done before
// it. When the queue overran everything is read anew.

package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// queueBuffer holds a burst of the kernel's messages, in octets: all addresses
	// of a full host come and go at once.
	queueBuffer = 8 << 20
	// dumpRetryDelay is the wait after a read that failed for another reason than
	// an overrun.
	dumpRetryDelay = 500 * time.Millisecond
	// dumpTries is how often a list that others disturbed is taken again.
	dumpTries = 5
)

// rtnlGroups is what the kernel is asked to tell of.
const rtnlGroups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) |
	1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1)

// addrCache is shared by all ports of a namespace.
type addrCache struct {
	namespace string
	refs      int // of hubs.Mutex

	file   *os.File
	raw    syscall.RawConn
	handle *netlink.Handle
	run    sync.Once
	done   chan struct{} // closed when nobody reads any more

	mu          sync.Mutex // of what follows
	stale       bool       // something was missed, or nothing read yet
	overruns    uint64     // times
	dumps       uint64     // how often everything was read
	routeGroups bool       // the kernel tells of routes, too
	links       map[int]netlink.Link
	byName      map[string]int
	addrs       map[int]*addrTable // by interface
	subscribers map[*subscriber]bool
	owners      map[netip.Addr]map[*subscriber]bool
	buf         []byte
}

// subscriber is who wants to be told of changes.
type subscriber struct {
	name        string
	vmac        string // of our macvlan; set with the hub's lock
	changed     func() // nil: not yet, or no more
	wantsRoutes bool   // routes and rules move along
	routes      []Route
	routesStale bool // some of those may be gone
	owned       []netip.Prefix
}

var caches = struct {
	sync.Mutex
	of map[string]*addrCache
}{of: map[string]*addrCache{}}

// openCache is the hub of the calling thread's namespace.
func openCache() (*addrCache, error) {
	caches.Lock()
	defer caches.Unlock()
	here := namespace()
	if h := caches.of[here]; h != nil {
		h.refs++
		return h, nil
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open netlink: %w", err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err == nil {
		if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: rtnlGroups}); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("failed to listen to netlink: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queueBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queueBuffer)
	}
	h := &addrCache{
		namespace: here, refs: 1, file: os.NewFile(uintptr(fd), "netlink"), handle: handle, done: make(chan struct{}),
		stale: true, links: map[int]netlink.Link{}, byName: map[string]int{}, addrs: map[int]*addrTable{}, subscribers: map[*subscriber]bool{}, owners: map[netip.Addr]map[*subscriber]bool{}, buf: make([]byte, 64<<10),
	}
	if h.raw, err = h.file.SyscallConn(); err == nil {
		err = handle.SetSocketTimeout(requestTimeout)
	}
	if err != nil {
		_ = h.file.Close()
		handle.Close()
		return nil, fmt.Errorf("failed to listen to netlink: %w", err)
	}
	caches.of[here] = h
	return h, nil
}

// close is for one user; the last one ends it.
func (h *addrCache) close() {
	caches.Lock()
	h.refs--
	last := h.refs == 0
	if last {
		delete(caches.of, h.namespace)
	}
	caches.Unlock()
	if !last {
		return
	}
	_ = h.file.Close()
	h.run.Do(func() { close(h.done) }) // it never ran
	<-h.done
	h.handle.Close()
}

// subscribe makes a client.
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

// setOwned says that these addresses concern the client, and nobody else who does not
// say the same. Under the lock.
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

// watch calls changed after everything that may concern the client, until ctx
// ends. changed must not block.
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

// listen reads as soon as there is something, until the socket is closed.
func (h *addrCache) listen() {
	defer close(h.done)
	for {
		err := h.raw.Read(func(uintptr) bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.drain() > 0
		})
		if err != nil {
			return // closed
		}
		h.mu.Lock()
		failed := h.stale && h.refresh() != nil
		h.mu.Unlock()
		if failed {
			<-time.After(dumpRetryDelay)
		}
	}
}

// drain takes in what is queued, and says how much that was. Under the lock.
func (h *addrCache) drain() (messages int) {
	affected := map[*subscriber]bool{}
	for {
		var n int
		var failed error
		err := h.raw.Control(func(fd uintptr) {
			n, _, failed = unix.Recvfrom(int(fd), h.buf, unix.MSG_DONTWAIT)
		})
		switch {
		case err != nil || failed == unix.EAGAIN:
			for c := range affected {
				c.changed()
			}
			return messages
		case failed == unix.EINTR:
			continue
		case failed != nil: // ENOBUFS: some are lost
			messages++
			h.stale = true
			h.overruns++
			h.notifyAll(affected)
			continue
		}
		messages++
		all, err := syscall.ParseNetlinkMessage(h.buf[:n])
		if err != nil {
			h.stale = true
			h.notifyAll(affected)
		}
		for i := range all {
			h.apply(&all[i], affected)
		}
	}
}

func (h *addrCache) notifyAll(affected map[*subscriber]bool) {
	for c := range h.subscribers {
		c.routesStale = c.wantsRoutes
		if c.changed != nil {
			affected[c] = true
		}
	}
}

// joinRouteGroups asks for what becomes of routes too: on a host with many it is much,
// so only who needs it does. Under the lock.
func (h *addrCache) joinRouteGroups() {
	if h.routeGroups {
		return
	}
	h.routeGroups = true
	_ = h.raw.Control(func(fd uintptr) {
		for _, group := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
		}
	})
}

// handle takes one message in.
func (h *addrCache) apply(m *syscall.NetlinkMessage, affected map[*subscriber]bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		m.Data = slices.Clone(m.Data) // what is read out of it refers to it, and it is overwritten
		// A bridge tells of its ports in the same way, of another family.
		if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
			return
		}
		index := int(int32(binary.NativeEndian.Uint32(m.Data[4:8])))
		var names []string
		if old := h.links[index]; old != nil {
			names = append(names, old.Attrs().Name)
		}
		if m.Header.Type == unix.RTM_DELLINK {
			h.deleteLink(index)
		} else if l, err := netlink.LinkDeserialize(nil, m.Data); err == nil {
			h.putLink(l)
			names = append(names, l.Attrs().Name)
		}
		for c := range h.subscribers {
			c.routesStale = c.routesStale || c.wantsRoutes
			if c.changed != nil && (c.wantsRoutes || slices.Contains(names, c.name) || c.vmac != "" && slices.Contains(names, c.vmac)) {
				affected[c] = true
			}
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		index, e, ok := parseAddress(m.Data)
		if !ok {
			h.stale = true
			return
		}
		if m.Header.Type == unix.RTM_NEWADDR {
			h.putAddress(index, e)
		} else {
			h.deleteAddress(index, e)
		}
		h.notifyByAddress(index, e, affected)
	case unix.RTM_DELRULE, unix.RTM_DELROUTE, unix.RTM_NEWROUTE:
		for c := range h.subscribers {
			if c.wantsRoutes && c.concernsRoutes(m) {
				if c.routesStale = true; c.changed != nil {
					affected[c] = true
				}
			}
		}
	}
}

// notifyByAddress: an address that somebody claims concerns those alone, another
// may be what adverts are sent from.
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

// A table is the addresses of one interface.
type addrTable struct {
	all []entry // the oldest first
	by  map[netip.Addr][]entry
}

// putAddress keeps the place of one that is known.
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

// parseAddress reads a message about an address: struct ifaddrmsg and attributes.
func parseAddress(b []byte) (index int, e entry, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, e, false
	}
	bits, flags, scope := int(b[1]), int(b[2]), int(b[3])
	index = int(int32(binary.NativeEndian.Uint32(b[4:8])))
	attrs, err := nl.ParseRouteAttr(b[unix.SizeofIfAddrmsg:])
	if err != nil {
		return 0, e, false
	}
	var address, local netip.Addr
	var label string
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_LABEL:
			label = unix.ByteSliceToString(a.Value)
		case unix.IFA_FLAGS:
			if len(a.Value) >= 4 {
				flags = int(binary.NativeEndian.Uint32(a.Value))
			}
		}
	}
	if local.IsValid() {
		address = local // with a peer, the other is the peer's
	}
	return index, entry{netip.PrefixFrom(address, bits), scope, flags, label}, address.IsValid()
}

// refresh brings all that is known up to date. Under the lock.
func (h *addrCache) refresh() error {
	h.drain()
	for try := 1; h.stale; try++ {
		err := h.dump()
		if err == nil {
			h.drain() // what happened meanwhile, in its order
			break
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return fmt.Errorf("failed to list interfaces and addresses: %w", err)
		}
	}
	return nil
}

// dump takes everything anew; addresses that are still there keep their order.
func (h *addrCache) dump() error {
	h.stale = false // from here on what is lost is lost anew
	h.dumps++
	links, err := h.handle.LinkList()
	if err != nil {
		h.stale = true
		return err
	}
	addrs, err := h.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		h.stale = true
		return err
	}
	before := h.addrs
	h.links, h.byName, h.addrs = map[int]netlink.Link{}, map[string]int{}, map[int]*addrTable{}
	for _, l := range links {
		h.putLink(l)
	}
	found := map[int][]entry{}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			bits, _ := a.Mask.Size()
			found[a.LinkIndex] = append(found[a.LinkIndex], entry{netip.PrefixFrom(ip.Unmap(), bits), a.Scope, a.Flags, a.Label})
		}
	}
	for index, all := range found {
		if known := before[index]; known != nil {
			place := map[netip.Prefix]int{}
			for i, e := range known.all {
				place[e.prefix] = i - len(known.all) // below 0, which the new ones have
			}
			slices.SortStableFunc(all, func(a, b entry) int { return place[a.prefix] - place[b.prefix] })
		}
		for _, e := range all {
			h.putAddress(index, e)
		}
	}
	return nil
}

// linkByName finds an interface by its name.
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

// linkByIndex finds an interface by its index.
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

// withAddresses calls f with the addresses of an interface, which it must not keep.
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

// entries is the entries of an interface for the addresses of some.
func (h *addrCache) entries(index int, some []netip.Prefix) (found []entry, err error) {
	err = h.withAddresses(index, func(t *addrTable) {
		for _, q := range some {
			found = append(found, t.by[q.Addr()]...)
		}
	})
	return found, err
}

// invalidate makes the next look read everything anew.
func (h *addrCache) invalidate() {
	h.mu.Lock()
	h.stale = true
	h.mu.Unlock()
}

// expect notes an address of IPv6 that is about to be added: the kernel tells of it
// a moment after it answered. Before it is asked, and not after, so that whatever
// it tells is newer.
func (h *addrCache) expect(index int, e entry) {
	if e.prefix.Addr().Is4() {
		return // told of before the answer
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drain()
	h.putAddress(index, e)
}

// unexpect takes it back.
func (h *addrCache) unexpect(index int, e entry) {
	if e.prefix.Addr().Is4() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleteAddress(index, e)
}
