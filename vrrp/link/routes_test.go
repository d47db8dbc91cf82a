package link

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func extraRoutesOf(family Family) ExtraRoutes {
	if family == IPv6 {
		return ExtraRoutes{
			Routes: []Route{{To: netip.MustParsePrefix("2001:db8:9::/48"), Via: netip.MustParseAddr("fe80::1"), Interface: "eth0", Table: 100}},
			Rules:  []Rule{{From: netip.MustParsePrefix("2001:db8::100/128"), Table: 100, Priority: 1000}},
		}
	}
	return ExtraRoutes{
		Routes: []Route{
			{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.0.0.1"), Interface: "eth0", Source: netip.MustParseAddr("10.0.0.12"), Metric: 10},
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1"), Interface: "eth0", Table: 100},
			{To: netip.MustParsePrefix("10.8.0.0/24"), Interface: "eth0", Table: 1000},
		},
		Rules: []Rule{
			{From: netip.MustParsePrefix("10.0.0.88/32"), Table: 100, Priority: 1000},
			{To: netip.MustParsePrefix("10.8.0.0/24"), Mark: 1, Interface: "eth0", Table: 1000, Priority: 1001},
		},
	}
}

// marked counts the routes and rules with our mark.
func marked(family Family) (routes, rules int) {
	for _, r := range must(netlink.RouteListFiltered(int(family), &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)) {
		if r.Protocol == ourProtocol {
			routes++
		}
	}
	for _, r := range must(netlink.RuleList(int(family))) {
		if r.Protocol == ourProtocol {
			rules++
		}
	}
	return routes, rules
}

func withPort(t *testing.T, family Family, body func(*Port)) {
	t.Helper()
	inNamespace(t, func() {
		if err := netlink.LinkSetUp(must(netlink.LinkByName("peer0"))); err != nil {
			t.Fatal(err)
		}
		p := must(Open("eth0", family, Router{}))
		defer p.Close()
		body(p)
	})
}

func TestMove(t *testing.T) {
	for _, family := range []Family{IPv4, IPv6} {
		withPort(t, family, func(p *Port) {
			a := extraRoutesOf(family)
			for range 2 {
				if restored, err := p.SetRoutes(a, true); err != nil || len(restored) > 0 {
					t.Fatalf("%v, %v", restored, err)
				}
			}
			if routes, rules := marked(family); routes != len(a.Routes) || rules != len(a.Rules) {
				t.Errorf("%d routes, %d rules", routes, rules)
			}
			// Another configuration: what it no longer has is removed.
			fewer := ExtraRoutes{Routes: a.Routes[:1]}
			if restored, err := p.SetRoutes(fewer, true); err != nil || len(restored) > 0 {
				t.Errorf("%v, %v", restored, err)
			}
			if routes, rules := marked(family); routes != 1 || rules != 0 {
				t.Errorf("%d routes, %d rules of one", routes, rules)
			}
			for range 2 {
				if _, err := p.SetRoutes(a, false); err != nil {
					t.Error(err)
				}
			}
			if routes, rules := marked(family); routes != 0 || rules != 0 {
				t.Errorf("%d routes, %d rules are left", routes, rules)
			}
		})
	}
}

// What another process removes is restored and reported, each once.
func TestMoveIsGuarded(t *testing.T) {
	for _, family := range []Family{IPv4, IPv6} {
		withPort(t, family, func(p *Port) {
			a := extraRoutesOf(family)
			if _, err := p.SetRoutes(a, true); err != nil {
				t.Fatal(err)
			}
			if err := p.handle.RouteDel(must(p.route(a.Routes[0]))); err != nil {
				t.Fatal(err)
			}
			if err := p.handle.RuleDel(p.rule(a.Rules[0])); err != nil {
				t.Fatal(err)
			}
			want := []string{a.Routes[0].String(), a.Rules[0].String()}
			if restored, err := p.SetRoutes(a, true); err != nil || !slices.Equal(restored, want) {
				t.Errorf("%q, %v", restored, err)
			}
			if restored, err := p.SetRoutes(a, true); err != nil || len(restored) > 0 {
				t.Errorf("again %q, %v", restored, err)
			}
			// Another process's route replaces ours.
			theirs := must(p.route(a.Routes[0]))
			theirs.Protocol = unix.RTPROT_STATIC
			if err := p.handle.RouteReplace(theirs); err != nil {
				t.Fatal(err)
			}
			if restored, err := p.SetRoutes(a, true); err != nil || !slices.Equal(restored, want[:1]) {
				t.Errorf("replaced: %q, %v", restored, err)
			}
			if restored, err := p.SetRoutes(a, true); err != nil || len(restored) > 0 {
				t.Errorf("again %q, %v", restored, err)
			}
			if routes, _ := marked(family); routes != len(a.Routes) {
				t.Errorf("%d routes of ours", routes)
			}
			// With the link down the kernel removes the routes without a notification.
			eth0 := must(netlink.LinkByName("eth0"))
			if err := netlink.LinkSetDown(eth0); err != nil {
				t.Fatal(err)
			}
			if _, err := p.SetRoutes(a, true); err == nil {
				t.Error("routes on an interface that is down")
			}
			if err := netlink.LinkSetUp(eth0); err != nil {
				t.Fatal(err)
			}
			if family == IPv4 { // IPv6 addresses are removed with the link
				if restored, err := p.SetRoutes(a, true); err != nil || len(restored) != len(a.Routes) {
					t.Errorf("%q, %v", restored, err)
				}
			}
		})
	}
}

// Another process's route to the same destination is neither replaced nor removed; what
// a killed run left is adopted.
func TestMoveLeavesOthers(t *testing.T) {
	withPort(t, IPv4, func(p *Port) {
		a := extraRoutesOf(IPv4)
		theirs := must(p.route(a.Routes[0]))
		theirs.Protocol = unix.RTPROT_STATIC
		if err := netlink.RouteAdd(theirs); err != nil {
			t.Fatal(err)
		}
		if _, err := p.SetRoutes(a, true); err == nil || !strings.Contains(err.Error(), "another process has") {
			t.Errorf("%v", err)
		}
		if _, err := p.SetRoutes(a, false); err != nil {
			t.Error(err)
		}
		if all := must(netlink.RouteListFiltered(unix.AF_INET, theirs, netlink.RT_FILTER_DST)); len(all) != 1 || all[0].Protocol != unix.RTPROT_STATIC {
			t.Errorf("%v", all)
		}
		if err := netlink.RouteDel(theirs); err != nil {
			t.Fatal(err)
		}
		if _, err := p.SetRoutes(a, true); err != nil {
			t.Fatal(err)
		}
		next := must(Open("eth0", IPv4, Router{})) // the first is not asked any more
		defer next.Close()
		if restored, err := next.SetRoutes(a, true); err != nil || len(restored) > 0 {
			t.Errorf("%q, %v", restored, err)
		}
		if _, err := next.SetRoutes(a, false); err != nil {
			t.Error(err)
		}
		if routes, rules := marked(IPv4); routes != 0 || rules != 0 {
			t.Errorf("%d routes, %d rules are left", routes, rules)
		}
	})
}
