package decision

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/config"
)

var witness = netip.MustParseAddr("10.0.0.1")

// ping sets the witness's result of a ping that was just sent.
func (w *walk) ping(ok bool) { w.pingAt(ok, w.in.Now) }

func (w *walk) pingAt(ok bool, at time.Time) {
	h := maps.Clone(w.in.Health)
	v, reason := checker.Up, outcome.OK
	if !ok {
		v, reason = checker.Down, outcome.Timeout
	}
	h[WitnessID(witness)] = checker.Health{State: v, Checks: []checker.CheckHealth{{Type: "ping", State: v, Last: outcome.Result{At: at, Reason: reason}}}}
	w.in.Health = h
}

// guarded is a service of n servers, all up, with a witness that replies.
func guarded(t *testing.T, n int, change func(*config.Service)) *walk {
	c := servers(n, 5, change)
	c.Guard = &config.Guard{Witnesses: []netip.Addr{witness}, Share: 80}
	w := newWalk(t, c, nil)
	for i := range n {
		w.up(i)
	}
	w.ping(true)
	w.decide(0)
	w.decide(time.Minute)
	return w
}

func (w *walk) state(want GuardState) {
	w.t.Helper()
	if w.plan.Guard.State != want {
		w.t.Fatalf("%v: the guard is %s (%s), want %s", w.in.Now.Sub(start), w.plan.Guard.State, w.plan.Guard.Why, want)
	}
}

func TestGuardFreezesAndThaws(t *testing.T) {
	w := guarded(t, 5, nil)
	w.state(GuardWatching)
	for i := range 5 {
		w.say(i, checker.Down, outcome.Timeout)
	}
	w.weights(0, 5, 5, 5, 5, 5) // held until the witness was asked
	w.state(GuardProbing)
	if limit := w.in.Now.Add(guardPatience); w.plan.Next.IsZero() || w.plan.Next.After(limit) {
		t.Errorf("a question is looked at again at %v", w.plan.Next)
	}
	w.in.Now = after(time.Minute + 300*time.Millisecond)
	w.ping(false)
	w.weights(0, 5, 5, 5, 5, 5)
	w.state(GuardFrozen)
	why := w.plan.Services[0].Servers[0].Why()
	if why.Kind != CauseGuard || !strings.Contains(w.plan.Guard.Why, "5 of 5 servers fail at the same time, and no witness replies") {
		t.Errorf("%+v, %s", why, w.plan.Guard.Why)
	}
	w.weights(time.Hour, 5, 5, 5, 5, 5)
	w.down(0)
	w.weights(time.Second, 5, 5, 5, 5, 5) // frozen is frozen

	w.in.Now = w.in.Now.Add(time.Second)
	w.ping(true)
	w.weights(0, 5, 5, 5, 5, 5) // it ended: the servers get the time for a new result
	w.state(GuardRecovering)
	for i := range 4 {
		w.up(i)
	}
	w.weights(time.Second, 5, 5, 5, 5, 5)
	if w.plan.Next.IsZero() {
		t.Error("nothing wakes the loop when the last server's time is over")
	}
	w.in.Now = w.plan.Next
	w.weights(0, 5, 5, 5, 5, 0)
	w.state(GuardWatching)
}

func TestGuardLetsTrueFailuresThrough(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func(*walk)
		answer func(*walk)
		asks   bool
		want   []int
	}{
		"the witness answers": {func(w *walk) {
			for i := range 5 {
				w.say(i, checker.Down, outcome.Timeout)
			}
		}, func(w *walk) { w.ping(true) }, true, []int{0, 0, 0, 0, 0}},
		"too few": {func(w *walk) {
			for i := range 3 {
				w.say(i, checker.Down, outcome.Timeout)
			}
		}, func(w *walk) { w.ping(false) }, false, []int{0, 0, 0, 5, 5}},
		"refused": {func(w *walk) {
			for i := range 5 {
				w.say(i, checker.Down, outcome.Refused)
			}
		}, func(w *walk) { w.ping(false) }, false, []int{0, 0, 0, 0, 0}},
		"status and timeout": {func(w *walk) {
			for i, reason := range []outcome.Reason{outcome.Timeout, outcome.Timeout, outcome.Timeout, outcome.Status, outcome.Reset} {
				w.say(i, checker.Down, reason)
			}
		}, func(w *walk) { w.ping(false) }, false, []int{0, 0, 0, 0, 0}},
		"one after the other": {func(w *walk) {
			for i := range 5 {
				w.say(i, checker.Down, outcome.Timeout)
				w.decide(10 * time.Second)
				w.ping(true) // of the last one all that was left has failed: it is asked about
			}
		}, func(w *walk) { w.ping(true) }, false, []int{0, 0, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			w := guarded(t, 5, nil)
			c.fail(w)
			w.decide(0)
			if c.asks {
				w.state(GuardProbing)
			}
			w.in.Now = w.in.Now.Add(300 * time.Millisecond)
			c.answer(w)
			w.weights(0, c.want...)
			w.state(GuardWatching)
			since := w.plan.Guard.Since
			w.decide(10 * time.Millisecond)
			if w.plan.Guard.Since != since {
				t.Error("what was judged is asked about again")
			}
		})
	}
}

// TestGuardTakesTheEarlyOnesBack: failures of one path are noticed one after the other
// within an interval; those before the share was reached are reverted.
func TestGuardTakesTheEarlyOnesBack(t *testing.T) {
	w := guarded(t, 5, nil)
	w.say(0, checker.Down, outcome.Timeout)
	w.weights(0, 0, 5, 5, 5, 5)
	w.ping(false)
	for i := 1; i < 4; i++ {
		w.in.Now = w.in.Now.Add(500 * time.Millisecond)
		w.say(i, checker.Down, outcome.Unreachable)
	}
	w.ping(false)
	w.weights(0, 5, 5, 5, 5, 5)
	w.state(GuardFrozen)
}

// TestGuardCountsWhatIsAboutToFail: with checks of different speed the slow
// ones have a failure against them when the first ones are down.
func TestGuardCountsWhatIsAboutToFail(t *testing.T) {
	w := guarded(t, 5, nil)
	for i := range 5 {
		w.say(i, checker.Down, outcome.Timeout)
	}
	svc := w.in.Config.Services[0]
	for i := 1; i < 5; i++ {
		id := ServerID(svc, svc.RealServers[i])
		h := w.in.Health[id]
		h.State, h.Checks[0].State, h.Checks[0].InARow = checker.Up, checker.Up, 1
		w.in.Health[id] = h
	}
	w.ping(false)
	w.weights(0, 5, 5, 5, 5, 5)
	w.state(GuardFrozen)
}

// TestGuardsWindowIsThatOfTheFailing: a check that is slow somewhere else does
// not make old failures fresh; a slow one among the failing does.
func TestGuardsWindowIsThatOfTheFailing(t *testing.T) {
	for slowFails, want := range map[bool][]int{false: {0, 0, 0, 5, 5, 0}, true: {5, 5, 5, 5, 5, 5}} {
		w := guarded(t, 6, nil)
		w.in.Config.Services[0].RealServers[5].Checks[0].Interval = time.Minute
		if !slowFails { // elsewhere, and down for another reason
			w.say(5, checker.Down, outcome.Refused)
			w.decide(0)
		}
		for i := range 3 {
			w.say(i, checker.Down, outcome.Timeout)
			w.decide(10 * time.Second) // longer than a round of theirs
		}
		w.in.Now = w.in.Now.Add(10 * time.Second)
		w.ping(false)
		for i := 3; i < 5; i++ {
			w.say(i, checker.Down, outcome.Timeout)
		}
		if slowFails {
			w.say(5, checker.Down, outcome.Timeout)
		}
		w.weights(0, want...)
		w.state(GuardFrozen)
	}
}

func TestGuardIsPatientForOnePing(t *testing.T) {
	w := guarded(t, 2, nil)
	old := w.in.Now.Add(-time.Second)
	for i := range 2 {
		w.say(i, checker.Down, outcome.Timeout)
	}
	w.pingAt(true, old) // sent before it: no answer
	w.weights(0, 5, 5)
	w.weights(guardPatience-1, 5, 5)
	w.state(GuardProbing)
	w.weights(1, 5, 5)
	w.state(GuardFrozen)
	if w.plan.Next.IsZero() {
		t.Error("a frozen guard looks at no ping again")
	}
}

func TestGuardEndsWhenServersAnswer(t *testing.T) {
	w := guarded(t, 5, nil)
	for i := range 5 {
		w.say(i, checker.Down, outcome.Timeout)
	}
	w.ping(false)
	w.weights(0, 5, 5, 5, 5, 5)
	w.state(GuardFrozen)
	w.up(0)
	w.weights(time.Second, 5, 5, 5, 5, 5)
	w.state(GuardFrozen) // 4 of 5 are still the share
	w.up(1)
	w.decide(time.Second)
	w.state(GuardRecovering)
	if w.plan.Guard.Why != "2 of 5 servers reply" {
		t.Error(w.plan.Guard.Why)
	}
	for i := range 5 {
		w.say(i, checker.Down, outcome.Timeout)
	}
	w.in.Now = w.in.Now.Add(time.Second)
	w.ping(false)
	w.weights(0, 5, 5, 5, 5, 5) // the path is gone again before the others were found
	w.state(GuardFrozen)
}

// TestGuardNeverLifts: a manual drain and maint also hold while frozen, and what was
// down before stays down.
func TestGuardNeverLifts(t *testing.T) {
	w := guarded(t, 6, nil)
	w.down(0)
	w.say(5, checker.Down, outcome.Timeout)
	w.decide(time.Minute)
	w.decide(time.Minute)
	for i := 1; i < 5; i++ {
		w.say(i, checker.Down, outcome.Timeout)
	}
	w.ping(false)
	w.weights(0, 0, 5, 5, 5, 5, 0)
	w.state(GuardFrozen)
	w.in.Config.Services[0].RealServers[1].Weight = 0
	svc := w.in.Config.Services[0]
	h := w.in.Health[ServerID(svc, svc.RealServers[2])]
	h.Maint = true
	w.in.Health[ServerID(svc, svc.RealServers[2])] = h
	w.up(0)
	w.weights(time.Second, 0, 0, 0, 5, 5, 0)
	w.in.Config.Guard = nil // a reload turns it off
	w.weights(time.Second, 5, 0, 0, 0, 0, 0)
	w.state(GuardOff)
}

// TestGuardAbovePanicAndDamping: frozen health counts as a failure nowhere.
func TestGuardAbovePanicAndDamping(t *testing.T) {
	w := guarded(t, 3, func(s *config.Service) {
		s.PanicThreshold, s.FlapDamping, s.SlowStart = 50, true, time.Minute
		s.Fallback, s.FallbackForward = sorry, "local"
	})
	w.decide(time.Hour) // the ramps of the start are over
	for range 3 {
		for i := range 3 {
			w.say(i, checker.Down, outcome.Timeout)
		}
		w.ping(false)
		w.weights(0, 5, 5, 5)
		w.state(GuardFrozen)
		if svc := w.plan.Services[0]; svc.Panic || svc.Fallback.Active {
			t.Errorf("panic %v, fallback %v", svc.Panic, svc.Fallback.Active)
		}
		w.in.Now = w.in.Now.Add(time.Second)
		w.ping(true)
		w.decide(0)
		for i := range 3 {
			w.up(i)
		}
		w.weights(time.Second, 5, 5, 5)
		w.decide(time.Minute)
	}
}

func TestWitnessesAreTargets(t *testing.T) {
	if got := WitnessTargets(nil); got != nil {
		t.Errorf("%+v", got)
	}
	got := WitnessTargets(&config.Guard{Witnesses: []netip.Addr{witness}})
	if len(got) != 1 || got[0].ID != WitnessID(witness) || got[0].Checks[0].Type != "ping" || got[0].Checks[0].Address.Addr() != witness {
		t.Errorf("%+v", got)
	}
}
