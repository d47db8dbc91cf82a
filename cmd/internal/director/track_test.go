package director

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
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
		"no verdict yet":                     {nil, func(*walk) {}, false},
		"one fails, none of the other":       {nil, func(w *walk) { w.down(0) }, false},
		"all drained by hand":                {drained(0, 1), func(w *walk) { w.up(0); w.up(1) }, false},
		"all drained by hand, and dead":      {drained(0, 1), func(w *walk) { w.down(0); w.down(1) }, false},
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
		if got := w.decide(time.Second); got.Lost != c.want {
			t.Errorf("%s: lost %v, with weight alive %d, up %v", name, got.Lost, got.WeightAlive, got.Up)
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

// TestServicesBendElections walks through the loss of a quorum and its return, and
// a reload that tracks nothing any more.
func TestServicesBendElections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.Elections[0].TrackServices = []config.TrackedService{{Name: "web", Weight: -60}}
		c.Services[0].RealServers[0].Checks = []config.Check{{Type: "http", Interval: 2 * time.Second, Timeout: time.Second}}
		r := newRig(t, c)
		defer r.stop()
		r.table.read(kernelWith(5))
		if got := r.engine(0).now().PreemptDelay; got != 3*time.Second {
			t.Errorf("preempts after %v: before a round of the checks", got)
		}
		bends := func(v checker.Verdict) []string {
			r.checker.say(v)
			r.Wake()
			time.Sleep(time.Second)
			synctest.Wait()
			return slices.DeleteFunc(r.take(), func(s string) bool { return s[:4] != "web@" || s == "web@eth0 updated" })
		}
		time.Sleep(time.Second)
		synctest.Wait()
		r.take()
		if got := bends(checker.Up); got != nil {
			t.Errorf("in good health: %q", got)
		}
		if got := bends(checker.Down); !slices.Equal(got, []string{"web@eth0 service web -60 false"}) {
			t.Errorf("lost: %q", got)
		}
		if got := bends(checker.Down); got != nil {
			t.Errorf("said again: %q", got)
		}
		if got := bends(checker.Up); !slices.Equal(got, []string{"web@eth0 service web 0 false"}) {
			t.Errorf("back: %q", got)
		}
		bends(checker.Down)
		r.next = withElection(5, "eth0")
		if o := r.Reload(t.Context()); o.Refused != nil {
			t.Fatal(o.Refused)
		}
		if got := bends(checker.Down); !slices.Equal(got, []string{"web@eth0 service web 0 false"}) {
			t.Errorf("no longer tracked: %q", got)
		}
	})
}

func TestBentByFault(t *testing.T) {
	services := []ServicePlan{{Name: "web", Lost: true}, {Name: "mail"}, {Name: "dns", Lost: true, Key: ipvs.ServiceKey{}}}
	got := bent([]config.TrackedService{{Name: "web", Fault: true}, {Name: "mail", Weight: -5}}, services)
	want := vrrp.Tracked{Name: "service web", Fault: true}
	if len(got) != 1 || got[want.Name] != want {
		t.Errorf("%+v", got)
	}
}
