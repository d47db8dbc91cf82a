package decision

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

var vip = netip.MustParseAddrPort("10.0.0.88:80")

func server(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 1, byte(n)}), 80)
}

// oneServer is a configuration of one service "web" with one real server.
func oneServer(weight int, change func(*config.Service)) *config.Config {
	svc := config.Service{
		Name: "web", Address: vip, Protocol: "tcp", Scheduler: "wlc", Forward: "dr", Quorum: 1, OnFailure: "quiesce",
		RealServers: []config.RealServer{{Address: server(1), Weight: weight, Forward: "dr"}},
	}
	if change != nil {
		change(&svc)
	}
	return &config.Config{IPVS: config.IPVS{Foreign: "alarm"}, Services: []config.Service{svc}}
}

func kernelWith(weight int) ipvs.Table {
	key := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: vip}
	return ipvs.Table{key: {Key: key, Destinations: map[netip.AddrPort]ipvs.Destination{server(1): {Address: server(1), Weight: weight}}}}
}

var id = checker.ID{Service: "web", RealServer: "10.0.1.1:80"}

func healthOf(v checker.State) map[checker.ID]checker.Health {
	return map[checker.ID]checker.Health{id: {State: v, Weight: 100, Cause: "http refused, 3 of 3"}}
}

// TestWeights covers every combination of file, kernel and health (rules 7 and 8 of
// docs/design.md).
func TestWeights(t *testing.T) {
	const absent = -1
	remove := func(s *config.Service) { s.OnFailure = "remove" }
	for _, c := range []struct {
		name       string
		configured int
		kernel     int // absent: not in the table
		state      checker.State
		change     func(*config.Service)
		want       int // absent: left out of the table
		why        CauseKind
	}{
		{"up: the configured weight", 5, 5, checker.Up, nil, 5, CauseConfigured},
		{"up again: the configured weight comes back", 5, 0, checker.Up, nil, 5, CauseConfigured},
		{"up and changed manually in the kernel: the file holds", 5, 9, checker.Up, nil, 5, CauseConfigured},
		{"up and new to the kernel", 5, absent, checker.Up, nil, 5, CauseConfigured},
		{"down: 0, and it stays in the table", 5, 5, checker.Down, nil, 0, CauseHealth},
		{"down from the first result on", 5, absent, checker.Down, nil, 0, CauseHealth},
		{"drained manually and up", 0, 5, checker.Up, nil, 0, CauseDrain},
		{"drained manually and down: the drain is named first", 0, 5, checker.Down, nil, 0, CauseDrain},
		{"drained manually, nothing known", 0, 3, checker.Unknown, nil, 0, CauseDrain},
		{"nothing known, new: waits", 5, absent, checker.Unknown, nil, 0, CausePending},
		{"nothing known, kernel lower: the kernel's", 5, 2, checker.Unknown, nil, 2, CausePending},
		{"nothing known, kernel 0: stays 0", 5, 0, checker.Unknown, nil, 0, CausePending},
		{"nothing known, kernel higher: the file's", 5, 9, checker.Unknown, nil, 5, CauseConfigured},
		{"remove: down is left out", 5, 5, checker.Down, remove, absent, CauseHealth},
		{"remove: up is in", 5, absent, checker.Up, remove, 5, CauseConfigured},
		{"remove: new and nothing known is left out", 5, absent, checker.Unknown, remove, absent, CausePending},
		{"remove: nothing known, the kernel has it", 5, 4, checker.Unknown, remove, 4, CausePending},
		{"remove: a manual drain stays in", 0, 5, checker.Up, remove, 0, CauseDrain},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := Inputs{Config: oneServer(c.configured, c.change), Health: healthOf(c.state), Kernel: kernelWith(c.kernel)}
			if c.kernel == absent {
				in.Kernel = ipvs.Table{}
			}
			plan := Decide(in)
			got := plan.Services[0].Servers[0]
			dest, listed := plan.Desired.Table[plan.Services[0].Key].Destinations[server(1)]
			if listed != (c.want != absent) || listed != got.InTable {
				t.Fatalf("in the table: %v, shown as %v, want %v", listed, got.InTable, c.want != absent)
			}
			if listed && (dest.Weight != c.want || got.Weight != c.want) {
				t.Errorf("weight %d, shown as %d, want %d", dest.Weight, got.Weight, c.want)
			}
			if got.Why().Kind != c.why {
				t.Errorf("why: %+v, want %s", got.Why(), c.why)
			}
		})
	}
}

// TestEffectiveWeightIsTheLowestCause checks rule 8 for random inputs: never above the
// configured weight, and always the lowest of the causes shown.
func TestEffectiveWeightIsTheLowestCause(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		in := Inputs{Config: oneServer(r.IntN(4), nil), Health: healthOf(checker.State(r.IntN(3))), Kernel: ipvs.Table{}}
		if r.IntN(2) == 0 {
			in.Kernel = kernelWith(r.IntN(5))
		}
		s := Decide(in).Services[0].Servers[0]
		lowest := s.Causes[0].Weight
		for _, c := range s.Causes {
			lowest = min(lowest, c.Weight)
		}
		if s.Weight != lowest || s.Weight > s.Configured || s.Why().Weight != s.Weight {
			t.Fatalf("weight %d of configured %d, causes %+v", s.Weight, s.Configured, s.Causes)
		}
		if s.State == checker.Down && s.Weight != 0 {
			t.Fatalf("a server that is down has weight %d", s.Weight)
		}
	}
}

// TestUncheckedIsACause: it lowers nothing, and explains the weight unless the file or the
// lack of any result does.
func TestUncheckedIsACause(t *testing.T) {
	unchecked := func(v checker.State) map[checker.ID]checker.Health {
		return map[checker.ID]checker.Health{id: {State: v, Weight: 100, Cause: "http refused, 3 of 3", UncheckedSince: start, UncheckedWhy: "http: EADDRNOTAVAIL"}}
	}
	for _, c := range []struct {
		name       string
		configured int
		kernel     ipvs.Table
		state      checker.State
		weight     int
		why        CauseKind
		text       string
	}{
		{"up", 5, kernelWith(5), checker.Up, 5, CauseUnchecked, "unchecked: http: EADDRNOTAVAIL"},
		{"down", 5, kernelWith(0), checker.Down, 0, CauseHealth, "refused"},
		{"drained", 0, kernelWith(0), checker.Up, 0, CauseDrain, "weight 0"},
		{"never checked", 5, nil, checker.Unknown, 0, CausePending, "unchecked: http: EADDRNOTAVAIL"},
		{"not checked since the start", 5, kernelWith(5), checker.Unknown, 5, CauseUnchecked, "unchecked: http: EADDRNOTAVAIL"},
	} {
		plan := Decide(Inputs{Now: start, Config: oneServer(c.configured, nil), Health: unchecked(c.state), Kernel: c.kernel})
		s := plan.Services[0].Servers[0]
		if why := s.Why(); s.Weight != c.weight || why.Kind != c.why || !strings.Contains(why.Text, c.text) || !s.UncheckedSince.Equal(start) {
			t.Errorf("%s: weight %d, %+v", c.name, s.Weight, why)
		}
	}
}

// TestDecisionIsStable: a decision whose desired table is already in the kernel desires
// the same again, so that no weight changes from resync to resync.
func TestDecisionIsStable(t *testing.T) {
	for weight := range 4 {
		for kernel := range 5 {
			for v := range checker.State(3) {
				in := Inputs{Config: oneServer(weight, nil), Health: healthOf(v), Kernel: kernelWith(kernel)}
				first := Decide(in)
				in.Kernel = first.Desired.Table
				second := Decide(in)
				if a, b := first.Services[0].Servers[0].Weight, second.Services[0].Servers[0].Weight; a != b {
					t.Errorf("configured %d, kernel %d, %s: first %d, then %d", weight, kernel, v, a, b)
				}
			}
		}
	}
}

func TestQuorum(t *testing.T) {
	config := oneServer(5, func(s *config.Service) { s.Quorum, s.Hysteresis = 4, 2 })
	for _, c := range []struct {
		was   bool
		alive int
		want  bool
	}{
		{true, 5, true}, {true, 4, true}, {true, 3, false},
		{false, 5, false}, {false, 6, true}, {false, 0, false},
	} {
		config.Services[0].RealServers[0].Weight = c.alive
		plan := Decide(Inputs{Config: config, Health: healthOf(checker.Up), Before: &Decision{Services: []Service{{Name: "web", Up: c.was}}}})
		if got := plan.Services[0]; got.Up != c.want || got.AvailableWeight != c.alive {
			t.Errorf("was %v, %d alive: up %v with %d alive, want %v", c.was, c.alive, got.Up, got.AvailableWeight, c.want)
		}
	}
}

// TestAFailedServerCountsNothing: what is left out of the table, or has weight
// 0, is no weight alive.
func TestAFailedServerCountsNothing(t *testing.T) {
	for _, mode := range []string{"quiesce", "remove"} {
		plan := Decide(Inputs{Config: oneServer(5, func(s *config.Service) { s.OnFailure = mode }), Health: healthOf(checker.Down), Kernel: kernelWith(5)})
		if s := plan.Services[0]; s.Up || s.AvailableWeight != 0 {
			t.Errorf("%s: up %v, weight alive %d", mode, s.Up, s.AvailableWeight)
		}
	}
}

func TestWantedFormsOfTheKernel(t *testing.T) {
	svc := config.Service{Name: "s", Address: vip, Protocol: "udp", Scheduler: "sh", SchedulerFlags: []string{"sh-fallback", "sh-port"},
		Persistence: 5 * time.Minute, PersistenceBits: 24}
	got := DesiredService(svc)
	if got.Key.Protocol != ipvs.UDP || got.Flags != ipvs.SHFallback|ipvs.SHPort || got.Persistence != 300 || got.PersistenceBits != 24 {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]ipvs.Forward{"nat": ipvs.NAT, "dr": ipvs.DirectRoute, "tun": ipvs.Tunnel} {
		d := DesiredDestination(config.RealServer{Address: server(1), Weight: 7, Forward: name, UpperThreshold: 9, LowerThreshold: 3})
		if d.Forward != want || d.Weight != 7 || d.UpperThreshold != 9 || d.LowerThreshold != 3 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 100, 400} {
		b.Run(fmt.Sprint("services=", n), func(b *testing.B) {
			in := hundreds(n)
			b.ReportAllocs()
			for b.Loop() {
				Decide(in)
			}
		})
	}
}

// hundreds are so many services of a hundred servers.
func hundreds(services int) Inputs {
	c := &config.Config{IPVS: config.IPVS{Foreign: "alarm"}}
	health := map[checker.ID]checker.Health{}
	for i := range services {
		svc := config.Service{Name: fmt.Sprint("s", i), Address: netip.AddrPortFrom(vip.Addr(), uint16(i+1)), Protocol: "tcp", Scheduler: "wlc", Quorum: 1, OnFailure: "quiesce"}
		for j := range 100 {
			rs := config.RealServer{Address: server(j), Weight: 1, Forward: "dr"}
			svc.RealServers = append(svc.RealServers, rs)
			health[ServerID(svc, rs)] = checker.Health{State: checker.Up, Weight: 100}
		}
		c.Services = append(c.Services, svc)
	}
	return Inputs{Config: c, Health: health}
}
