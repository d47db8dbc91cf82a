package decision

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/config"
)

// again is a decision after a restart.
func again(t testing.TB, p *Decision, now time.Time) *Decision {
	t.Helper()
	text, err := p.Save()
	if err != nil {
		t.Fatal(err)
	}
	out, err := Restore(text, now)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestARestartChangesNoDecision continues a random history with the decision before,
// and with its state after a restart: the weights, their causes and the age of these
// are the same.
func TestARestartChangesNoDecision(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWalk(t, servers(1+r.IntN(4), 20, func(s *config.Service) {
			s.Quorum, s.Hysteresis = 20, r.IntN(30)
			if r.IntN(2) == 0 {
				s.SlowStart = time.Minute
			}
			s.FlapDamping = r.IntN(2) == 0
			if r.IntN(2) == 0 {
				s.Fallback, s.FallbackForward = sorry, "local"
			}
			s.PanicThreshold = r.IntN(2) * 50
			if r.IntN(3) == 0 {
				s.RealServers[0].DrainUntil = start.Add(time.Duration(r.IntN(100)) * time.Second)
			}
		}), nil)
		for range 30 {
			switch n := r.IntN(len(w.in.Config.Services[0].RealServers)); r.IntN(3) {
			case 0:
				w.up(n)
			case 1:
				w.down(n)
			}
			if w.in.Before != nil {
				restarted := w.in
				restarted.Before = again(t, w.in.Before, w.in.Now)
				straight := w.in
				straight.Now = straight.Now.Add(time.Second)
				restarted.Now = straight.Now
				if a, b := shown(t, Decide(straight)), shown(t, Decide(restarted)); a != b {
					t.Fatalf("seed %d: without a restart\n%s\nwith one\n%s", seed, a, b)
				}
			}
			w.decide(time.Duration(r.IntN(20)) * time.Second)
		}
	}
}

// shown is all that a decision shows.
func shown(t testing.TB, p Decision) string {
	t.Helper()
	var b strings.Builder
	for _, s := range p.Services {
		for _, rs := range s.Servers {
			text, err := json.Marshal([]any{rs.Weight, rs.InTable, rs.Causes, rs.ramp.carries, rs.ramp.since.UTC(), rs.flaps.falls, rs.flaps.until.UTC(), rs.flaps.resetAt.UTC()})
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(text, '\n'))
		}
		text, err := json.Marshal([]any{s.Up, s.AvailableWeight, s.Panic, s.PanicSince, s.Fallback})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(text, '\n'))
	}
	return strings.ReplaceAll(b.String(), "+00:00", "Z") + p.Next.UTC().String()
}

// TestUntilTheFirstResultTheKernelHolds: the saved state restores no health, only the
// reason of the weight. The first result is a new reason.
func TestUntilTheFirstResultTheKernelHolds(t *testing.T) {
	w := newWalk(t, servers(2, 3, nil), nil)
	w.up(0)
	w.down(1)
	w.weights(0, 3, 0)
	w.in.Before, w.in.Health = again(t, w.in.Before, w.in.Now), map[checker.ID]checker.Health{}
	w.weights(time.Minute, 3, 0)
	for i, want := range []string{"before the restart: up, weight 3 in the file", "before the restart: down, http refused"} {
		pending := w.plan.Services[0].Servers[i].Causes[1]
		if pending.Kind != CausePending || !strings.Contains(pending.Text, want) || !strings.Contains(pending.Text, " since 1970-") {
			t.Errorf("server %d: %+v, want %q", i, pending, want)
		}
	}
	w.in.Before = again(t, w.in.Before, w.in.Now) // once more, before any result
	w.weights(time.Minute, 3, 0)
	if text := w.plan.Services[0].Servers[1].Causes[1].Text; strings.Count(text, "before the restart") != 1 || !strings.Contains(text, "down, http refused") {
		t.Errorf("after two restarts: %s", text)
	}
	w.up(1)
	w.weights(0, 3, 3)
	for _, c := range w.plan.Services[0].Servers[1].Causes {
		if strings.Contains(c.Text, "restart") {
			t.Errorf("after its first result: %s", c.Text)
		}
	}
}

// TestRestoredMomentsArePast: a clock that was set back delays nothing.
func TestRestoredMomentsArePast(t *testing.T) {
	w := newWalk(t, servers(1, 20, func(s *config.Service) { s.SlowStart = time.Minute }), nil)
	w.up(0)
	w.decide(24 * time.Hour)
	back := again(t, w.in.Before, start)
	w.in.Before, w.in.Now = back, start
	w.weights(0, 1)
	w.weights(time.Minute, 20)
	if since := back.Services[0].Servers[0].Causes[0].Since; since.After(start) {
		t.Errorf("a cause holds since %v", since)
	}
}

func FuzzRestore(f *testing.F) {
	w := newWalk(&testing.T{}, servers(2, 3, func(s *config.Service) { s.FlapDamping, s.SlowStart = true, time.Minute }), nil)
	w.up(0)
	w.down(1)
	w.decide(0)
	text, err := w.plan.Save()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"services":[{"real_servers":[{"address":"10.0.1.1:80","causes":[{}],"damping":{"falls":-5,"until":"9999-01-01T00:00:00Z"}}]}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		before, err := Restore(text, start)
		if err != nil {
			return
		}
		w := newWalk(t, servers(2, 3, func(s *config.Service) { s.FlapDamping, s.SlowStart = true, time.Minute }), nil)
		w.in.Before = before
		w.up(0)
		w.decide(0)
		w.weights(2*maxHoldDown, 3, 0)
	})
}

// TestAgentReportsOutliveRestarts: also a restart before the first result.
func TestAgentReportsOutliveRestarts(t *testing.T) {
	w := newWalk(t, servers(1, 3, nil), nil)
	server := w.in.Config.Services[0].RealServers[0]
	id := ServerID(w.in.Config.Services[0], server)
	w.in.Health = map[checker.ID]checker.Health{id: {State: checker.Up, Weight: 100, Drain: true}}
	w.decide(time.Second)
	for restart := range 3 {
		w.in.Before = again(t, w.in.Before, w.in.Now)
		if got, want := w.in.Before.AgentReports()[id], (Agent{Weight: 100, Drain: true}); got != want {
			t.Fatalf("restart %d: %+v", restart, got)
		}
		w.in.Health = nil
		w.decide(time.Second)
	}
	w.in.Health = map[checker.ID]checker.Health{id: {State: checker.Up, Weight: 100}}
	w.decide(time.Second)
	if got := again(t, w.in.Before, w.in.Now).AgentReports(); len(got) != 0 {
		t.Errorf("the agent took it back: %+v", got)
	}
}
