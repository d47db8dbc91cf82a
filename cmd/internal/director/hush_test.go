package director

import (
	"maps"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

func TestHushed(t *testing.T) {
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
		"preempted long ago":    {vrrp.Master, vrrp.ReasonPreempt, hushFor, false},
		"the master died":       {vrrp.Master, vrrp.ReasonSilence, 0, false},
		"it followed its group": {vrrp.Master, vrrp.ReasonGroup, 0, true},
	} {
		got := map[netip.AddrPort]struct{}{}
		hushed(now, table, vrrp.Status{State: c.state, Reason: c.reason, Since: now.Add(-c.age)}, held, got)
		want := map[netip.AddrPort]struct{}{}
		if c.want {
			want[netip.MustParseAddrPort("10.0.0.88:80")] = struct{}{}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// hushKept is a Hush that remembers.
type hushKept struct {
	mu  sync.Mutex
	now map[netip.AddrPort]struct{}
}

func (h *hushKept) Set(want map[netip.AddrPort]struct{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = maps.Clone(want)
	return nil
}

// A director that has just started may preempt within a second: it knows at once
// what not to reset.
func TestHushedFromTheFirstDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.IPVS.Sync = &config.Sync{ID: 51}
		c.Instances[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}
		h := &hushKept{}
		r := newRig(t, c, func(p *Deps) { p.RSTGuard = h })
		time.Sleep(3*hushEvery + hushEvery/2) // of the bubble's time, as below: the kernel's table is read late
		r.table.read(kernelWith(5))
		r.Wake()
		time.Sleep(hushEvery / 4)
		synctest.Wait()
		h.mu.Lock()
		if len(h.now) == 0 {
			t.Error("nothing is hushed yet")
		}
		h.mu.Unlock()
		r.stop()
	})
}
