package checker

import (
	"context"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"sync"
	"testing"
	"time"
)

// gauge counts probes in progress.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) add(n int) {
	g.mu.Lock()
	g.now += n
	g.most = max(g.most, g.now)
	g.mu.Unlock()
}

// First probes of thousands of servers are paced by those in progress: as they end, and by
// time where they hang.
func TestFirstProbesArePaced(t *testing.T) {
	for _, tt := range []struct {
		name string
		took time.Duration // of a probe
		most int           // in progress
		end  time.Duration // when the last one has started
	}{
		{"servers that answer", 10 * time.Millisecond, maxFirst + 20, 200 * time.Millisecond},
		{"servers that hang", time.Second, maxFirst + 1000, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const servers = 2000
				r, inflight := newRig(t), &gauge{}
				var targets []Target
				for i := range servers {
					r.net.script(checktest.Addr(i), func(ctx context.Context, _ time.Time) outcome.Outcome {
						inflight.add(1)
						defer inflight.add(-1)
						time.Sleep(tt.took)
						return outcome.NewOutcome(outcome.OK, outcome.PhaseConnect, "")
					})
					target := one(i)
					target.Checks[0].Interval, target.Checks[0].Timeout = time.Hour, 2*time.Second
					targets = append(targets, target)
				}
				start := time.Now()
				r.set(t, targets...)
				r.start(t)
				wait(5 * time.Second)
				latest := time.Duration(0)
				for i := range servers {
					times := r.net.times(checktest.Addr(i))
					if len(times) == 0 {
						t.Fatalf("server %d was not probed", i)
					}
					latest = max(latest, times[0].Sub(start))
				}
				if inflight.most > tt.most || latest > tt.end {
					t.Errorf("%d in progress, the last started after %v; want at most %d and %v", inflight.most, latest, tt.most, tt.end)
				}
			})
		})
	}
}

// A first probe that fails is repeated soon, once.
func TestFirstFailureIsRepeatedSoon(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		target := one(1)
		target.Checks[0].Interval = time.Minute
		r.net.set(checktest.Addr(1), outcome.Refused)
		r.set(t, target)
		r.start(t)
		wait(firstRetry)
		if times := r.net.times(checktest.Addr(1)); len(times) != 2 || times[1].Sub(times[0]) != firstRetry {
			t.Errorf("probes at %v", times)
		}
		wait(firstRetry)
		if times := r.net.times(checktest.Addr(1)); len(times) != 2 {
			t.Errorf("probes at %v", times)
		}
	})
}

// What the agent reported before the engine knew its server is valid until it reports
// something else.
func TestReportOfBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		target := one(1)
		target.Checks[0].Type = probe.TypeAgent
		target.Report = &outcome.AgentReport{Weight: 100, Drain: true}
		plain := one(2)
		plain.Report = target.Report
		r.net.hang(checktest.Addr(1))
		r.set(t, target, plain)
		if h := r.Health()[id(1)]; !h.Drain || h.Weight != 100 {
			t.Errorf("before the first result: %+v", h)
		}
		if h := r.Health()[id(2)]; h.Drain {
			t.Errorf("a check that is no agent's: %+v", h)
		}
		r.start(t)
		wait(time.Minute)
		target.Report = nil
		r.set(t, target)
		if h := r.Health()[id(1)]; !h.Drain {
			t.Errorf("after failures and a reload: %+v", h)
		}
		r.net.setReport(checktest.Addr(1), outcome.NoReport)
		wait(3 * time.Second)
		if h := r.Health()[id(1)]; h.Drain {
			t.Errorf("after another report: %+v", h)
		}
	})
}
