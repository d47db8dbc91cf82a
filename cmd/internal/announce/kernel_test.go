package announce

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

// inNamespace gives a test a network namespace of its own, with the loopback interface up.
func inNamespace(t *testing.T, body func(Kernel)) {
	t.Helper()
	lab.RequireRoot(t)
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	there, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err)
		}
		_, _ = home.Close(), there.Close()
		runtime.UnlockOSThread()
	}()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := OpenKernel()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	body(k)
}

// accepts reports whether this host accepts packets to an address.
func accepts(t *testing.T, a netip.Addr) bool {
	t.Helper()
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL
}

// TestKernelRoutes: the real kernel takes, returns and removes routes of both families,
// and has the addresses for its own while they are there.
func TestKernelRoutes(t *testing.T) {
	inNamespace(t, func(k Kernel) {
		m := New(slog.New(slog.DiscardHandler), func() (Kernel, error) { return k, nil }, func() {})
		for _, metric := range []uint32{100, 4_000_000_000} {
			m.Set(desired(true, metric, vip, vip6))
			m.reconcile(time.Now())
			s := m.Snapshot()
			if len(s.Errors) != 0 || len(s.Present) != 4 || s.Present[Key{112, vip6}].Metric != metric {
				t.Fatalf("%+v", s)
			}
		}
		for _, a := range []netip.Addr{vip, vip6} {
			if !accepts(t, a) {
				t.Errorf("%v is not accepted", a)
			}
		}
		// A second pass changes nothing.
		m.reconcile(time.Now())
		if s := m.Snapshot(); s.Repairs != 0 || len(s.Errors) != 0 || len(s.Present) != 4 {
			t.Errorf("%+v", s)
		}
		if err := k.Delete(announced(112, vip, 4_000_000_000)); err != nil {
			t.Fatal(err)
		}
		m.reconcile(time.Now())
		if s := m.Snapshot(); s.Repairs != 1 || len(s.Present) != 4 {
			t.Errorf("%+v", s)
		}
		gone, err := Sweep(k, false, 0)
		if err != nil || len(gone) != 2 || accepts(t, vip) || accepts(t, vip6) {
			t.Errorf("%v, %v", gone, err)
		}
	})
}

// TestKernelForeign: routes of others are seen, addresses of interfaces too, and a route to
// an interface's address is refused.
func TestKernelForeign(t *testing.T) {
	inNamespace(t, func(k Kernel) {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		other := &netlink.Route{LinkIndex: lo.Attrs().Index, Table: 112, Dst: &net.IPNet{IP: net.IPv4(192, 0, 2, 99).To4(), Mask: net.CIDRMask(32, 32)}, Scope: unix.RT_SCOPE_LINK}
		if err := netlink.RouteAdd(other); err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(32, 32)}}); err != nil {
			t.Fatal(err)
		}
		reading, err := k.Read([]int{112})
		if err != nil || len(reading.Ours) != 0 || len(reading.Foreign) != 1 || reading.Foreign[0].Prefix.String() != "192.0.2.99/32" {
			t.Errorf("%+v, %v", reading, err)
		}
		addresses, err := k.Addresses()
		if err != nil || addresses[vip] != "lo" {
			t.Errorf("%v, %v", addresses, err)
		}
	})
}

// TestKernelAddress: an announced address that is added to an interface is reported, and its
// removal removes none of our routes.
func TestKernelAddress(t *testing.T) {
	inNamespace(t, func(k Kernel) {
		m := New(slog.New(slog.DiscardHandler), func() (Kernel, error) { return k, nil }, func() {})
		m.Set(desired(true, 100, vip, vip6))
		m.reconcile(time.Now())
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []func(netlink.Link, *netlink.Addr) error{netlink.AddrAdd, netlink.AddrDel} {
			for _, a := range []netip.Addr{vip, vip6} {
				if err := change(lo, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}}); err != nil {
					t.Fatal(err)
				}
			}
			// The kernel's route to an address of IPv6 comes a moment after the address.
			var s Snapshot
			if _, ok := lab.Poll(10*time.Second, func() bool {
				m.reconcile(time.Now())
				s = m.Snapshot()
				there, _ := k.Addresses()
				return there[vip] == "lo" == slices.Contains(s.OnInterface, vip) && there[vip6] == "lo" == slices.Contains(s.OnInterface, vip6)
			}); !ok {
				t.Errorf("named: %v", s.OnInterface)
			}
			if len(s.Present) != 4 || len(s.Errors)+len(s.Foreign) != 0 || s.Repairs != 0 || !accepts(t, vip) || !accepts(t, vip6) {
				t.Errorf("%+v", s)
			}
		}
	})
}

// TestKernelWatch: a change by another process is reported.
func TestKernelWatch(t *testing.T) {
	inNamespace(t, func(k Kernel) {
		seen := make(chan int, 16)
		stop, err := k.Watch(func(table int) { seen <- table })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if err := k.Add(announced(112, vip, 100)); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case table := <-seen:
				if table == 112 {
					return
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no notification")
			}
		}
	})
}

// TestKernelWatchOverflow: a burst that the socket's buffer cannot hold is reported as a change
// of any table, and leaves no socket open.
func TestKernelWatchOverflow(t *testing.T) {
	inNamespace(t, func(k Kernel) {
		sockets := func() (n int) {
			all, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range all {
				if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
					n++
				}
			}
			return n
		}
		hold, lost := make(chan struct{}), make(chan struct{}, 1)
		stop, err := k.Watch(func(table int) {
			<-hold
			if table == anyTable {
				lost <- struct{}{}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		before := sockets()
		for range 2000 {
			r := announced(112, vip, 100)
			if err := errors.Join(k.Add(r), k.Delete(r)); err != nil {
				t.Fatal(err)
			}
		}
		close(hold)
		select {
		case <-lost:
		case <-time.After(10 * time.Second):
			t.Fatal("the loss is not reported")
		}
		if _, ok := lab.Poll(10*time.Second, func() bool { return sockets() == before }); !ok {
			t.Errorf("%d sockets, before the loss %d", sockets(), before)
		}
		stop()
		if _, ok := lab.Poll(10*time.Second, func() bool { return sockets() == before-1 }); !ok {
			t.Errorf("%d sockets after the end, before it %d", sockets(), before)
		}
	})
}
