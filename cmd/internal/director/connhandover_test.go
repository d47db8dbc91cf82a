package director

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// herald is a SyncSender with two connections.
type herald struct {
	*journal
	mu     sync.Mutex
	rounds []bool // whether all were to be sent
	sent   []netip.AddrPort
	ways   []ipvs.Forward
}

func (h *herald) Send(_ context.Context, cfg ipvs.SyncConfig, all bool, choose func(ipvs.Connection) (ipvs.Forward, bool)) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add("tell %d", cfg.ID)
	h.rounds, h.sent, h.ways = append(h.rounds, all), nil, nil
	for _, virtual := range []string{"10.0.0.88:80", "10.0.0.99:80"} {
		c := ipvs.Connection{Protocol: "TCP", Virtual: netip.MustParseAddrPort(virtual), RealServer: server(1)}
		if way, ok := choose(c); ok {
			h.sent, h.ways = append(h.sent, c.Virtual), append(h.ways, way)
		}
	}
	return len(h.sent), nil
}

// A handover first sends the connections to the peer and then resigns; a master that
// leaves continues to send while it has the addresses, but not for those of which it
// stays master.
func TestConnectionsAreSentToThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.IPVS.Sync = &config.Sync{ID: 51}
		c.Instances[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}
		c.Instances = append(c.Instances, config.Instance{Name: "mail", Interface: "eth0", VRID: 52,
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.99/32")}})
		h := &herald{}
		r := newRig(t, c, func(p *Deps) { p.SyncSender = h })
		h.journal = r.journal
		r.table.read(kernelWith(5))
		r.Wake()
		time.Sleep(time.Second)
		r.engine(1).hand(time.Hour, netip.Addr{}) // master, and stays it
		r.engine(0).hand(600*time.Millisecond, netip.MustParseAddr("10.0.0.13"))
		r.take()
		if out, err := r.HandOver(t.Context(), Handover{Instance: "web", Force: true}); err != nil || out[0].Failed != "" {
			t.Fatalf("%+v, %v", out, err)
		}
		lines := r.take()
		if !slices.Equal(lines[:3], []string{"web@eth0 updated", "tell 51", "web@eth0 hands over"}) {
			t.Errorf("%q", lines)
		}
		if !h.rounds[0] || !slices.Equal(h.sent, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.88:80")}) || !slices.Equal(h.ways, []ipvs.Forward{ipvs.DirectRoute}) {
			t.Errorf("rounds %v, sent %v by %v", h.rounds, h.sent, h.ways)
		}
		// Preempted: it has the addresses for a while, and sends.
		r.engine(0).mu.Lock()
		r.engine(0).status = vrrp.Status{State: vrrp.Backup, HasVIPs: true}
		r.engine(0).mu.Unlock()
		h.rounds = nil
		r.StateChanged(vrrp.Master)
		time.Sleep(time.Second)
		r.engine(0).mu.Lock()
		r.engine(0).status.HasVIPs = false
		r.engine(0).mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(h.rounds); n < 15 || n > 21 || !h.rounds[0] || slices.Contains(h.rounds[1:], true) {
			t.Errorf("rounds %v", h.rounds)
		}
		r.stop()
	})
}

// guardKept is an RSTGuard that records.
type guardKept struct {
	mu  sync.Mutex
	now map[netip.AddrPort]struct{}
}

func (h *guardKept) Set(want map[netip.AddrPort]struct{}) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = maps.Clone(want)
	return nil
}

// A director that has just started may preempt within a second: it knows at once
// what not to reset.
func TestGuardFromTheFirstDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.IPVS.Sync = &config.Sync{ID: 51}
		c.Instances[0].Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}
		h := &guardKept{}
		r := newRig(t, c, func(p *Deps) { p.RSTGuard = h })
		time.Sleep(3*time.Second + time.Second/2) // of the bubble's time, as below: the kernel's table is read late
		r.table.read(kernelWith(5))
		r.Wake()
		time.Sleep(time.Second / 4)
		synctest.Wait()
		h.mu.Lock()
		if len(h.now) == 0 {
			t.Error("nothing is guarded yet")
		}
		h.mu.Unlock()
		r.stop()
	})
}
