package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// TestAnnounce: defaults, what services means, and values of one director.
func TestAnnounce(t *testing.T) {
	text := func(keys string) []byte {
		return fmt.Appendf(nil, `
[[director]]
name = "lb1"
[[director]]
name = "lb2"
[[announce]]
name = "any"
addresses = ["192.0.2.80", "2001:db8::80"]
%s
[[virtual_service]]
name = "web"
address = "192.0.2.80:80"
[[virtual_service]]
name = "other"
address = "192.0.2.81:80"
[[virtual_service]]
name = "web6"
address = "[2001:db8::80]:80"
`, keys)
	}
	want := Announce{Name: "any", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("2001:db8::80")}, Table: 112,
		Serving: 100, Draining: 4000, Services: []string{"web", "web6"}, HoldStart: 5 * time.Second, SyncHold: time.Minute, WithdrawWait: 3 * time.Second}
	for _, c := range []struct {
		keys   string
		change func(*Announce)
	}{
		{"", func(*Announce) {}},
		{`services = "all"`, func(a *Announce) { a.All = true }},
		{`services = ["web6", "other"]`, func(a *Announce) { a.All, a.Services = true, []string{"other", "web6"} }},
		{"table = 5000\nmetric = { serving = 1 }\nfault = true", func(a *Announce) { a.Table, a.Serving, a.Fault = 5000, 1, true }},
		{`hold_start = { lb1 = "1m", lb2 = "0s" }` + "\nwithdraw_wait = \"0s\"\nsync_hold = \"0s\"", func(a *Announce) { a.HoldStart, a.WithdrawWait, a.SyncHold = time.Minute, 0, 0 }},
	} {
		f, err := Parse("f", text(c.keys))
		if err != nil {
			t.Errorf("%s: %v", c.keys, err)
			continue
		}
		lb1, err := f.For("lb1")
		if err != nil {
			t.Fatal(err)
		}
		wanted := want
		c.change(&wanted)
		got := lb1.Announces[0]
		got.Position = Position{}
		if len(lb1.Announces) != 1 || !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s:\n%+v, want\n%+v", c.keys, got, wanted)
		}
	}
}
