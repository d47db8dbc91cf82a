package realserver

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// fake is a kernel in a map. After a number of writes the power fails, before the next
// one or right after it.
type fake struct {
	values map[string]string
	writes int
	after  int // -1: never
	late   bool
}

var errOut = errors.New("the power went out")

func (f *fake) key(n need) string { return string(n.Kind) + " " + n.Key }

func (f *fake) Read(n need) (string, error) { return f.values[f.key(n)], nil }

func (f *fake) Write(n need, value string) error {
	out := f.writes == f.after
	if out && !f.late {
		panic(errOut)
	}
	f.writes++
	if f.values[f.key(n)] = value; value == "" {
		delete(f.values, f.key(n))
	}
	if out {
		panic(errOut)
	}
	return nil
}

func (f *fake) Holders(a netip.Addr) ([]string, error) {
	var all []string
	for k := range f.values {
		if parts := strings.Fields(k); parts[0] == string(kindAddress) && strings.HasPrefix(parts[2], a.String()+"/") {
			all = append(all, parts[1])
		}
	}
	return all, nil
}

// newFake is a host as an installer leaves it.
func newFake() *fake {
	f := &fake{values: map[string]string{"link lo": "up", "link tunl0": "down", "link gre0": "down", "link ip6tnl0": "down", "link ip6gre0": "down"}, after: -1}
	for _, s := range []string{"all.arp_ignore", "all.arp_announce", "tunl0.rp_filter", "gre0.rp_filter", "lvsdgre.rp_filter"} {
		f.values["sysctl net.ipv4.conf."+s] = "0"
	}
	return f
}

// until runs f and reports whether the power failed.
func until(f func() error) (out bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			out = true
		}
	}()
	return false, f()
}

var specs = []Spec{
	{VIP: netip.MustParseAddr("10.0.0.88"), Forward: "dr"},
	{VIP: netip.MustParseAddr("10.0.0.89"), Forward: "tun"},
	{VIP: netip.MustParseAddr("10.0.0.90"), Forward: "tun", Type: "gue"},
	{VIP: netip.MustParseAddr("10.0.0.91"), Forward: "tun", Type: "gre"},
	{VIP: netip.MustParseAddr("10.0.0.92"), Forward: "tun", Type: "gre", Checksum: true, Local: netip.MustParseAddr("10.0.0.9")},
	{VIP: netip.MustParseAddr("2001:db8::88"), Forward: "dr"},
	{VIP: netip.MustParseAddr("2001:db8::89"), Forward: "tun", Type: "gue", Port: 7000},
}

// TestRestores: whatever was set up, in whatever order it is undone, and at whatever
// write the power fails, in the end everything is as it was found.
func TestRestores(t *testing.T) {
	for i := range specs {
		if err := specs[i].Check(); err != nil {
			t.Fatal(err)
		}
	}
	for first := range specs {
		for _, second := range []int{first, (first + 1) % len(specs)} {
			for outage := -1; outage < 40; outage++ {
				found := newFake()
				k := newFake()
				h := &Host{t.TempDir(), k, func(string) {}}
				name := fmt.Sprintf("%s, %s, outage %d", specs[first].VIP, specs[second].VIP, outage)
				k.after, k.late = outage/2, outage%2 == 1
				if outage < 0 {
					k.after = -1
				}
				steps := []func() error{
					func() error { return h.Up(specs[first]) },
					func() error { return h.Up(specs[second]) },
					func() error { return h.Up(specs[first]) }, // again
					func() error { return h.Down(specs[first].VIP) },
					func() error { return h.Down(specs[second].VIP) },
					func() error { return h.Down(specs[first].VIP) },
				}
				for i, step := range steps {
					out, err := until(step)
					if out { // the power returns, and the command is repeated
						k.after = -1
						_, err = until(step)
					}
					if err != nil {
						t.Fatalf("%s: step %d: %v", name, i, err)
					}
					if all, err := h.Status(nil); err != nil || slices.ContainsFunc(all, func(s State) bool { return !s.Up }) {
						t.Fatalf("%s: step %d: %+v, %v", name, i, all, err)
					}
				}
				if !maps.Equal(k.values, found.values) {
					t.Fatalf("%s: left\n%v\nfound\n%v", name, k.values, found.values)
				}
				if left, err := h.Addresses(); err != nil || len(left) > 0 {
					t.Fatalf("%s: %v, %v", name, left, err)
				}
			}
		}
	}
}

// TestOthers: what another program changed meanwhile, or had before, is not changed.
func TestOthers(t *testing.T) {
	k := newFake()
	h := &Host{t.TempDir(), k, func(string) {}}
	k.values["sysctl net.ipv4.conf.all.arp_announce"] = "2"
	k.values["sysctl net.ipv4.conf.all.arp_ignore"] = "0"
	k.values["address lo 10.0.0.88/32"] = "there"
	if err := h.Up(specs[0]); err != nil {
		t.Fatal(err)
	}
	k.values["sysctl net.ipv4.conf.all.arp_ignore"] = "3"
	if err := h.Down(specs[0].VIP); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"sysctl net.ipv4.conf.all.arp_announce": "2", "sysctl net.ipv4.conf.all.arp_ignore": "3", "address lo 10.0.0.88/32": "there"} {
		if k.values[key] != want {
			t.Errorf("%s: %s, want %s", key, k.values[key], want)
		}
	}
}

// TestConflicts: an address is not brought up twice in different ways, nor
// where it would answer ARP.
func TestConflicts(t *testing.T) {
	k := newFake()
	h := &Host{t.TempDir(), k, func(string) {}}
	if err := h.Up(specs[0]); err != nil {
		t.Fatal(err)
	}
	other := Spec{VIP: specs[0].VIP, Forward: "tun"}
	if err := other.Check(); err != nil {
		t.Fatal(err)
	}
	if err := h.Up(other); err == nil || !strings.Contains(err.Error(), "is already up as dr: run lvsd realserver down") {
		t.Error(err)
	}
	k.values["address eth0 10.0.0.89/24"] = "there"
	if err := h.Up(specs[1]); err == nil || !strings.Contains(err.Error(), "is already on eth0") {
		t.Error(err)
	}
}

// TestUsage: invalid specs.
func TestUsage(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.88"), netip.MustParseAddr("2001:db8::1")
	for _, w := range []Spec{
		{}, {VIP: netip.MustParseAddr("127.0.0.1"), Forward: "dr"}, {VIP: netip.MustParseAddr("224.0.0.1"), Forward: "dr"},
		{VIP: v4, Forward: "nat"}, {VIP: v4, Forward: "dr", Type: "gre"}, {VIP: v4, Forward: "dr", Port: 1},
		{VIP: v4, Forward: "tun", Type: "vxlan"}, {VIP: v4, Forward: "tun", Port: 6080}, {VIP: v4, Forward: "tun", Type: "gue", Checksum: true},
		{VIP: v4, Forward: "tun", Type: "gre", Checksum: true}, {VIP: v4, Forward: "tun", Type: "gre", Checksum: true, Local: v6},
		{VIP: v4, Forward: "tun", Type: "gre", Local: v4},
	} {
		if err := w.Check(); err == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
}
