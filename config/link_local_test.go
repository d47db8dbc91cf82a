package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLinkLocal: a link-local address is made of the virtual router's MAC address, and
// one that is written is unique on its interface only.
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
