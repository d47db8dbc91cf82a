package decision

import (
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/checker/outcome"
	"lvsd/config"
	"lvsd/ipvs"
)

var start = time.Unix(1_000_000, 0)

// after returns a moment after the start.
func after(d time.Duration) time.Time { return start.Add(d) }

func TestRampRisesInSteps(t *testing.T) {
	const over = time.Minute
	r := ramp{}.observe(true, false, over, start)
	for _, c := range []struct {
		at   time.Duration
		want int
	}{
		{-time.Second, 5}, {0, 5}, {3 * time.Second, 5}, {6*time.Second - 1, 5}, {6 * time.Second, 10}, {30 * time.Second, 50},
		{over - 1, 95}, {over, 100}, {time.Hour, 100},
	} {
		if got := r.percent(over, after(c.at)); got != c.want {
			t.Errorf("%v: %d %%, want %d", c.at, got, c.want)
		}
	}
}

// TestRampIsWalkedByItsDeadlines: from deadline to deadline the share rises
// each time, reaches everything, and that in at most rampSteps steps.
func TestRampIsWalkedByItsDeadlines(t *testing.T) {
	for _, over := range []time.Duration{1, 19, time.Millisecond, time.Second, 7 * time.Second / 3, time.Minute, time.Hour} {
		now, last, steps := start, 0, 0
		r := ramp{}.observe(true, false, over, now)
		for {
			p := r.percent(over, now)
			if p <= last && steps > 0 && p != 100 {
				t.Fatalf("%v: from %d to %d %% at step %d", over, last, p, steps)
			}
			last = p
			next := r.next(over, now)
			if next.IsZero() {
				break
			}
			if !next.After(now) || steps > rampSteps {
				t.Fatalf("%v: step %d at %v leads to %v", over, steps, now, next)
			}
			now, steps = next, steps+1
		}
		if last != 100 || steps > rampSteps || now.Sub(start) > over {
			t.Errorf("%v: %d %% after %d steps and %v", over, last, steps, now.Sub(start))
		}
	}
}

func TestShareIsNeverNothing(t *testing.T) {
	for _, c := range []struct{ weight, percent, want int }{
		{1, 5, 1}, {100, 5, 5}, {100, 100, 100}, {3, 50, 1}, {0, 50, 0}, {7, 0, 0}, {65535, 95, 62258},
	} {
		if got := share(c.weight, c.percent); got != c.want {
			t.Errorf("%d %% of %d: %d, want %d", c.percent, c.weight, got, c.want)
		}
	}
}

// walk is one service over time: each step changes the inputs and checks the decision.
type walk struct {
	t    *testing.T
	in   Inputs
	plan Decision
}

func newWalk(t *testing.T, c *config.Config, kernel ipvs.Table) *walk {
	return &walk{t: t, in: Inputs{Now: start, Config: c, Kernel: kernel, Health: map[checker.ID]checker.Health{}}}
}

// say sets the result of the checks of the n-th server.
func (w *walk) say(n int, v checker.State, reason outcome.Reason) {
	h := map[checker.ID]checker.Health{}
	for id, was := range w.in.Health {
		h[id] = was
	}
	svc := w.in.Config.Services[0]
	check := checker.CheckHealth{Type: "http", State: v, Last: outcome.Result{At: w.in.Now, Reason: reason}}
	h[ServerID(svc, svc.RealServers[n])] = checker.Health{State: v, Since: w.in.Now, Reason: reason, Weight: 100,
		Cause: "http " + string(reason), Checks: []checker.CheckHealth{check}}
	w.in.Health = h
}

func (w *walk) up(n int)   { w.say(n, checker.Up, outcome.OK) }
func (w *walk) down(n int) { w.say(n, checker.Down, outcome.Refused) }

// drain is up with a weight of 0 by the server's agent.
func (w *walk) drain(n int) {
	w.up(n)
	svc := w.in.Config.Services[0]
	id := ServerID(svc, svc.RealServers[n])
	h := w.in.Health[id]
	h.Weight = 0
	w.in.Health[id] = h
}

// decide decides after some time, and then what it decided is in the kernel.
func (w *walk) decide(wait time.Duration) Service {
	w.in.Now = w.in.Now.Add(wait)
	w.plan = Decide(w.in)
	before := w.plan
	w.in.Before, w.in.Kernel = &before, w.plan.Desired.Table
	return w.plan.Services[0]
}

// weights checks the effective weights, -1 for what is left out.
func (w *walk) weights(wait time.Duration, want ...int) {
	w.t.Helper()
	svc := w.decide(wait)
	for i, s := range svc.Servers {
		got := s.Weight
		if !s.InTable {
			got = -1
		}
		if got != want[i] {
			w.t.Errorf("%v: weight %d of server %d, want %d: %s", w.in.Now.Sub(start), got, i, want[i], s.Why().Text)
		}
	}
}

func servers(n, weight int, change func(*config.Service)) *config.Config {
	c := oneServer(weight, nil)
	svc := &c.Services[0]
	svc.RealServers = nil
	for i := range n {
		svc.RealServers = append(svc.RealServers, config.RealServer{Address: server(i + 1), Weight: weight, Forward: "dr",
			Checks: []config.Check{{CheckSettings: &config.CheckSettings{Type: "http", Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}}}})
	}
	if change != nil {
		change(svc)
	}
	return c
}

func TestSlowStartOfAServerThatCameBack(t *testing.T) {
	slow := func(s *config.Service) { s.SlowStart = time.Minute }
	w := newWalk(t, servers(1, 100, slow), kernelWith(100))
	w.weights(0, 100) // nothing known: as the kernel has it
	w.up(0)
	w.weights(time.Second, 100) // the kernel had it already
	w.down(0)
	w.weights(time.Second, 0)
	w.up(0)
	w.weights(time.Second, 5)
	if svc := w.plan.Services[0]; !svc.Up || svc.AvailableWeight != 100 || svc.Servers[0].Why().Kind != CauseSlowStart {
		t.Errorf("a server that ramps up: up %v, alive %d, %+v", svc.Up, svc.AvailableWeight, svc.Servers[0].Why())
	}
	began := w.in.Now
	w.weights(30*time.Second, 50)
	if got := w.plan.Services[0].Servers[0].Why(); got.Since != began || got.Text != "slow start 50 % of 1m0s" {
		t.Errorf("%+v", got)
	}
	w.in.Config = servers(1, 200, slow) // a reload keeps the ramp, of the new weight
	w.weights(0, 100)
	w.in.Config = servers(1, 200, func(s *config.Service) { s.SlowStart = 2 * time.Minute })
	w.weights(0, 50)
	w.weights(90*time.Second, 200)
	if !w.plan.Next.IsZero() {
		t.Errorf("a ramp that ended wakes the loop at %v", w.plan.Next)
	}
	w.in.Config = servers(1, 200, func(s *config.Service) { s.SlowStart = time.Hour })
	w.weights(time.Second, 200) // and stays ended
}

func TestSlowStartOfANewServer(t *testing.T) {
	w := newWalk(t, servers(1, 100, func(s *config.Service) { s.SlowStart = time.Minute }), nil)
	w.weights(0, 0)
	w.up(0)
	w.weights(time.Second, 5)
	w.in.Config.Services[0].RealServers[0].Weight = 0
	w.weights(time.Second, 0)
	w.in.Config.Services[0].RealServers[0].Weight = 100
	w.weights(time.Hour, 5) // the end of a drain is a return, too
}

// TestARampWritesLittle walks from deadline to deadline: at most rampSteps
// weights are written.
func TestARampWritesLittle(t *testing.T) {
	w := newWalk(t, servers(1, 1000, func(s *config.Service) { s.SlowStart = 10 * time.Minute }), nil)
	w.decide(0)
	w.up(0)
	last, writes := 0, 0
	for {
		if got := w.decide(0).Servers[0].Weight; got != last {
			last, writes = got, writes+1
		}
		if w.plan.Next.IsZero() {
			break
		}
		w.in.Now = w.plan.Next
	}
	if last != 1000 || writes > rampSteps || w.in.Now != after(10*time.Minute) {
		t.Errorf("weight %d after %d writes, at %v", last, writes, w.in.Now.Sub(start))
	}
}
