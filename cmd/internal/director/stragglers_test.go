package director

import (
	"context"
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

// herald is a SyncSender that asks about two connections.
type herald struct {
	*journal
	mu     sync.Mutex
	rounds []bool // whether all were to be told
	told   []netip.AddrPort
	ways   []ipvs.Forward
}

func (h *herald) Send(_ context.Context, cfg ipvs.SyncConfig, all bool, choose func(ipvs.Connection) (ipvs.Forward, bool)) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.add("tell %d", cfg.ID)
	h.rounds, h.told, h.ways = append(h.rounds, all), nil, nil
	for _, virtual := range []string{"10.0.0.88:80", "10.0.0.99:80"} {
		c := ipvs.Connection{Protocol: "TCP", Virtual: netip.MustParseAddrPort(virtual), RealServer: server(1)}
		if way, ok := choose(c); ok {
			h.told, h.ways = append(h.told, c.Virtual), append(h.ways, way)
		}
	}
	return len(h.told), nil
}

// A handover tells the peer first and resigns then; a master that leaves goes on
// telling while it holds the addresses, and never of those of which it stays master.
func TestThePeerIsTold(t *testing.T) {
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
		if !h.rounds[0] || !slices.Equal(h.told, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.88:80")}) || !slices.Equal(h.ways, []ipvs.Forward{ipvs.DirectRoute}) {
			t.Errorf("rounds %v, told %v by %v", h.rounds, h.told, h.ways)
		}
		// Preempted: it holds the addresses for a while, and tells.
		r.engine(0).mu.Lock()
		r.engine(0).status = vrrp.Status{State: vrrp.Backup, Holding: true}
		r.engine(0).mu.Unlock()
		h.rounds = nil
		r.VIPsMoved(vrrp.Master)
		time.Sleep(time.Second)
		r.engine(0).mu.Lock()
		r.engine(0).status.Holding = false
		r.engine(0).mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(h.rounds); n < 15 || n > 21 || !h.rounds[0] || slices.Contains(h.rounds[1:], true) {
			t.Errorf("rounds %v", h.rounds)
		}
		r.stop()
	})
}

func TestWays(t *testing.T) {
	to := func(way ipvs.Forward, servers ...netip.AddrPort) ipvs.Service {
		svc := ipvs.Service{Destinations: map[netip.AddrPort]ipvs.Destination{}}
		for _, s := range servers {
			svc.Destinations[s] = ipvs.Destination{Address: s, Forward: way}
		}
		return svc
	}
	port := func(i uint16) netip.AddrPort { return netip.AddrPortFrom(server(1).Addr(), i) }
	key := func(p ipvs.Protocol, a string) ipvs.ServiceKey {
		return ipvs.ServiceKey{Protocol: p, Address: netip.MustParseAddrPort(a)}
	}
	ways := waysOf(ipvs.Table{
		key(ipvs.TCP, "10.0.0.88:80"): to(ipvs.Tunnel, port(80)),
		key(ipvs.TCP, "10.0.0.88:0"):  to(ipvs.DirectRoute, port(0)),
		key(ipvs.UDP, "10.0.0.88:80"): to(ipvs.NAT, port(80)),
		{Mark: 1}:                     to(ipvs.Tunnel, server(2), server(3)),
		{Mark: 2}:                     to(ipvs.DirectRoute, server(3)),
	})
	for name, c := range map[string]struct {
		protocol, virtual string
		server            netip.AddrPort
		way               ipvs.Forward
		known             bool
	}{
		"its own service":            {"TCP", "10.0.0.88:80", port(80), ipvs.Tunnel, true},
		"the same server for udp":    {"UDP", "10.0.0.88:80", port(80), ipvs.NAT, true},
		"the service of all ports":   {"TCP", "10.0.0.88:25", port(25), ipvs.DirectRoute, true},
		"that, not its own":          {"TCP", "10.0.0.88:80", port(25), 0, false},
		"a mark":                     {"TCP", "10.0.0.99:25", server(2), ipvs.Tunnel, true},
		"two marks, and two ways":    {"TCP", "10.0.0.99:25", server(3), 0, false},
		"nobody's":                   {"TCP", "10.0.0.99:25", server(4), 0, false},
		"of a protocol that is none": {"IP", "10.0.0.99:25", server(2), 0, false},
	} {
		way, known := ways.of(ipvs.Connection{Protocol: c.protocol, Virtual: netip.MustParseAddrPort(c.virtual), RealServer: c.server})
		if way != c.way || known != c.known {
			t.Errorf("%s: %v, %v", name, way, known)
		}
	}
}
