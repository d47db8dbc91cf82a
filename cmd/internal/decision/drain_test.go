package decision

import (
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/config"
)

// TestDrainUntil: weight 0 until then, the weight of the file from that moment
// on, which is one that the plan names.
func TestDrainUntil(t *testing.T) {
	until := start.Add(time.Hour)
	w := newWalk(t, servers(2, 3, func(s *config.Service) {
		s.RealServers[0].DrainUntil, s.RealServers[0].DrainUntilPosition = until, config.Position{Line: 12}
		s.Quorum, s.PanicThreshold = 4, 60
	}), nil)
	w.up(0)
	w.up(1)
	w.weights(0, 0, 3)
	s := w.plan.Services[0].Servers[0]
	if why := s.Why(); why.Kind != CauseDrain || !strings.Contains(why.Text, "until 1970-01-12T14:46:40Z") || !strings.Contains(why.Text, "line 12), then weight 3") {
		t.Errorf("why: %+v", why)
	}
	if !s.Draining() || s.DrainingSince() != start || !s.DrainUntil.Equal(until) || s.Configured != 3 {
		t.Errorf("%+v since %v", s, s.DrainingSince())
	}
	if !w.plan.Next.Equal(until) {
		t.Errorf("the next decision is at %v, want %v", w.plan.Next, until)
	}
	if svc := w.plan.Services[0]; svc.Up || svc.AvailableWeight != 3 || svc.Panic || svc.Counted != 1 {
		t.Errorf("a drained server counts: %+v", svc)
	}
	w.weights(time.Hour-1, 0, 3)
	w.weights(1, 3, 3)
	s = w.plan.Services[0].Servers[0]
	if s.Draining() || !s.DrainUntil.IsZero() || !w.plan.Next.IsZero() || !w.plan.Services[0].Up {
		t.Errorf("after its end: %+v, next %v", s, w.plan.Next)
	}
}

// TestDrainUntilIsABoundedDrain: nothing lifts it, its end does not override a failure
// meanwhile, and slow start applies on the return.
func TestDrainUntilIsABoundedDrain(t *testing.T) {
	w := newWalk(t, servers(2, 40, func(s *config.Service) {
		s.RealServers[0].DrainUntil = start.Add(time.Hour)
		s.SlowStart, s.PanicThreshold = time.Minute, 100
	}), nil)
	w.up(0)
	w.down(1)
	w.weights(0, 0, 40) // a panic lifts the other one
	w.down(0)
	w.up(1)
	w.weights(2*time.Hour, 40, 40) // the drain is over, and a panic lifts the one that failed
	w = newWalk(t, servers(1, 40, func(s *config.Service) {
		s.RealServers[0].DrainUntil, s.SlowStart = start.Add(time.Hour), time.Minute
	}), nil)
	w.up(0)
	w.weights(0, 0)
	w.weights(time.Hour, 2) // a twentieth
	w.weights(time.Minute, 40)
}

// TestKeepPersistentClients: the kernel is set to keep clients on servers of
// weight 0 only while a server drains manually whose service wants that, and then
// a server that failed leaves the table of every persistent service.
func TestKeepPersistentClients(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Service)
		keep   bool
		failed int // what a server that is down gets
	}{
		"keep":           {nil, true, -1},
		"move":           {func(s *config.Service) { s.DrainPersistent = "move" }, false, 0},
		"not persistent": {func(s *config.Service) { s.Persistence = 0 }, false, 0},
		"no drain":       {func(s *config.Service) { s.RealServers[0].Weight = 3 }, false, 0},
		"drain_until": {func(s *config.Service) {
			s.RealServers[0].Weight, s.RealServers[0].DrainUntil = 3, start.Add(time.Hour)
		}, true, -1},
		"drain_until is over": {func(s *config.Service) { s.RealServers[0].Weight, s.RealServers[0].DrainUntil = 3, start }, false, 0},
	} {
		w := newWalk(t, servers(3, 3, func(s *config.Service) {
			s.Persistence, s.DrainPersistent = time.Minute, "keep"
			s.RealServers[0].Weight = 0
			if c.change != nil {
				c.change(s)
			}
		}), nil)
		w.up(0)
		w.up(1)
		w.down(2)
		svc := w.decide(0)
		if got := w.plan.Desired.KeepTemplates; got != c.keep {
			t.Errorf("%s: keep %v", name, got)
		}
		if s := svc.Servers[2]; s.InTable != (c.failed == 0) || s.Weight != 0 {
			t.Errorf("%s: the failed server is listed: %v, weight %d", name, s.InTable, s.Weight)
		}
		if s := svc.Servers[0]; !s.InTable {
			t.Errorf("%s: the server that drains is not in the table", name)
		}
	}
}

// TestKeepChangesOtherServices: a drain that begins and ends in one service changes
// what happens to a failed server of another service that did not change.
func TestKeepChangesOtherServices(t *testing.T) {
	c := servers(1, 3, func(s *config.Service) { s.Persistence, s.DrainPersistent, s.Digest = time.Minute, "keep", "1" })
	other := servers(1, 3, func(s *config.Service) { s.Persistence, s.DrainPersistent, s.Digest = time.Minute, "move", "2" }).Services[0]
	other.Name, other.Address = "other", server(99)
	c.Services = append(c.Services, other)
	w := newWalk(t, c, nil)
	w.up(0)
	w.in.Health[ServerID(other, other.RealServers[0])] = checker.Health{State: checker.Down, Weight: 100, Cause: "http refused, 3 of 3"}
	for i, weight := range []int{3, 0, 0, 3} {
		next := *c
		next.Services = append([]config.Service(nil), c.Services...)
		next.Services[0].RealServers = []config.RealServer{c.Services[0].RealServers[0]}
		next.Services[0].RealServers[0].Weight = weight
		next.Services[0].Digest = "1" + string(rune('0'+weight))
		w.in.Config = &next
		w.decide(time.Second)
		if listed := w.plan.Services[1].Servers[0].InTable; listed != (weight > 0) {
			t.Errorf("step %d: with weight %d in the one service the failed server of the other is listed: %v", i, weight, listed)
		}
	}
}
