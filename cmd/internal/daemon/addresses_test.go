package daemon

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

func TestAbandoned(t *testing.T) {
	p := netip.MustParsePrefix
	way := config.Route{To: p("10.9.0.0/16"), Interface: "eth0"}
	rule := config.Rule{From: p("10.0.0.88/32"), Table: 100, Priority: 1000}
	election := func(name, iface string, vrid uint8, addresses ...string) persist.Instance {
		e := persist.Instance{Name: name, Interface: iface, VRID: vrid}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, p(a))
		}
		return e
	}
	along := func(e persist.Instance) persist.Instance {
		e.Routes, e.Rules = []config.Route{way}, []config.Rule{rule}
		return e
	}
	next := []persist.Instance{election("web", "eth0", 51, "10.0.0.88/32"), along(election("mail", "eth1", 52, "10.0.0.99/32"))}
	for name, c := range map[string]struct{ last, want []persist.Instance }{
		"nothing":                {nil, nil},
		"the same":               {next, nil},
		"another election":       {[]persist.Instance{election("old", "eth0", 60, "10.0.0.60/32")}, []persist.Instance{election("old", "eth0", 60, "10.0.0.60/32")}},
		"renamed":                {[]persist.Instance{election("shop", "eth0", 60, "10.0.0.88/32")}, nil},
		"an address fewer":       {[]persist.Instance{election("web", "eth0", 51, "10.0.0.88/32", "10.0.0.89/32")}, []persist.Instance{election("web", "eth0", 0, "10.0.0.89/32")}},
		"the address moved":      {[]persist.Instance{election("web", "eth2", 51, "10.0.0.88/32")}, []persist.Instance{election("web", "eth2", 51, "10.0.0.88/32")}},
		"its routes are others'": {[]persist.Instance{along(election("web", "eth0", 51, "10.0.0.88/32"))}, nil},
	} {
		if d := cmp.Diff(c.want, abandoned(c.last, next), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}
