// A cache of the interfaces and addresses of a network namespace, kept up to date
// by rtnetlink notifications: reading it needs no request, however many instances
// there are.
//
//	kernel ──notifications──► drain ──► addrCache ──► State, SetAddresses (after a drain)
//	                                        └──changed()──► subscribers
//
// Every read drains the socket first. The kernel queues a notification before it
// acknowledges the request that caused it, so a read sees all earlier changes.
// After an overrun everything is dumped again.

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
	// queueBuffer is the socket's receive buffer in octets: room for all
	// addresses of a large host at once.
	queueBuffer = 8 << 20
	// dumpRetryDelay is the time after a failed dump.
	dumpRetryDelay = 500 * time.Millisecond
	// dumpTries bounds the attempts at a dump that concurrent changes interrupt.
	dumpTries = 5
)

// rtnlGroups are the multicast groups joined at start.
const rtnlGroups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1) |
	1<<(unix.RTNLGRP_IPV4_RULE-1) | 1<<(unix.RTNLGRP_IPV6_RULE-1)

// addrCache is shared by all ports of a namespace.
type addrCache struct {
	namespace string
	refs      int // protected by caches.Mutex

	file   *os.File
	raw    syscall.RawConn
	handle *netlink.Handle
	run    sync.Once
	done   chan struct{} // closed when listen has ended

	mu          sync.Mutex // protects the following
	stale       bool       // a message was lost, or no dump yet
	overruns    uint64     // for tests
	dumps       uint64     // for tests
	routeGroups bool       // joined the route groups
	links       map[int]netlink.Link
	byName      map[string]int
	addrs       map[int]*addrTable // by interface index
	subscribers map[*subscriber]bool
	owners      map[netip.Addr]map[*subscriber]bool
	buf         []byte
}

// subscriber is notified of changes.
type subscriber struct {
	name        string
	vmac        string // name of our macvlan
	changed     func() // nil: before and after watch
	wantsRoutes bool   // routes and rules are managed
	routes      []Route
	routesStale bool // some of them may be missing
	owned       []netip.Prefix
}

var caches = struct {
	sync.Mutex
	of map[string]*addrCache
}{of: map[string]*addrCache{}}

// openCache returns the cache of the calling thread's namespace.
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

// close drops one reference; the last one closes the cache.
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
	h.run.Do(func() { close(h.done) }) // listen was never started
	<-h.done
	h.handle.Close()
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

// listen processes notifications until the socket is closed.
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

// drain processes the queued notifications and returns their number. h.mu must be
// held.
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
		case failed != nil: // ENOBUFS: messages were lost
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

// joinRouteGroups subscribes to route notifications. On a host with many routes
// they are expensive, so this is done only when needed. h.mu must be held.
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

// apply processes one message.
func (h *addrCache) apply(m *syscall.NetlinkMessage, affected map[*subscriber]bool) {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		m.Data = slices.Clone(m.Data) // the parsed link refers to the data, and the buffer is reused
		// Bridge port messages have the same type and another family.
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
		} else if l, err := parseLink(m.Data); err != nil {
			h.stale = true
		} else {
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

// addrTable is the addresses of one interface.
type addrTable struct {
	all []entry // in order of addition
	by  map[netip.Addr][]entry
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

// parseAddress parses an address message: struct ifaddrmsg and attributes.
func parseAddress(b []byte) (index int, e entry, ok bool) {
	if len(b) < unix.SizeofIfAddrmsg {
		return 0, e, false
	}
	bits, flags, scope := int(b[1]), int(b[2]), int(b[3])
	index = int(int32(binary.NativeEndian.Uint32(b[4:8])))
	attrs, err := parseAttrs(b[unix.SizeofIfAddrmsg:])
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
		address = local // on a point-to-point link IFA_ADDRESS is the peer
	}
	return index, entry{netip.PrefixFrom(address, bits), scope, flags, label}, address.IsValid()
}

// parseLink parses a link message: struct ifinfomsg and attributes.
func parseLink(b []byte) (l netlink.Link, err error) {
	err = checked(func() error {
		l, err = netlink.LinkDeserialize(nil, b)
		return err
	})
	return l, err
}

// parseAttrs parses the attributes at the end of a message.
func parseAttrs(b []byte) (attrs []syscall.NetlinkRouteAttr, err error) {
	err = checked(func() error {
		attrs, err = nl.ParseRouteAttr(b)
		return err
	})
	return attrs, err
}

var errMalformed = errors.New("malformed netlink message")

// checked returns a panic of the netlink library as an error: it indexes what it
// reads of the kernel without looking at the length.
func checked(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errMalformed, p)
		}
	}()
	return read()
}

// refresh brings the cache up to date. h.mu must be held.
func (h *addrCache) refresh() error {
	h.drain()
	for try := 1; h.stale; try++ {
		err := h.dump()
		if err == nil {
			h.drain() // changes during the dump, in order
			break
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == dumpTries {
			return fmt.Errorf("failed to list interfaces and addresses: %w", err)
		}
	}
	return nil
}

// dump reads everything. Addresses that are still there keep their order.
func (h *addrCache) dump() error {
	h.stale = false // messages lost from now on set it again
	h.dumps++
	var links []netlink.Link
	var addrs []netlink.Addr
	if err := checked(func() (err error) {
		if links, err = h.handle.LinkList(); err == nil {
			addrs, err = h.handle.AddrList(nil, netlink.FAMILY_ALL)
		}
		return err
	}); err != nil {
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
				place[e.prefix] = i - len(known.all) // negative, before new entries
			}
			slices.SortStableFunc(all, func(a, b entry) int { return place[a.prefix] - place[b.prefix] })
		}
		for _, e := range all {
			h.putAddress(index, e)
		}
	}
	return nil
}

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
