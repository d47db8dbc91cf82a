package config

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPair: where a director listens, which peers it asks, and which key it uses.
func TestPair(t *testing.T) {
	text := read(t, "testdata/good-exchange.toml")
	for director, want := range map[string]*Exchange{
		"lb1": {Listen: ":8113", KeyFile: "/etc/lvsd/vrrp.key", Address: addr("10.0.0.12"),
			Peers: []Peer{{"lb2", addrPort("10.0.0.13:9000")}, {"lb3", netip.AddrPortFrom(addr("2001:db8::14"), 8113)}}},
		"lb2": {Listen: "10.0.0.13:9000", KeyFile: "/etc/lvsd/vrrp.key", Address: addr("10.0.0.13"),
			Peers: []Peer{{"lb1", addrPort("10.0.0.12:8113")}, {"lb3", netip.AddrPortFrom(addr("2001:db8::14"), 8113)}}},
		"lb3": {Listen: "[::]:8113", KeyFile: "/etc/lvsd/other.key", Address: addr("2001:db8::14"),
			Peers: []Peer{{"lb1", addrPort("10.0.0.12:8113")}, {"lb2", addrPort("10.0.0.13:9000")}}},
	} {
		if d := cmp.Diff(want, load(t, text, director).Exchange, same...); d != "" {
			t.Errorf("%s:\n%s", director, d)
		}
	}
	if p := load(t, read(t, "testdata/good-pair.toml"), "lb1").Exchange; p != nil {
		t.Errorf("%+v", p)
	}
}
