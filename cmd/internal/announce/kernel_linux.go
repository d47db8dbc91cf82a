package announce

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernelTimeout bounds each request to the kernel.
const kernelTimeout = 3 * time.Second

// tables are the routing tables of the present network namespace.
type tables struct {
	handle *netlink.Handle
	lo     int // index of the loopback interface
}

// OpenKernel opens the routing tables of the network namespace.
func OpenKernel() (Kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open the kernel's routing tables: %w", err)
	}
	if err := h.SetSocketTimeout(kernelTimeout); err != nil {
		h.Close()
		return nil, fmt.Errorf("failed to set a timeout on netlink: %w", err)
	}
	lo, err := h.LinkByName("lo")
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("failed to find the loopback interface lo: %w", err)
	}
	return &tables{handle: h, lo: lo.Attrs().Index}, nil
}

func (t *tables) Close() { t.handle.Close() }

// readTries is how often an interrupted dump is repeated.
const readTries = 3

func (t *tables) Read(foreign []int) (Reading, error) {
	wanted := make(map[int]bool, len(foreign))
	for _, n := range foreign {
		wanted[n] = true
	}
	var err error
	for range readTries {
		var r Reading
		// Table 0 in the filter is any table.
		err = t.handle.RouteListFilteredIter(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE, func(k netlink.Route) bool {
			route, ok := fromKernel(k)
			switch {
			case !ok:
			case k.Protocol == Protocol:
				r.Ours = append(r.Ours, route)
			case wanted[k.Table]:
				r.Foreign = append(r.Foreign, ForeignRoute{route, int(k.Protocol)})
			}
			return true
		})
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return Reading{}, fmt.Errorf("failed to read the kernel's routing tables: %w", err)
}

// fromKernel converts a route of the kernel; ok is false for the families that lvsd has
// no routes of.
func fromKernel(k netlink.Route) (r Route, ok bool) {
	if k.Dst == nil {
		if k.Family == unix.AF_INET6 {
			return Route{Table: k.Table, Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Metric: uint32(k.Priority)}, true
		}
		return Route{Table: k.Table, Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Metric: uint32(k.Priority)}, k.Family == unix.AF_INET
	}
	a, ok := netip.AddrFromSlice(k.Dst.IP)
	if !ok {
		return Route{}, false
	}
	bits, _ := k.Dst.Mask.Size()
	if k.Family == unix.AF_INET {
		a = a.Unmap()
	}
	r = Route{Table: k.Table, Prefix: netip.PrefixFrom(a, bits), Metric: uint32(k.Priority)}
	if r.isLocal() {
		r.Metric = 0 // IPv6 fills in a default
	}
	return r, r.Prefix.IsValid()
}

// toKernel converts a route of ours.
func (t *tables) toKernel(r Route) *netlink.Route {
	a := r.Prefix.Addr()
	k := &netlink.Route{
		LinkIndex: t.lo, Table: r.Table, Priority: int(r.Metric), Protocol: Protocol,
		Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(r.Prefix.Bits(), a.BitLen())},
	}
	switch {
	case r.isLocal():
		k.Type, k.Scope = unix.RTN_LOCAL, unix.RT_SCOPE_HOST
	case a.Is4():
		k.Type, k.Scope = unix.RTN_UNICAST, unix.RT_SCOPE_LINK
	default:
		k.Type = unix.RTN_UNICAST
	}
	return k
}

func (t *tables) Add(r Route) error { return t.handle.RouteAdd(t.toKernel(r)) }

func (t *tables) Delete(r Route) error { return t.handle.RouteDel(t.toKernel(r)) }

func (t *tables) Addresses() (map[netip.Addr]string, error) {
	links, err := t.handle.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("failed to list the interfaces: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := t.handle.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("failed to list the addresses: %w", err)
	}
	all := make(map[netip.Addr]string, len(addrs))
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			all[ip.Unmap()] = names[a.LinkIndex]
		}
	}
	return all, nil
}

// watchQueue is how many notifications may wait; a full queue only delays the kernel's
// messages in the socket, which may then drop some.
const watchQueue = 256

// rewatchAfter is how long a broken subscription waits before it is renewed.
const rewatchAfter = time.Second

// anyTable is reported where notifications may have been lost.
const anyTable = 0

func (t *tables) Watch(changed func(table int)) (stop func(), err error) {
	// The library closes the socket when end is closed, and after an error only then.
	subscribe := func() (updates chan netlink.RouteUpdate, end chan struct{}, err error) {
		updates, end = make(chan netlink.RouteUpdate, watchQueue), make(chan struct{})
		return updates, end, netlink.RouteSubscribeWithOptions(updates, end, netlink.RouteSubscribeOptions{ErrorCallback: func(error) {}})
	}
	updates, end, err := subscribe()
	if err != nil {
		close(end)
		return nil, fmt.Errorf("failed to watch the kernel's routing tables: %w", err)
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			stopped := forward(updates, done, changed)
			close(end)
			for range updates { // it may wait to send
			}
			if stopped {
				return
			}
			for {
				select {
				case <-done:
					return
				case <-time.After(rewatchAfter):
				}
				if updates, end, err = subscribe(); err == nil {
					break
				}
				close(end)
			}
			changed(anyTable)
		}
	})
	return func() { close(done); watching.Wait() }, nil
}

// forward reports updates until they end with an error, such as that the socket's buffer was
// too small for a burst, or until the watch is stopped.
func forward(updates <-chan netlink.RouteUpdate, done <-chan struct{}, changed func(table int)) (stopped bool) {
	for {
		select {
		case <-done:
			return true
		case u, ok := <-updates:
			if !ok {
				return false
			}
			changed(u.Table)
		}
	}
}
