package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLinkLocal: a link-local address is derived from the virtual router's MAC address,
// and a configured one is unique on its interface only.
func TestLinkLocal(t *testing.T) {
	c := load(t, `[[vrrp]]
name = "auto"
interface = "eth0"
virtual_router_id = 51
addresses = ["2001:db8::88"]
link_local = "auto"
[[vrrp]]
name = "inner"
interface = "eth0"
virtual_router_id = 52
addresses = ["fe80::1", "2001:db8::1"]
[[vrrp]]
name = "outer"
interface = "eth1"
virtual_router_id = 52
addresses = ["fe80::1", "2001:db8::2"]
`, "")
	want := []netip.Prefix{netip.MustParsePrefix("fe80::200:5eff:fe00:233/128"), netip.MustParsePrefix("2001:db8::88/128")}
	if d := cmp.Diff(want, c.Instances[0].Addresses, same...); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(c.Instances[1].Addresses[0], c.Instances[2].Addresses[0], same...); d != "" {
		t.Error(d)
	}
}

// Addresses may be on other interfaces, which may differ between the directors, and an
// instance may have none.
func TestAddressInterfaces(t *testing.T) {
	c := load(t, `[[director]]
name = "lb1"
[[director]]
name = "lb2"
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
addresses = ["10.0.0.88", { address = "10.1.0.88", interface = { lb1 = "eth1", lb2 = "ens4" } }]
excluded_addresses = [{ address = "10.1.0.89", interface = "eth0" }]
[[vrrp]]
name = "state"
interface = "eth0"
virtual_router_id = 52
priority = { lb1 = 200, lb2 = 100 }
addresses = []
`, "lb2")
	web, state := c.Instances[0], c.Instances[1]
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32"), netip.MustParsePrefix("10.1.0.88/32")}
	if d := cmp.Diff(want, web.Addresses, same...); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[netip.Addr]string{netip.MustParseAddr("10.1.0.88"): "ens4"}, web.Interfaces, same...); d != "" {
		t.Error(d)
	}
	if len(state.Addresses) != 0 {
		t.Errorf("%v", state.Addresses)
	}
}
