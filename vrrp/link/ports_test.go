package link

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPortsPlaceAddresses(t *testing.T) {
	inNamespace(t, func() {
		all := prefixes("10.0.0.88/32", "10.1.0.88/32")
		first, second := all[0].Addr(), all[1].Addr()
		p := must(OpenPorts("eth0", IPv4, Router{}, map[netip.Addr]string{second: "eth1"}))
		defer p.Close()
		if s := must(p.State(all, netip.Addr{}, false)); s.Missing != "eth1" {
			t.Errorf("eth1 is missing: %+v", s)
		}
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth1"}, PeerName: "peer1"}
		if err := netlink.LinkAdd(veth); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(veth); err != nil {
			t.Fatal(err)
		}
		set := func(want []netip.Prefix) {
			t.Helper()
			held, _, err := p.SetAddresses(all, want, false)
			if err != nil || len(held) != len(want) {
				t.Fatalf("%v, %v", held, err)
			}
		}
		there := func(on map[string][]netip.Addr) {
			t.Helper()
			for name, want := range on {
				var have []netip.Addr
				for _, a := range must(netlink.AddrList(must(netlink.LinkByName(name)), netlink.FAMILY_V4)) {
					if ip, _ := netip.AddrFromSlice(a.IP); ip.Unmap() == first || ip.Unmap() == second {
						have = append(have, ip.Unmap())
					}
				}
				if !slices.Equal(have, want) {
					t.Errorf("%s has %v, not %v", name, have, want)
				}
			}
		}
		set(all)
		there(map[string][]netip.Addr{"eth0": {first}, "eth1": {second}})
		if s := must(p.State(all, netip.Addr{}, false)); s.Missing != "" || !slices.Equal(s.Present, all) || len(s.Elsewhere) > 0 {
			t.Errorf("%+v", s)
		}
		if n, err := p.Announce([]netip.Addr{first, second}); err != nil || n != 4 {
			t.Errorf("%d frames, %v", n, err)
		}
		p.SetInterfaces(map[netip.Addr]string{first: "eth1"})
		set(all)
		there(map[string][]netip.Addr{"eth0": {second}, "eth1": {first}})
		set(nil)
		there(map[string][]netip.Addr{"eth0": nil, "eth1": nil})
	})
}
