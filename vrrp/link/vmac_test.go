package link

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

var router51 = Router{VRID: 51, MAC: true}

// stationOf is the macvlan on eth0, nil without one.
func stationOf(t *testing.T) *netlink.Macvlan {
	t.Helper()
	for _, l := range must(netlink.LinkList()) {
		if m, ok := l.(*netlink.Macvlan); ok {
			return m
		}
	}
	return nil
}

func setting4(t *testing.T, name string, s setting) int {
	t.Helper()
	return must(readSetting(name, s))
}

func addressesOf(t *testing.T, l netlink.Link, family int) (out []string) {
	t.Helper()
	for _, a := range must(netlink.AddrList(l, family)) {
		out = append(out, a.IPNet.String())
	}
	return out
}

// The addresses are on a macvlan with the MAC address of the RFC, which is down without
// them and removed at the end, with the interface as before.
func TestVirtualMAC(t *testing.T) {
	for _, tt := range []struct {
		family Family
		mac    string
		ours   []netip.Prefix
	}{
		{IPv4, "00:00:5e:00:01:33", prefixes("10.0.0.88/32", "10.0.0.89/32")},
		{IPv6, "00:00:5e:00:02:33", prefixes("fe80::100/128", "2001:db8::100/128")},
	} {
		inNamespace(t, func() {
			if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
				t.Fatal(err)
			}
			eth0 := must(netlink.LinkByName("eth0"))
			p := must(Open("eth0", tt.family, router51))
			if s := stationOf(t); s != nil || setting4(t, "eth0", arpIgnore) != 0 {
				t.Errorf("opening changed something: %v", s)
			}
			must2(p.SetAddresses(tt.ours, nil, false)) // a backup
			s := stationOf(t)
			if s == nil || s.HardwareAddr.String() != tt.mac || s.Mode != netlink.MACVLAN_MODE_BRIDGE || isUp(s) || s.ParentIndex != eth0.Attrs().Index {
				t.Fatalf("%+v", s)
			}
			for range 2 {
				held, _, err := p.SetAddresses(tt.ours, tt.ours, false)
				if err != nil || !slices.Equal(held, tt.ours) {
					t.Fatalf("%v, %v", held, err)
				}
			}
			s = stationOf(t)
			on := addressesOf(t, s, int(tt.family))
			slices.Sort(on)
			want := []string{tt.ours[0].String(), tt.ours[1].String()}
			slices.Sort(want)
			if !slices.Equal(on, want) || !isUp(s) { // IPv6: none derived from the MAC address
				t.Errorf("on %s: %v, up %v", s.Name, on, isUp(s))
			}
			if s := must(p.State(tt.ours, netip.Addr{}, false)); !slices.Equal(s.Present, tt.ours) {
				t.Errorf("%+v", s)
			}
			if tt.family == IPv4 && (setting4(t, "eth0", arpIgnore) != 1 || setting4(t, "eth0", arpAnnounce) != 2) {
				t.Error("eth0 answers for the macvlan")
			}
			if n, err := p.Announce([]netip.Addr{tt.ours[0].Addr()}); err != nil || n == 0 {
				t.Errorf("%d frames, %v", n, err)
			}
			must2(p.SetAddresses(tt.ours, nil, false))
			if s := stationOf(t); isUp(s) || len(addressesOf(t, s, int(tt.family))) > 0 {
				t.Errorf("a backup's is up or has addresses: %+v", s)
			}
			must2(p.SetAddresses(tt.ours, tt.ours, false))
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if s := stationOf(t); s != nil || setting4(t, "eth0", arpIgnore) != 0 || setting4(t, "eth0", arpAnnounce) != 0 {
				t.Errorf("traces: %v, arp_ignore %d", s, setting4(t, "eth0", arpIgnore))
			}
			for _, a := range addressesOf(t, eth0, int(tt.family)) {
				if a == tt.ours[0].String() {
					t.Error("an address is left on eth0")
				}
			}
		})
	}
}

// Two routers share the settings of the interface: the last one restores them.
func TestTwoVirtualMACs(t *testing.T) {
	inNamespace(t, func() {
		if err := os.WriteFile(settingPath("eth0", arpAnnounce), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		a, b := must(Open("eth0", IPv4, router51)), must(Open("eth0", IPv4, Router{VRID: 52, MAC: true}))
		must2(a.SetAddresses(nil, nil, false))
		must2(b.SetAddresses(nil, nil, false))
		_ = a.Close()
		if setting4(t, "eth0", arpIgnore) != 1 || setting4(t, "eth0", arpAnnounce) != 2 {
			t.Error("the first one that left took the settings with it")
		}
		_ = b.Close()
		if setting4(t, "eth0", arpIgnore) != 0 || setting4(t, "eth0", arpAnnounce) != 1 {
			t.Error("not as it was")
		}
	})
}

// Several on one interface, with all notifications of one while another is set: each
// stays as it is.
func TestSeveralVirtualMACs(t *testing.T) {
	inNamespace(t, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		ports, ours := map[uint8]*Port{}, map[uint8][]netip.Prefix{}
		for v := uint8(1); v <= 5; v++ {
			ports[v] = must(Open("eth0", IPv4, Router{VRID: v, MAC: true}))
			defer ports[v].Close()
			ours[v] = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, v, 88}), 32)}
			must2(ports[v].SetAddresses(ours[v], ours[v], false))
		}
		for v, p := range ports {
			if s := must(p.State(ours[v], netip.Addr{}, false)); !slices.Equal(s.Present, ours[v]) {
				t.Errorf("%d: %+v", v, s)
			}
			if _, added, err := p.SetAddresses(ours[v], ours[v], false); err != nil || len(added) > 0 {
				t.Errorf("%d: added %v, %v", v, added, err)
			}
			if s := must(p.vmacLink(must(p.cache.linkByName("eth0")))); !slices.Equal(s.Attrs().HardwareAddr, VirtualMAC(IPv4, v)) {
				t.Errorf("%d: %v", v, s.Attrs().HardwareAddr)
			}
		}
	})
}

// killed leaves what a killed run leaves: the kernel's state, without that of the
// process.
func killed(p *Port) {
	p.mu.Lock()
	p.closeARP()
	p.mu.Unlock()
	overrides.Lock()
	for at := range overrides.of {
		if at.namespace == p.namespace {
			delete(overrides.of, at)
		}
	}
	overrides.Unlock()
	p.cache.unsubscribe(p.sub)
	p.cache.close()
	p.handle.Close()
}

// What a killed run left is found and kept, and the next run knows the settings before
// it.
func TestVirtualMACOfAKilledRun(t *testing.T) {
	ours := prefixes("10.0.0.88/32", "10.0.0.89/32")
	for _, again := range []bool{true, false} {
		inNamespace(t, func() {
			if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
				t.Fatal(err)
			}
			first := must(Open("eth0", IPv4, router51))
			more := append(prefixes("10.0.0.90/32"), ours...) // than the file has now
			must2(first.SetAddresses(more, more, false))
			killed(first)
			before := stationOf(t)

			p := must(Open("eth0", IPv4, Router{VRID: 51, MAC: again}))
			if again {
				if s := must(p.State(ours, netip.Addr{}, false)); !slices.Equal(s.Present, ours) {
					t.Errorf("%+v", s)
				}
				held, added, err := p.SetAddresses(ours, ours, false)
				if err != nil || len(added) > 0 || !slices.Equal(held, ours) || stationOf(t).Index != before.Index {
					t.Errorf("held %v, added %v, %v", held, added, err)
				}
				if on := addressesOf(t, stationOf(t), unix.AF_INET); len(on) != len(ours) || slices.Contains(on, "10.0.0.90/32") {
					t.Errorf("on the macvlan: %v", on)
				}
			} else {
				must2(p.SetAddresses(ours, nil, false)) // virtual_mac was taken out of the file
				if s := stationOf(t); s != nil || setting4(t, "eth0", arpIgnore) != 0 {
					t.Errorf("left: %v, arp_ignore %d", s, setting4(t, "eth0", arpIgnore))
				}
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if s := stationOf(t); s != nil || setting4(t, "eth0", arpIgnore) != 0 || setting4(t, "eth0", arpAnnounce) != 0 {
				t.Errorf("traces: %v, arp_ignore %d", s, setting4(t, "eth0", arpIgnore))
			}
		})
	}
}

// A run without a virtual MAC was killed, and the file has one now.
func TestVirtualMACAfterNone(t *testing.T) {
	inNamespace(t, func() {
		ours := prefixes("10.0.0.88/32")
		first := must(Open("eth0", IPv4, Router{VRID: 51}))
		must2(first.SetAddresses(ours, ours, false))
		killed(first)
		p := must(Open("eth0", IPv4, router51))
		defer p.Close()
		if s := must(p.State(ours, netip.Addr{}, false)); !slices.Equal(s.Present, ours) {
			t.Errorf("%+v", s)
		}
		must2(p.SetAddresses(ours, ours, false))
		if on := addressesOf(t, must(netlink.LinkByName("eth0")), unix.AF_INET); slices.Contains(on, "10.0.0.88/32") {
			t.Errorf("on eth0: %v", on)
		}
		if on := addressesOf(t, stationOf(t), unix.AF_INET); !slices.Equal(on, []string{"10.0.0.88/32"}) {
			t.Errorf("on the macvlan: %v", on)
		}
	})
}

// Another process takes the macvlan down, deletes it, or gives it another MAC address:
// it is noticed and restored.
func TestVirtualMACIsGuarded(t *testing.T) {
	for name, harm := range map[string]func(*netlink.Macvlan) error{
		"set down": func(s *netlink.Macvlan) error { return netlink.LinkSetDown(s) },
		"deleted":  func(s *netlink.Macvlan) error { return netlink.LinkDel(s) },
		"flushed": func(s *netlink.Macvlan) error {
			return netlink.AddrDel(s, address(prefixes("10.0.0.88/32")[0], netlink.SCOPE_HOST))
		},
		"another MAC": func(s *netlink.Macvlan) error { return netlink.LinkSetHardwareAddr(s, []byte{2, 0, 0, 0, 0, 9}) },
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t, func() {
				if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
					t.Fatal(err)
				}
				ours := prefixes("10.0.0.88/32")
				p := must(Open("eth0", IPv4, router51))
				defer p.Close()
				must2(p.SetAddresses(ours, ours, false))
				if err := harm(stationOf(t)); err != nil {
					t.Fatal(err)
				}
				if s := must(p.State(ours, netip.Addr{}, false)); len(s.Present) > 0 || !s.Exists {
					t.Errorf("not seen: %+v", s)
				}
				held, added, err := p.SetAddresses(ours, ours, false)
				if err != nil || !slices.Equal(held, ours) || !slices.Equal(added, ours) {
					t.Errorf("held %v, added %v, %v", held, added, err)
				}
				if s := stationOf(t); s == nil || !isUp(s) || !slices.Equal(s.HardwareAddr, VirtualMAC(IPv4, 51)) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// What prevents a virtual MAC from working is reported beforehand.
func TestVirtualMACIsRefused(t *testing.T) {
	inNamespace(t, func() {
		open := func(name, remedy string) {
			t.Helper()
			p, err := Open(name, IPv4, router51)
			if err == nil {
				_ = p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), remedy) {
				t.Errorf("%v, want %q", err, remedy)
			}
		}
		open("lo", "needs an Ethernet interface")
		if err := os.WriteFile(settingPath("all", "arp_filter"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
		open("eth0", "all.arp_filter = 1")
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(os.WriteFile(settingPath("all", "arp_filter"), []byte("0"), 0))
		check(os.WriteFile(settingPath("all", arpIgnore), []byte("2"), 0))
		open("eth0", "all.arp_ignore = 2")
		check(os.WriteFile(settingPath("all", arpIgnore), []byte("0"), 0))
		// Another program's interface of that name, and a port of a bridge.
		eth0 := must(netlink.LinkByName("eth0"))
		taken := netlink.NewLinkAttrs()
		taken.Name = (&Port{family: IPv4, router: router51}).vmacName(eth0.Attrs().Index)
		check(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: taken}))
		open("eth0", "of another program")
		bridge := must(netlink.LinkByName(taken.Name))
		check(netlink.LinkSetName(bridge, "br0"))
		check(netlink.LinkSetMaster(eth0, bridge))
		p := must(Open("eth0", IPv4, router51))
		defer p.Close()
		if _, _, err := p.SetAddresses(nil, nil, false); err == nil || !strings.Contains(err.Error(), "configure the bridge") {
			t.Errorf("%v", err)
		}
	})
}

// With ARP silenced the macvlan is down and the host still serves.
func TestVirtualMACQuiet(t *testing.T) {
	inNamespace(t, func() {
		ours := prefixes("10.0.0.88/32")
		p := must(Open("eth0", IPv4, router51))
		must2(p.SetAddresses(ours, ours, false))
		held, _, err := p.SetAddresses(ours, ours, true)
		if err != nil || !slices.Equal(held, ours) || isUp(stationOf(t)) {
			t.Errorf("%v, %v, up %v", held, err, isUp(stationOf(t)))
		}
		if on := addressesOf(t, must(netlink.LinkByName("lo")), unix.AF_INET); !slices.Contains(on, "10.0.0.88/32") {
			t.Errorf("lo has %v", on)
		}
		must2(p.SetAddresses(ours, nil, false))
		if setting4(t, "eth0", arpIgnore) != 1 {
			t.Error("the end of quiet took the setting of the virtual MAC")
		}
		_ = p.Close()
		if setting4(t, "eth0", arpIgnore) != 0 || stationOf(t) != nil {
			t.Error("traces")
		}
	})
}

// The interface is a macvlan itself: the kernel makes the router's one beside it.
func TestVirtualMACOnAMacvlan(t *testing.T) {
	inNamespace(t, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		eth0 := must(netlink.LinkByName("eth0"))
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = "mv0", eth0.Attrs().Index
		own := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
		if err := netlink.LinkAdd(own); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(own); err != nil {
			t.Fatal(err)
		}
		ours := prefixes("10.0.0.88/32")
		for range 2 { // the second finds what the first, which was killed, left
			p := must(Open("mv0", IPv4, router51))
			held, _, err := p.SetAddresses(ours, ours, false)
			if err != nil || !slices.Equal(held, ours) {
				t.Fatalf("%v, %v", held, err)
			}
			if s := must(p.State(ours, netip.Addr{}, false)); !slices.Equal(s.Present, ours) {
				t.Errorf("%+v", s)
			}
			killed(p)
		}
	})
}

// In a VRF the macvlan is in it too, also when the interface moves.
func TestVirtualMACInAVRF(t *testing.T) {
	inNamespace(t, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "red"
		red := &netlink.Vrf{LinkAttrs: attrs, Table: 10}
		if err := netlink.LinkAdd(red); err != nil {
			lab.Skip(t, fmt.Errorf("this kernel has no VRF: %w", err))
		}
		ours := prefixes("10.0.0.88/32")
		p := must(Open("eth0", IPv4, router51))
		defer p.Close()
		must2(p.SetAddresses(ours, ours, false))
		eth0 := must(netlink.LinkByName("eth0"))
		for _, in := range []int{must(netlink.LinkByName("red")).Attrs().Index, 0} {
			if err := netlink.LinkSetMasterByIndex(eth0, in); err != nil {
				t.Fatal(err)
			}
			if s := must(p.State(ours, netip.Addr{}, false)); len(s.Present) > 0 {
				t.Errorf("not seen: %+v", s)
			}
			if held, _, err := p.SetAddresses(ours, ours, false); err != nil || !slices.Equal(held, ours) {
				t.Errorf("%v, %v", held, err)
			}
			if s := must(p.State(ours, netip.Addr{}, false)); !slices.Equal(s.Present, ours) || stationOf(t).MasterIndex != in {
				t.Errorf("%+v, in %d", s, stationOf(t).MasterIndex)
			}
		}
	})
}

// The macvlan is deleted while its addresses are set: another one is made at once.
func TestVirtualMACDeletedMeanwhile(t *testing.T) {
	inNamespace(t, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		ours := prefixes("10.0.0.88/32")
		p := must(Open("eth0", IPv4, router51))
		defer p.Close()
		must2(p.SetAddresses(ours, ours, false))
		deleted := stationOf(t)
		if err := netlink.LinkDel(deleted); err != nil {
			t.Fatal(err)
		}
		must(p.State(ours, netip.Addr{}, false))
		p.cache.mu.Lock()
		p.cache.putLink(deleted) // its removal was not reported yet
		p.cache.mu.Unlock()
		held, added, err := p.SetAddresses(ours, ours, false)
		if err != nil || !slices.Equal(held, ours) || !slices.Equal(added, ours) {
			t.Errorf("held %v, added %v, %v", held, added, err)
		}
		if s := stationOf(t); s == nil || !isUp(s) {
			t.Errorf("%+v", s)
		}
	})
}
