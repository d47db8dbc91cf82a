package decision

import (
	"testing"
	"time"

	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// TestLostQuorum: which losses of a quorum are a reason for another master.
func TestLostQuorum(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Service)
		walk   func(*walk)
		want   bool
	}{
		"all fail":                           {nil, func(w *walk) { w.down(0); w.down(1) }, true},
		"one of two fails":                   {nil, func(w *walk) { w.down(0); w.up(1) }, false},
		"no result yet":                      {nil, func(*walk) {}, false},
		"one fails, none of the other":       {nil, func(w *walk) { w.down(0) }, false},
		"all drained manually":               {drained(0, 1), func(w *walk) { w.up(0); w.up(1) }, false},
		"all drained manually, and dead":     {drained(0, 1), func(w *walk) { w.down(0); w.down(1) }, false},
		"one drained, the other fails":       {drained(0), func(w *walk) { w.up(0); w.down(1) }, true},
		"the drain alone takes it":           {func(s *config.Service) { drained(0)(s); s.Quorum = 10 }, func(w *walk) { w.up(0); w.up(1) }, false},
		"short by the drain, and one fails":  {func(s *config.Service) { drained(0)(s); s.Quorum = 10 }, func(w *walk) { w.up(0); w.down(1) }, false},
		"the fallback serves":                {fallback("quiesce", 1, 0), func(w *walk) { w.down(0); w.down(1) }, false},
		"removed when they fail":             {func(s *config.Service) { s.OnFailure = "remove" }, func(w *walk) { w.down(0); w.down(1) }, true},
		"panic":                              {func(s *config.Service) { s.PanicThreshold = 50 }, func(w *walk) { w.down(0); w.down(1) }, false},
		"the servers say drain":              {nil, func(w *walk) { w.drain(0); w.drain(1) }, false},
		"one says drain, the other one dies": {nil, func(w *walk) { w.drain(0); w.down(1) }, true},
	} {
		w := newWalk(t, servers(2, 5, c.change), nil)
		c.walk(w)
		w.decide(0)
		if got := w.decide(time.Second); got.QuorumLost != c.want {
			t.Errorf("%s: lost %v, with weight alive %d, up %v", name, got.QuorumLost, got.AvailableWeight, got.Up)
		}
	}
}

func drained(which ...int) func(*config.Service) {
	return func(s *config.Service) {
		for _, i := range which {
			s.RealServers[i].Weight = 0
		}
	}
}

func TestTrackedFault(t *testing.T) {
	services := []Service{{Name: "web", QuorumLost: true}, {Name: "mail"}, {Name: "dns", QuorumLost: true, Key: ipvs.ServiceKey{}}}
	got := Tracked([]config.TrackedService{{Name: "web", Fault: true}, {Name: "mail", Weight: -5}}, services)
	want := vrrp.Tracked{Name: "service web", Fault: true}
	if len(got) != 1 || got[want.Name] != want {
		t.Errorf("%+v", got)
	}
}
