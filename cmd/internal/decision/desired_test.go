package decision

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

func TestWantedByMark(t *testing.T) {
	for _, six := range []bool{false, true} {
		got := DesiredService(config.Service{Name: "m", FWMark: 7, IPv6: six, Scheduler: "rr", OnePacket: true, PersistenceEngine: "sip"})
		if got.Key != (ipvs.ServiceKey{Mark: 7, IPv6: six}) || got.Flags != ipvs.OnePacket || got.Engine != "sip" {
			t.Errorf("%+v", got)
		}
	}
	// The family of an address follows from the address and is not part of the key.
	if k := ServiceKey(config.Service{Address: netip.MustParseAddrPort("[2001:db8::1]:80"), IPv6: true, Protocol: "sctp"}); k.IPv6 || k.Protocol != ipvs.SCTP {
		t.Errorf("%+v", k)
	}
}

// TestWantedTunnels covers every setting of a tunnel.
func TestWantedTunnels(t *testing.T) {
	for _, c := range []struct {
		t    config.Tunnel
		want ipvs.Encap
	}{
		{config.Tunnel{}, ipvs.Encap{}},
		{config.Tunnel{Type: "ipip", Checksum: "none"}, ipvs.Encap{}},
		{config.Tunnel{Type: "gre", Checksum: "none"}, ipvs.Encap{Type: ipvs.GRE}},
		{config.Tunnel{Type: "gre", Checksum: "csum"}, ipvs.Encap{Type: ipvs.GRE, Flags: ipvs.EncapChecksum}},
		{config.Tunnel{Type: "gue", Port: 6080, Checksum: "none"}, ipvs.Encap{Type: ipvs.GUE, Port: 6080}},
		{config.Tunnel{Type: "gue", Port: 6080, Checksum: "csum"}, ipvs.Encap{Type: ipvs.GUE, Port: 6080, Flags: ipvs.EncapChecksum}},
		{config.Tunnel{Type: "gue", Port: 6080, Checksum: "remcsum"}, ipvs.Encap{Type: ipvs.GUE, Port: 6080, Flags: ipvs.EncapRemoteChecksum}},
	} {
		if got := DesiredDestination(config.RealServer{Address: server(1), Forward: "tun", Tunnel: c.t}).Encap; got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.t, got, c.want)
		}
	}
}

func TestWantedSettings(t *testing.T) {
	c := oneServer(5, func(s *config.Service) { s.DrainTimeout, s.OnFailure = time.Minute, "remove" })
	if w := Decide(Inputs{Config: c}).Desired; w.Sync != nil {
		t.Errorf("synchronisation without a wish: %+v", w.Sync)
	}
	c.IPVS.Sync = &config.Sync{Interface: "eth1", ID: 5, Group: netip.MustParseAddr("224.0.0.90"), Port: 9000, TTL: 2, MaxLen: 1400,
		Threshold: [2]int{1, 10}, RefreshPeriod: time.Minute}
	w := Decide(Inputs{Config: c, Health: healthOf(checker.Down), Kernel: kernelWith(5)}).Desired
	want := ipvs.SyncConfig{Interface: "eth1", ID: 5, Group: netip.MustParseAddr("224.0.0.90"), Port: 9000, TTL: 2, MaxLen: 1400,
		Threshold: [2]int{1, 10}, RefreshPeriod: time.Minute}
	if w.Sync == nil || *w.Sync != want {
		t.Errorf("%+v", w.Sync)
	}
	k := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: vip}
	if w.Names[k] != "web" || w.Drain[k] != time.Minute {
		t.Errorf("names %v, drain %v", w.Names, w.Drain)
	}
	// A server that failed leaves at once, whatever the drain of its service.
	if _, dropped := w.NoDrain[ipvs.Entry{Service: k, RealServer: server(1)}]; !dropped || len(w.NoDrain) != 1 {
		t.Errorf("dropped: %v", w.NoDrain)
	}
	if w := Decide(Inputs{Config: c, Health: healthOf(checker.Up), Kernel: kernelWith(5)}).Desired; len(w.NoDrain) != 0 {
		t.Errorf("a server that is up is dropped: %v", w.NoDrain)
	}
}

// TestPrimesOfAnnouncedHashTables: with announcements servers behind mh are primed with the
// weight of the file, also one that drain = true drains; one of weight 0 has none, and nothing
// else is.
func TestPrimesOfAnnouncedHashTables(t *testing.T) {
	hashed := config.Service{Name: "web", Address: netip.MustParseAddrPort("192.0.2.80:80"), Protocol: "tcp", Scheduler: "mh", RealServers: []config.RealServer{
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 3}, {Address: netip.MustParseAddrPort("10.0.0.2:80")},
		{Address: netip.MustParseAddrPort("10.0.0.3:80"), Drain: true, DrainedWeight: 5}}}
	other := hashed
	other.Name, other.Scheduler, other.Address = "other", "wlc", netip.MustParseAddrPort("192.0.2.80:81")
	c := &config.Config{Announces: []config.Announce{{Name: "any"}}, Services: []config.Service{hashed, other}}
	want := map[ipvs.Entry]int{{Service: ServiceKey(hashed), RealServer: hashed.RealServers[0].Address}: 3, {Service: ServiceKey(hashed), RealServer: hashed.RealServers[2].Address}: 5}
	if got := DesiredSettings(c, time.Now()).Prime; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	c.Announces = nil
	if got := DesiredSettings(c, time.Now()).Prime; len(got) != 0 {
		t.Errorf("without announcements: %v", got)
	}
}
