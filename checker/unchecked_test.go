package checker

import (
	"context"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"testing"
	"time"
)

// fixed returns a script of a server whose probes all end in one outcome.
func fixed(out outcome.Outcome) func(context.Context, time.Time) outcome.Outcome {
	return func(context.Context, time.Time) outcome.Outcome { return out }
}

func (r *rig) wakeups() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wakes
}

// A check that cannot be made here for as long as failures would take is reported, and
// the state stays. It is a wake-up each way.
func TestUnchecked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.set(t, one(1))
		r.start(t)
		wait(time.Millisecond)
		r.net.set(checktest.Addr(1), outcome.Local)
		before := r.wakeups()
		wait(4 * time.Second) // two probes
		if h := r.Health()[id(1)]; !h.UncheckedSince.IsZero() || r.wakeups() != before {
			t.Errorf("after two: %+v, %d wake-ups", h, r.wakeups()-before)
		}
		wait(2 * time.Second)
		h := r.Health()[id(1)]
		if h.UncheckedSince.IsZero() || time.Since(h.UncheckedSince) < 4*time.Second || h.UncheckedWhy != "connect: local it is" || h.State != Up {
			t.Errorf("after three: %+v", h)
		}
		if n := r.wakeups() - before; n != 1 {
			t.Errorf("%d wake-ups", n)
		}
		wait(4 * time.Second)
		preview, err := r.Preview([]Target{one(1)})
		if got := preview.Health[id(1)]; err != nil || !got.UncheckedSince.Equal(h.UncheckedSince) || r.wakeups() != before+1 {
			t.Errorf("later: %+v, %v, %d wake-ups", got, err, r.wakeups()-before)
		}
		r.net.set(checktest.Addr(1), outcome.OK)
		wait(2 * time.Second)
		if h := r.Health()[id(1)]; !h.UncheckedSince.IsZero() || h.UncheckedWhy != "" || r.wakeups() != before+2 {
			t.Errorf("checked again: %+v, %d wake-ups", h, r.wakeups()-before)
		}
	})
}

// What does not exist is reported at once.
func TestUncheckedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.set(checktest.Addr(1), outcome.DNS)
		r.net.script(checktest.Addr(2), fixed(outcome.NewOutcome(outcome.Local, outcome.PhaseRun, "no such file")))
		r.net.set(checktest.Addr(3), outcome.Local)
		r.set(t, one(1), one(2), one(3))
		r.start(t)
		wait(time.Millisecond)
		for i, want := range map[int]string{1: "connect: dns it is", 2: "connect: no such file", 3: ""} {
			if h := r.Health()[id(i)]; h.UncheckedWhy != want || h.State != Unknown {
				t.Errorf("%d: %+v", i, h)
			}
		}
	})
}
