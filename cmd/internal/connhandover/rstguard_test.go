package connhandover

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"lvsd/ipvs"
	"lvsd/vrrp"
)

func TestGuarded(t *testing.T) {
	now := time.Unix(1000, 0)
	tcp := func(a string) ipvs.ServiceKey {
		return ipvs.ServiceKey{Protocol: ipvs.TCP, Address: netip.MustParseAddrPort(a)}
	}
	udp := tcp("10.0.0.88:53")
	udp.Protocol = ipvs.UDP
	table := ipvs.Table{
		tcp("10.0.0.88:80"): {Destinations: map[netip.AddrPort]ipvs.Destination{server(1): {Forward: ipvs.DirectRoute}, server(2): {Forward: ipvs.Tunnel}}},
		tcp("10.0.0.88:0"):  {}, tcp("10.0.0.99:80"): {}, udp: {}, {Mark: 7}: {},
		tcp("10.0.0.88:25"): {Destinations: map[netip.AddrPort]ipvs.Destination{server(1): {}, netip.MustParseAddrPort("127.0.0.1:80"): {Forward: ipvs.Local}}},
		tcp("10.0.0.88:21"): {Destinations: map[netip.AddrPort]ipvs.Destination{server(1): {Forward: ipvs.NAT}}},
	}
	held := []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}
	for name, c := range map[string]struct {
		state  vrrp.State
		reason string
		age    time.Duration
		want   bool
	}{
		"backup":                {vrrp.Backup, vrrp.ReasonStart, time.Hour, true},
		"fault":                 {vrrp.Fault, vrrp.ReasonLinkDown, time.Hour, true},
		"the master resigned":   {vrrp.Master, vrrp.ReasonResigned, time.Second, true},
		"preempted":             {vrrp.Master, vrrp.ReasonPreempt, 0, true},
		"preempted long ago":    {vrrp.Master, vrrp.ReasonPreempt, guardedFor, false},
		"the master died":       {vrrp.Master, vrrp.ReasonSilence, 0, false},
		"it followed its group": {vrrp.Master, vrrp.ReasonGroup, 0, true},
	} {
		got := map[netip.AddrPort]struct{}{}
		addGuarded(now, table, vrrp.Status{State: c.state, Reason: c.reason, Since: now.Add(-c.age)}, held, got)
		want := map[netip.AddrPort]struct{}{}
		if c.want {
			want[netip.MustParseAddrPort("10.0.0.88:80")] = struct{}{}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
