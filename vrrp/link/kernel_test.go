package link

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

// inNamespace gives a test a namespace of its own with a veth pair, eth0 and peer0. Its
// sockets are opened on the test's thread, which ends with the test.
func inNamespace(t testing.TB, body func()) {
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
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}
	for _, err := range []error{
		netlink.LinkAdd(veth),
		netlink.LinkSetUp(veth),
		netlink.AddrAdd(veth, &netlink.Addr{IPNet: must(netlink.ParseIPNet("10.0.0.12/24"))}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	body()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestSetIsIdempotent(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ours := prefixes("10.0.0.88/32", "10.0.0.89/32", "192.0.2.1/32")
		for range 2 {
			held, _, err := p.SetAddresses(ours, ours[:2], false)
			if err != nil || !slices.Equal(held, ours[:2]) {
				t.Fatalf("%v, %v", held, err)
			}
		}
		s := must(p.State(ours, netip.Addr{}, false))
		if !slices.Equal(s.Present, ours[:2]) || s.Primary != netip.MustParseAddr("10.0.0.12") || !s.Exists || !s.AdminUp || s.Carrier {
			t.Errorf("%+v (the peer is down)", s)
		}
		// Added and removed in one go.
		held, added, err := p.SetAddresses(ours, ours[1:], false)
		if err != nil || !slices.Equal(held, ours[1:]) || !slices.Equal(added, ours[2:]) {
			t.Errorf("%v, %v, %v", held, added, err)
		}
		for range 2 {
			if held, _, err := p.SetAddresses(ours, nil, false); err != nil || len(held) != 0 {
				t.Fatalf("%v, %v", held, err)
			}
		}
	})
}

func TestSetLeavesOthersAddresses(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		own := prefixes("10.0.0.12/32") // the interface's own has /24
		held, added, err := p.SetAddresses(own, own, false)
		if err != nil || len(added) != 0 || !slices.Equal(held, own) {
			t.Errorf("%v, %v, %v", held, added, err)
		}
		held, _, err = p.SetAddresses(own, nil, false)
		if err != nil || len(held) > 0 { // it is not ours, and must not be waited for
			t.Errorf("%v, %v", held, err)
		}
		if s := must(p.State(nil, netip.Addr{}, false)); s.Primary != own[0].Addr() {
			t.Error("the interface's own address is gone")
		}
		if s := must(p.State(own, netip.Addr{}, false)); !slices.Equal(s.Present, own) {
			t.Errorf("not seen: %+v", s)
		}
	})
}

func TestInterfaceThatGoes(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		if _, err := p.Announce([]netip.Addr{netip.MustParseAddr("10.0.0.88")}); err == nil {
			t.Log("announced without a carrier") // veth accepts it
		}
		if err := netlink.LinkDel(must(netlink.LinkByName("eth0"))); err != nil {
			t.Fatal(err)
		}
		if s, err := p.State(nil, netip.Addr{}, false); err != nil || s.Exists {
			t.Errorf("%+v, %v", s, err)
		}
		if held, _, err := p.SetAddresses(prefixes("10.0.0.88/32"), nil, false); err != nil || len(held) != 0 {
			t.Errorf("nothing to remove: %v, %v", held, err)
		}
		if _, _, err := p.SetAddresses(prefixes("10.0.0.88/32"), prefixes("10.0.0.88/32"), false); err == nil {
			t.Error("an address on no interface")
		}
		if _, err := p.Announce(nil); err == nil {
			t.Error("announced on no interface")
		}
		again, err := Open("eth0", IPv4, Router{})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := again.State(nil, netip.Addr{}, false); err != nil || s.Exists {
			t.Errorf("%+v, %v", s, err)
		}
		_ = again.Close()
	})
}

func TestAnnounceCountsFrames(t *testing.T) {
	inNamespace(t, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		n, err := p.Announce([]netip.Addr{netip.MustParseAddr("10.0.0.88"), netip.MustParseAddr("10.0.0.89")})
		if err != nil || n != 4 {
			t.Errorf("%d frames, %v", n, err)
		}
		lo := must(Open("lo", IPv4, Router{}))
		defer lo.Close()
		if n, err := lo.Announce([]netip.Addr{netip.MustParseAddr("10.0.0.88")}); err != nil || n != 0 {
			t.Errorf("on the loopback: %d frames, %v", n, err)
		}
	})
}

func TestWatchTells(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ctx, cancel := context.WithCancel(context.Background())
		notified, done := make(chan struct{}, 100), make(chan struct{})
		ready := make(chan struct{})
		home, there := must(netns.Get()), must(netns.Get())
		defer home.Close()
		go func() {
			defer close(done)
			runtime.LockOSThread() // and not unlocked: the thread is in the namespace
			if err := netns.Set(there); err != nil {
				panic(err)
			}
			close(ready)
			p.Watch(ctx, func() {
				select {
				case notified <- struct{}{}:
				default:
				}
			})
		}()
		<-ready
		wait := func(what string) {
			select {
			case <-notified:
			case <-time.After(10 * time.Second):
				t.Errorf("not notified: %s", what)
			}
			for len(notified) > 0 {
				<-notified
			}
		}
		wait("the begin")
		l := must(netlink.LinkByName("eth0"))
		if err := netlink.LinkSetDown(l); err != nil {
			t.Fatal(err)
		}
		wait("set down")
		if _, _, err := p.SetAddresses(prefixes("10.0.0.88/32"), prefixes("10.0.0.88/32"), false); err != nil {
			t.Fatal(err)
		}
		wait("an address")
		if err := netlink.LinkDel(l); err != nil {
			t.Fatal(err)
		}
		wait("deleted")
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the watch does not end")
		}
	})
}

// An IPv6 address is usable at once, deprecated so that it is never a source,
// and without a route of its own.
func TestSetIPv6(t *testing.T) {
	inNamespace(t, func() {
		peer := must(netlink.LinkByName("peer0"))
		if err := netlink.LinkSetUp(peer); err != nil {
			t.Fatal(err)
		}
		p := must(Open("eth0", IPv6, Router{}))
		defer p.Close()
		ours := prefixes("fe80::100/128", "2001:db8::100/128")
		for range 2 {
			held, _, err := p.SetAddresses(ours, ours, false)
			if err != nil || !slices.Equal(held, ours) {
				t.Fatalf("%v, %v", held, err)
			}
		}
		for _, a := range must(netlink.AddrList(must(netlink.LinkByName("eth0")), netlink.FAMILY_V6)) {
			const wanted = unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_DEPRECATED | unix.IFA_F_PERMANENT
			if ones, _ := a.Mask.Size(); ones == 128 && (a.Flags&wanted != wanted || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0) {
				t.Errorf("%v has flags %#x", a, a.Flags)
			}
		}
		s := must(p.State(ours, netip.Addr{}, false))
		for limit := time.Now().Add(10 * time.Second); s.Pending && time.Now().Before(limit); s = must(p.State(ours, netip.Addr{}, false)) {
			<-time.After(10 * time.Millisecond) // duplicate address detection
		}
		if !slices.Equal(s.Present, ours) || !s.Primary.IsLinkLocalUnicast() || s.Primary == ours[0].Addr() {
			t.Errorf("%+v", s)
		}
		if n, err := p.Announce([]netip.Addr{ours[0].Addr(), ours[1].Addr()}); err != nil || n != 2 {
			t.Errorf("%d frames, %v", n, err)
		}
		if held, _, err := p.SetAddresses(ours, nil, false); err != nil || len(held) != 0 {
			t.Errorf("%v, %v", held, err)
		}
		if s := must(p.State(ours, netip.Addr{}, false)); len(s.Present) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Only the configured source address.
func TestSource(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		for _, tt := range []struct{ source, want string }{{"10.0.0.12", "10.0.0.12"}, {"10.0.0.13", "invalid IP"}} {
			if s := must(p.State(nil, netip.MustParseAddr(tt.source), false)); s.Primary.String() != tt.want {
				t.Errorf("from %s: %v", tt.source, s.Primary)
			}
		}
	})
}

// With ARP silenced the host has the address and does not answer for it; afterwards all
// is as before.
func TestQuiet(t *testing.T) {
	inNamespace(t, func() {
		const vip = "10.0.0.88"
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ours := prefixes(vip+"/32", "10.0.0.89/32")
		on := func(dev string) (n int) {
			for _, a := range must(netlink.AddrList(must(netlink.LinkByName(dev)), netlink.FAMILY_V4)) {
				if a.IP.String() == vip {
					n++
				}
			}
			return n
		}
		read := func() string { return strings.TrimSpace(string(must(os.ReadFile(settingPath("eth0", arpIgnore))))) }
		check := func(when, ignore string, eth0, lo int) {
			t.Helper()
			if got := read(); got != ignore || on("eth0") != eth0 || on("lo") != lo {
				t.Errorf("%s: arp_ignore %s, %d on eth0, %d on lo", when, got, on("eth0"), on("lo"))
			}
			routes := must(netlink.RouteGet(net.ParseIP(vip)))
			if local := len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL; local != (eth0+lo > 0) {
				t.Errorf("%s: the kernel takes it for local: %v", when, local)
			}
		}
		must2(p.SetAddresses(ours, ours, false))
		check("held", "0", 1, 0)
		held, _, err := p.SetAddresses(ours, ours[:1], true)
		if err != nil || !slices.Equal(held, ours[:1]) {
			t.Errorf("%v, %v", held, err)
		}
		check("quiet", "1", 0, 1)
		must2(p.SetAddresses(ours, ours[:1], true))
		check("quiet again", "1", 0, 1)
		must2(p.SetAddresses(ours, ours, false))
		check("held again", "0", 1, 0)
		must2(p.SetAddresses(ours, ours, true))
		must2(p.SetAddresses(ours, nil, false))
		check("left", "0", 0, 0)

		// What a killed run left on lo is removed with the next change.
		must2(p.SetAddresses(ours, ours, true))
		other := must(Open("eth0", IPv4, Router{}))
		defer other.Close()
		must2(other.SetAddresses(ours, ours, false))
		if on("lo") != 0 {
			t.Error("left on lo")
		}
		must2(other.SetAddresses(ours, nil, false))
		must2(p.SetAddresses(ours, nil, false))
		check("in the end", "0", 0, 0)
	})
}

func must2(_, _ []netip.Prefix, err error) {
	if err != nil {
		panic(err)
	}
}

func TestObserve(t *testing.T) {
	inNamespace(t, func() {
		ctx, cancel := context.WithCancel(context.Background())
		notified, done := make(chan bool, 10), make(chan struct{})
		there := must(netns.Get())
		go func() {
			defer close(done)
			runtime.LockOSThread() // and not unlocked: the thread is in the namespace
			if err := netns.Set(there); err != nil {
				panic(err)
			}
			Observe(ctx, "peer0", func(up bool) { notified <- up })
		}()
		want := func(up bool) {
			t.Helper()
			select {
			case got := <-notified:
				if got != up {
					t.Errorf("notified %v", got)
				}
			case <-time.After(15 * time.Second):
				t.Errorf("not notified %v", up)
			}
		}
		want(false)
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		want(true)
		if err := netlink.LinkDel(must(netlink.LinkByName("eth0"))); err != nil {
			t.Fatal(err)
		}
		want(false)
		cancel()
		<-done
	})
}

// An interface that was renamed still holds the addresses: they are removed from it,
// because its old name no longer exists.
func TestARenamedInterfaceIsLeft(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ours := prefixes("10.0.0.88/32")
		if _, _, err := p.SetAddresses(ours, ours, false); err != nil {
			t.Fatal(err)
		}
		l := must(netlink.LinkByName("eth0"))
		for _, err := range []error{netlink.LinkSetDown(l), netlink.LinkSetName(l, "wan0"), netlink.LinkSetUp(l)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := p.SetAddresses(ours, nil, false); err != nil {
			t.Error(err)
		}
		for _, a := range must(netlink.AddrList(l, netlink.FAMILY_V4)) {
			if a.IP.String() == "10.0.0.88" {
				t.Errorf("%v is left on wan0", a)
			}
		}
	})
}

// More notifications than the kernel's queue holds, while it is listened to: the watcher is
// notified, and sees what is there.
func TestOverrunWakesTheWatcher(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ours := prefixes("10.0.0.88/32")
		must2(p.SetAddresses(ours, ours, false))
		must(p.State(ours, netip.Addr{}, false))
		if err := p.cache.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4096) }); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		woken, ended := make(chan struct{}, 1), make(chan struct{})
		go func() {
			defer close(ended)
			p.Watch(ctx, func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			})
		}()
		eth0, other := must(netlink.LinkByName("eth0")), must(netlink.LinkByName("lo")) // whose addresses do not concern it
		p.cache.mu.Lock()                                                               // what listens cannot read meanwhile
		for i := range 200 {
			if err := netlink.AddrAdd(other, &netlink.Addr{IPNet: must(netlink.ParseIPNet("10.2.0." + strconv.Itoa(i) + "/32"))}); err != nil {
				t.Error(err)
			}
		}
		if err := netlink.AddrDel(eth0, address(ours[0], netlink.SCOPE_HOST)); err != nil {
			t.Error(err)
		}
		p.cache.mu.Unlock()
		limit := time.After(10 * time.Second)
		for lost := false; !lost; { // the first call may be of its own start
			select {
			case <-woken:
			case <-limit:
				t.Fatal("the watcher was not woken, or nothing was lost, so that nothing is tested")
			}
			p.cache.mu.Lock()
			lost = p.cache.overruns > 0
			p.cache.mu.Unlock()
		}
		if s := must(p.State(ours, netip.Addr{}, false)); len(s.Present) != 0 {
			t.Errorf("%+v", s)
		}
		stop()
		<-ended
	})
}

// More notifications than the kernel's queue holds: everything is read again.
func TestOverrun(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ours := prefixes("10.0.0.88/32", "10.0.0.89/32")
		must2(p.SetAddresses(ours, ours, false))
		must(p.State(ours, netip.Addr{}, false))
		// Nothing reads yet: only Look does.
		if err := p.cache.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4096) }); err != nil {
			t.Fatal(err)
		}
		eth0 := must(netlink.LinkByName("eth0"))
		for i := range 200 {
			if err := netlink.AddrAdd(eth0, &netlink.Addr{IPNet: must(netlink.ParseIPNet("10.2.0." + strconv.Itoa(i) + "/32"))}); err != nil {
				t.Fatal(err)
			}
		}
		if err := netlink.AddrDel(eth0, address(ours[0], netlink.SCOPE_HOST)); err != nil {
			t.Fatal(err)
		}
		if s := must(p.State(ours, netip.Addr{}, false)); !slices.Equal(s.Present, ours[1:]) || s.Primary.String() != "10.0.0.12" {
			t.Errorf("%+v", s)
		}
		p.cache.mu.Lock()
		defer p.cache.mu.Unlock()
		if p.cache.overruns == 0 {
			t.Error("nothing was lost, so nothing is tested")
		}
	})
}

// However many ports read and change addresses, there is one dump.
func TestALookAsksNothing(t *testing.T) {
	inNamespace(t, func() {
		var ports []*Port
		for range 20 {
			p := must(Open("eth0", IPv4, Router{}))
			defer p.Close()
			ports = append(ports, p)
		}
		for i, p := range ports {
			ours := []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 3, 0, byte(i)}), 32)}
			for range 10 {
				must2(p.SetAddresses(ours, ours, false))
				if s := must(p.State(ours, netip.Addr{}, false)); !slices.Equal(s.Present, ours) {
					t.Errorf("%+v", s)
				}
			}
		}
		h := ports[0].cache
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.dumps != 1 {
			t.Errorf("everything was listed %d times", h.dumps)
		}
	})
}

// TestVirtualAddressIsNoSource sends to multicast and broadcast destinations while
// the interface has a virtual address: the kernel must choose the interface's own.
func TestVirtualAddressIsNoSource(t *testing.T) {
	inNamespace(t, func() {
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		ours := prefixes("10.0.0.88/32", "192.0.2.1/32", "10.0.0.89/24")
		must2(p.SetAddresses(ours, ours, false))
		for _, to := range []string{"224.0.0.1", "224.0.0.81", "239.1.2.3", "255.255.255.255", "10.0.0.255"} {
			fd := must(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
			for _, err := range []error{
				unix.BindToDevice(fd, "eth0"), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.Connect(fd, &unix.SockaddrInet4{Port: 9, Addr: netip.MustParseAddr(to).As4()}),
			} {
				if err != nil {
					t.Fatalf("%s: %v", to, err)
				}
			}
			own := must(unix.Getsockname(fd)).(*unix.SockaddrInet4)
			if got := netip.AddrFrom4(own.Addr).String(); got != "10.0.0.12" {
				t.Errorf("to %s the kernel sends from %s", to, got)
			}
			_ = unix.Close(fd)
		}
	})
}

// TestTheOnlyAddressIsVirtual: a director whose interface has no address but the
// virtual one must not send adverts from it unless it is the owner.
func TestTheOnlyAddressIsVirtual(t *testing.T) {
	inNamespace(t, func() {
		l := must(netlink.LinkByName("eth0"))
		for _, err := range []error{
			netlink.AddrDel(l, &netlink.Addr{IPNet: must(netlink.ParseIPNet("10.0.0.12/24"))}),
			netlink.AddrAdd(l, &netlink.Addr{IPNet: must(netlink.ParseIPNet("10.0.0.88/24"))}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		p := must(Open("eth0", IPv4, Router{}))
		defer p.Close()
		for owner, want := range map[bool]string{false: "invalid IP", true: "10.0.0.88"} {
			if s := must(p.State(prefixes("10.0.0.88/32"), netip.Addr{}, owner)); s.Primary.String() != want {
				t.Errorf("owner %v: %v, want %v", owner, s.Primary, want)
			}
		}
	})
}
