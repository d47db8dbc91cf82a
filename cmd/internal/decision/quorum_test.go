package decision

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/config"
	"lvsd/ipvs"
)

var sorry = netip.MustParseAddrPort("127.0.0.1:80")

func fallback(mode string, quorum, hysteresis int) func(*config.Service) {
	return func(s *config.Service) {
		s.Fallback, s.FallbackForward, s.OnFailure, s.Quorum, s.Hysteresis = sorry, "local", mode, quorum, hysteresis
	}
}

func TestFallbackTakesOver(t *testing.T) {
	for mode, dead := range map[string]int{"quiesce": 0, "remove": -1} {
		w := newWalk(t, servers(2, 3, fallback(mode, 3, 3)), nil)
		serves := func(wait time.Duration, want bool, weights ...int) {
			t.Helper()
			w.weights(wait, weights...)
			svc := w.plan.Services[0]
			dest, listed := w.plan.Desired.Table[svc.Key].Destinations[sorry]
			if svc.Fallback.Active != want || listed != want || svc.Up == want {
				t.Fatalf("%s: active %v, in the table %v, service up %v; want %v", mode, svc.Fallback.Active, listed, svc.Up, want)
			}
			if listed && (dest.Weight != 1 || dest.Forward != ipvs.Local || dest.Address != sorry) {
				t.Errorf("%s: %+v", mode, dest)
			}
		}
		w.up(0)
		w.up(1)
		serves(0, false, 3, 3)
		w.down(0)
		serves(0, false, dead, 3) // the quorum holds
		w.down(1)
		serves(0, true, dead, dead)
		since := w.plan.Services[0].Fallback.Since
		w.up(0)
		serves(time.Second, true, dead, dead) // alive, but short of quorum and hysteresis
		if s := w.plan.Services[0]; s.Servers[0].Why().Kind != CauseFallback || s.AvailableWeight != 3 || s.Fallback.Since != since {
			t.Errorf("%s: %+v, alive %d, since %v", mode, s.Servers[0].Why(), s.AvailableWeight, s.Fallback.Since)
		}
		w.up(1)
		serves(0, false, 3, 3)
	}
}

// At a start neither an unknown server that the kernel lacks nor the fallback is in the
// table, but a fallback that is serving already continues.
func TestStarting(t *testing.T) {
	for _, mode := range []string{"quiesce", "remove"} {
		w := newWalk(t, servers(2, 3, fallback(mode, 1, 0)), nil)
		w.in.Starting = true
		w.weights(0, -1, -1)
		if w.plan.Services[0].Fallback.Active {
			t.Errorf("%s: the fallback serves before the first results", mode)
		}
		w.up(0)
		w.weights(0, 3, -1)

		key := w.plan.Services[0].Key
		w = newWalk(t, servers(2, 3, fallback(mode, 1, 0)), nil)
		w.in.Starting = true
		w.in.Kernel = ipvs.Table{key: {Key: key, Destinations: map[netip.AddrPort]ipvs.Destination{sorry: {Address: sorry, Weight: 1}}}}
		w.weights(0, -1, -1)
		if !w.plan.Services[0].Fallback.Active {
			t.Errorf("%s: a fallback that serves was taken out", mode)
		}
	}
}

func TestFallbackForwards(t *testing.T) {
	for forward, want := range map[string]ipvs.Forward{"local": ipvs.Local, "dr": ipvs.DirectRoute, "nat": ipvs.NAT, "tun": ipvs.Tunnel} {
		svc := config.Service{Fallback: sorry, FallbackForward: forward, Tunnel: config.Tunnel{Type: "gue", Port: 6080}}
		got := desiredFallback(svc)
		if got.Forward != want || (got.Encap.Port == 6080) != (forward == "tun") {
			t.Errorf("%s: %+v", forward, got)
		}
	}
}

func TestPanic(t *testing.T) {
	w := newWalk(t, servers(4, 5, func(s *config.Service) { s.PanicThreshold = 50 }), nil)
	svc := &w.in.Config.Services[0]
	panics := func(want bool, weights ...int) {
		t.Helper()
		w.weights(time.Second, weights...)
		if got := w.plan.Services[0]; got.Panic != want {
			t.Errorf("panic %v with %d of %d healthy", got.Panic, got.Healthy, got.Counted)
		}
	}
	panics(false, 0, 0, 0, 0) // a start is none
	for i := range 4 {
		w.up(i)
	}
	panics(false, 5, 5, 5, 5)
	w.down(0)
	w.down(1)
	panics(false, 0, 0, 5, 5) // half is enough
	w.down(2)
	panics(true, 5, 5, 5, 5)
	if why := w.plan.Services[0].Servers[0].Why(); why.Kind != CausePanic {
		t.Errorf("why: %+v", why)
	}
	if p := w.plan.Services[0]; !p.Up || p.AvailableWeight != 20 {
		t.Errorf("up %v, alive %d", p.Up, p.AvailableWeight)
	}
	svc.RealServers[0].Weight = 0
	panics(true, 0, 5, 5, 5) // a manual drain is never lifted, and does not count
	h := w.in.Health[ServerID(*svc, svc.RealServers[1])]
	h.Maint = true
	w.in.Health[ServerID(*svc, svc.RealServers[1])] = h
	panics(false, 0, 0, 0, 5) // nor is maint: 1 of 2 is healthy now
	w.down(3)
	panics(true, 0, 0, 5, 5)
	w.up(3)
	panics(false, 0, 0, 0, 5)
}

func TestPanicListsWhatFailed(t *testing.T) {
	w := newWalk(t, servers(2, 5, func(s *config.Service) { s.PanicThreshold, s.OnFailure = 50, "remove" }), nil)
	w.up(0)
	w.up(1)
	w.weights(0, 5, 5)
	w.down(0)
	w.weights(0, -1, 5)
	w.down(1)
	w.weights(0, 5, 5)
	if len(w.plan.Desired.NoDrain) != 0 {
		t.Errorf("dropped: %v", w.plan.Desired.NoDrain)
	}
}

func TestAgentsWords(t *testing.T) {
	for _, c := range []struct {
		health checker.Health
		want   int
		drains bool
	}{
		{checker.Health{Weight: 100}, 10, false},
		{checker.Health{Weight: 75}, 7, false},
		{checker.Health{Weight: 1}, 1, false},
		{checker.Health{Weight: 250}, 10, false},
		{checker.Health{Weight: 0}, 0, true},
		{checker.Health{Weight: 100, Maint: true}, 0, true},
		{checker.Health{Weight: 100, Drain: true}, 0, true},
	} {
		c.health.State = checker.Up
		s := Decide(Inputs{Now: start, Config: oneServer(10, nil), Health: map[checker.ID]checker.Health{id: c.health}}).Services[0].Servers[0]
		if s.Weight != c.want || s.Draining() != c.drains || (s.Weight < 10) != (s.Why().Kind == CauseAgent) {
			t.Errorf("%+v: weight %d, draining %v, %+v", c.health, s.Weight, s.Draining(), s.Why())
		}
	}
}

// TestNothingLiftsAWeight: for random histories of everything at once, the
// effective weight is the lowest of the causes shown, never above what the file
// and the agent leave, and every cause says since when.
func TestNothingLiftsAWeight(t *testing.T) {
	reasons := []outcome.Reason{outcome.Timeout, outcome.Unreachable, outcome.Refused, outcome.Status}
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := servers(4, 0, func(s *config.Service) {
			s.SlowStart = time.Duration(r.IntN(2)) * time.Minute
			s.FlapDamping = r.IntN(2) == 0
			s.PanicThreshold = r.IntN(2) * 50
			s.Quorum, s.Hysteresis = 1+r.IntN(10), r.IntN(5)
			s.OnFailure = []string{"quiesce", "remove"}[r.IntN(2)]
			if r.IntN(2) == 0 {
				s.Fallback, s.FallbackForward = sorry, "local"
			}
		})
		if r.IntN(2) == 0 {
			c.Guard = &config.Guard{Witnesses: []netip.Addr{witness}, Share: 80}
		}
		w := newWalk(t, c, nil)
		for range 200 {
			n := r.IntN(4)
			c.Services[0].RealServers[n].Weight = r.IntN(6)
			switch v := checker.State(r.IntN(3)); v {
			case checker.Down:
				w.say(n, v, reasons[r.IntN(len(reasons))])
			default:
				w.say(n, v, outcome.OK)
			}
			if r.IntN(4) == 0 {
				h := w.in.Health[ServerID(c.Services[0], c.Services[0].RealServers[n])]
				h.Weight, h.Maint, h.Drain = r.IntN(101), r.IntN(5) == 0, r.IntN(5) == 0
				w.in.Health[ServerID(c.Services[0], c.Services[0].RealServers[n])] = h
			}
			w.ping(r.IntN(2) == 0)
			svc := w.decide(time.Duration(r.IntN(5000)) * time.Millisecond)
			sum := 0
			for _, s := range svc.Servers {
				lowest := s.Causes[0].Weight
				for _, cause := range s.Causes {
					lowest = min(lowest, cause.Weight)
					if cause.Since.IsZero() || cause.Text == "" {
						t.Fatalf("seed %d: a cause without age or text: %+v", seed, cause)
					}
				}
				if s.Weight != lowest || s.Weight > s.Agent.weight(s.Configured) || s.Why().Weight != s.Weight {
					t.Fatalf("seed %d: weight %d of %d, agent %+v, causes %+v", seed, s.Weight, s.Configured, s.Agent, s.Causes)
				}
				if s.InTable {
					sum += s.Weight
				}
			}
			if svc.Fallback.Active != (!svc.Up && c.Services[0].Fallback.IsValid()) || svc.Fallback.Active && sum > 0 {
				t.Fatalf("seed %d: up %v, fallback %v with weight %d besides", seed, svc.Up, svc.Fallback.Active, sum)
			}
			if !w.plan.Next.IsZero() && !w.plan.Next.After(w.in.Now) {
				t.Fatalf("seed %d: decided at %v, to be woken at %v", seed, w.in.Now, w.plan.Next)
			}
		}
	}
}
