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
