package server

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/peers"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// draining is a view whose one server of weight 0 drains, on a director that
// holds the service's address.
func draining() director.View {
	v := healthy()
	rs := &v.Decision.Services[0].Servers[0]
	rs.Configured, rs.Weight = 0, 0
	rs.Causes = []decision.Cause{{Kind: decision.CauseDrain, Text: "drained: weight 0 in the file, line 9", Since: time.Unix(900, 0)}}
	v.Instances[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}
	setKernel(&v, 0, 0, 0, 0)
	return v
}

// setKernel sets what the kernel has of the server.
func setKernel(v *director.View, weight int, active, inactive, persistent uint32) {
	key := v.Decision.Services[0].Key
	address := v.Decision.Services[0].Servers[0].Address
	v.Kernel.Table[key].Destinations[address] = ipvs.Destination{Address: address, Weight: weight}
	v.Kernel.Stats[key].Destinations[address] = ipvs.DestinationStats{Active: active, Inactive: inactive, Persistent: persistent}
}

// udp makes the service one of udp.
func udp(v *director.View) {
	p := &v.Decision.Services[0]
	was := p.Key
	p.Key.Protocol = ipvs.UDP
	v.Kernel.Table[p.Key], v.Kernel.Stats[p.Key] = v.Kernel.Table[was], v.Kernel.Stats[was]
}

func TestDrainProgress(t *testing.T) {
	zero := 0
	peer := func(d peers.Drain) []api.PeerDrain { return []api.PeerDrain{{Director: "lb2", Drain: &d}} }
	for name, c := range map[string]struct {
		harm  func(*director.View)
		peers []api.PeerDrain
		all   bool
		// waits is what it waits for; unknown who does not say; "": drained.
		waits, unknown string
		left           int
	}{
		"drained":                               {},
		"an open connection":                    {harm: func(v *director.View) { setKernel(v, 0, 3, 0, 0) }, waits: "lb1 has 3 active connections", left: 3},
		"a closed one":                          {harm: func(v *director.View) { setKernel(v, 0, 0, 1, 0) }},
		"a closed one with --all":               {harm: func(v *director.View) { setKernel(v, 0, 0, 1, 0) }, all: true, waits: "lb1 has 1 connection that is not established", left: 1},
		"a template":                            {harm: func(v *director.View) { setKernel(v, 0, 1, 0, 1) }, waits: "lb1 has 1 active connection; lb1 has 1 template of a persistent client", left: 2},
		"a udp flow":                            {harm: func(v *director.View) { udp(v); setKernel(v, 0, 0, 2, 0) }, waits: "lb1 has 2 flows", left: 2},
		"the kernel does not follow":            {harm: func(v *director.View) { setKernel(v, 3, 0, 0, 0) }, waits: "the kernel of lb1 still has weight 3"},
		"the peer would use it":                 {peers: peer(peers.Drain{Found: true, Configured: 5, Desired: 5}), waits: "lb2 would use it: weight 5 in its file"},
		"the peer says nothing":                 {peers: []api.PeerDrain{{Director: "lb2", Error: "no answer"}}, unknown: "lb2 does not report its state of the server: no answer"},
		"the peer does not have it":             {peers: peer(peers.Drain{})},
		"the peer was asked about a connection": {peers: peer(peers.Drain{Found: true, Draining: true, Weight: &zero, Active: 7})},
		"the peer holds the address": {harm: func(v *director.View) { v.Instances[0].State, v.Instances[0].HasVIPs = vrrp.Backup, false },
			peers: peer(peers.Drain{Found: true, Draining: true, Weight: &zero, Active: 7, Persistent: 2}), waits: "lb2 has 7 active connections; lb2 has 2 templates of persistent clients", left: 9},
	} {
		v := draining()
		if c.harm != nil {
			c.harm(&v)
		}
		got, err := api.DrainProgress(statusOf(v, "1", time.Unix(1, 0)), c.peers, "web", "10.0.0.9:80", c.all, api.Drained{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if waits := strings.Join(got.WaitReasons, "; "); !strings.HasPrefix(waits, c.waits) || (waits == "") != (c.waits == "") || got.Drained != (c.waits == "") || got.Remaining != c.left {
			t.Errorf("%s: %+v, want %q with %d left", name, got, c.waits, c.left)
		}
		if unknown := strings.Join(got.Unknown, "; "); unknown != c.unknown {
			t.Errorf("%s: unknown %q", name, unknown)
		}
		if !got.Since.Equal(time.Unix(900, 0)) {
			t.Errorf("%s: since %v", name, got.Since)
		}
	}
}

func TestDrainsThatAreRefused(t *testing.T) {
	down := healthy()
	rs := &down.Decision.Services[0].Servers[0]
	rs.State, rs.Weight = checker.Down, 0
	rs.Causes = append(rs.Causes, decision.Cause{Kind: decision.CauseHealth, Text: "http refused, 3 of 3"})
	for _, c := range []struct {
		v                   director.View
		service, real, want string
	}{
		{draining(), "wbe", "10.0.0.9:80", "there are: web"},
		{draining(), "web", "10.0.0.10:80", "has no real server 10.0.0.10:80"},
		{healthy(), "web", "10.0.0.9:80", "not draining (weight 3 in the file, line 9): run lvsd drain web 10.0.0.9:80 on both directors"},
		{down, "web", "10.0.0.9:80", "not draining (http refused, 3 of 3)"},
	} {
		if got, err := api.DrainProgress(statusOf(c.v, "1", time.Unix(1, 0)), nil, c.service, c.real, false, api.Drained{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v, %+v", c.want, err, got)
		}
	}
}

// TestDrainOfAServerThatLeftTheFile ends when the kernel no longer has it.
func TestDrainOfAServerThatLeftTheFile(t *testing.T) {
	v := healthy()
	gone := netip.MustParseAddrPort("10.0.0.10:80")
	v.Kernel.Draining = []ipvs.Draining{{Entry: ipvs.Entry{Service: v.Decision.Services[0].Key, RealServer: gone}, Since: time.Unix(5, 0), Connections: 4, Counted: true}}
	first, err := api.DrainProgress(statusOf(v, "1", time.Unix(1, 0)), nil, "web", gone.String(), false, api.Drained{})
	if err != nil || first.Drained || first.Remaining != 4 {
		t.Fatalf("%+v, %v", first, err)
	}
	v.Kernel.Draining = nil
	if last, err := api.DrainProgress(statusOf(v, "1", time.Unix(1, 0)), nil, "web", gone.String(), false, first); err != nil || !last.Drained {
		t.Errorf("%+v, %v", last, err)
	}
}
