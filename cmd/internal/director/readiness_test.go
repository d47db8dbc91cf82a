package director

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/checker"
	"lvsd/vrrp"
)

func TestSettled(t *testing.T) {
	since := time.Unix(1000, 0)
	probe := func(at time.Time) []checker.CheckHealth {
		return []checker.CheckHealth{{Type: checker.TypeConnect, Last: checker.Result{At: at}}}
	}
	before, after := since.Add(-time.Second), since.Add(time.Second)
	for name, c := range map[string]struct {
		h    checker.Health
		want bool
	}{
		"nothing known":             {checker.Health{}, false},
		"up before the fault":       {checker.Health{Verdict: checker.Up, Checks: probe(before)}, false},
		"up, seen again":            {checker.Health{Verdict: checker.Up, Checks: probe(after)}, true},
		"down, seen again":          {checker.Health{Verdict: checker.Down, Checks: probe(after)}, true},
		"down, about to come back":  {checker.Health{Verdict: checker.Down, InARow: 1, Checks: probe(after)}, false},
		"one of two not seen again": {checker.Health{Verdict: checker.Up, Checks: append(probe(after), probe(before)...)}, false},
		"on is never probed":        {checker.Health{Verdict: checker.Up, Checks: []checker.CheckHealth{{Type: checker.TypeOn}}}, true},
	} {
		if got := settled(since, c.h); got != c.want {
			t.Errorf("%s: settled %v, want %v", name, got, c.want)
		}
	}
	services := []ServicePlan{{Servers: []ServerPlan{{}}}}
	if got := notReady(after, since, services, nil); !strings.Contains(got, "1 real server") {
		t.Errorf("an unknown server: %q", got)
	}
	if got := notReady(since.Add(readinessLimit), since, services, nil); got != "" {
		t.Errorf("after the limit: %q", got)
	}
}

// TestOnlyAReadyDirectorPreempts walks through a start, a fault and its end.
func TestOnlyAReadyDirectorPreempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withElection(5, "eth0")
		c.Elections[0].Preempt = true
		r := newRig(t, c)
		defer r.stop()
		engine := r.elections.running[0].engine.(*fakeElection)
		preempts := func() bool {
			engine.mu.Lock()
			defer engine.mu.Unlock()
			return engine.config.Preempt
		}
		settle := func() { time.Sleep(time.Second); synctest.Wait() }
		if preempts() || r.waiting() == "" {
			t.Error("ready before the kernel was read")
		}
		r.table.read(kernelWith(5))
		r.Wake()
		settle()
		if preempts() {
			t.Error("ready without a verdict")
		}
		r.checker.set(checker.Health{Verdict: checker.Up, Checks: []checker.CheckHealth{{Type: checker.TypeConnect, Last: checker.Result{At: time.Now()}}}})
		settle() // no wake: a probe that changes nothing tells nobody
		if !preempts() || r.waiting() != "" {
			t.Errorf("not ready with all checks in: %q", r.waiting())
		}
		engine.setState(vrrp.Fault)
		r.Wake()
		settle()
		if preempts() {
			t.Error("ready in a fault")
		}
		engine.setState(vrrp.Backup)
		r.Wake()
		settle()
		if preempts() {
			t.Error("ready with what was probed before the fault's end")
		}
		r.checker.set(checker.Health{Verdict: checker.Up, Checks: []checker.CheckHealth{{Type: checker.TypeConnect, Last: checker.Result{At: time.Now()}}}})
		settle()
		if !preempts() {
			t.Error("not ready with all checks in after the fault")
		}
	})
}
