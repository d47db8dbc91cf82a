package checker

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
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
		if h.UncheckedSince.IsZero() || h.Checks[0].UncheckedSince != h.UncheckedSince || time.Since(h.UncheckedSince) < 4*time.Second || h.UncheckedWhy != "connect: local it is" || h.State != Up {
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

// A probe that waits for others to end reports nothing meanwhile. A check without a result
// for as long as failures would take is unchecked, until a probe starts in time again.
func TestUncheckedWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		busy, waits := one(1), one(2)
		busy.Checks[0].Timeout = time.Hour
		waits.Checks[0].Type = probe.TypeExec
		r.set(t, waits, one(3))
		r.start(t)
		wait(time.Millisecond)
		waiting := make(chan struct{})
		r.net.script(checktest.Addr(2), func(_ context.Context, deadline time.Time) outcome.Outcome {
			start := time.Now()
			<-waiting
			out := outcome.NewOutcome(outcome.OK, outcome.PhaseRun, "")
			out.Waited = time.Since(start)
			return out
		})
		before := r.wakeups()
		wait(7 * time.Second) // the fall and the timeout, less what the first interval lacked
		if h := r.Health()[id(2)]; !h.UncheckedSince.IsZero() || r.wakeups() != before {
			t.Errorf("after 7 s: %+v, %d wake-ups", h, r.wakeups()-before)
		}
		wait(4 * time.Second)
		h := r.Health()[id(2)]
		if late := time.Since(h.UncheckedSince); late < 7*time.Second || late > 12*time.Second || !strings.Contains(h.UncheckedWhy, "exec_parallel") || h.State != Up {
			t.Errorf("after 11 s: %+v", h)
		}
		if h := r.Health()[id(3)]; !h.UncheckedSince.IsZero() || r.wakeups() != before+1 {
			t.Errorf("another: %+v, %d wake-ups", h, r.wakeups()-before)
		}
		waiting <- struct{}{} // late, and so will be the next
		wait(5 * time.Second)
		if now := r.Health()[id(2)]; !now.UncheckedSince.Equal(h.UncheckedSince) {
			t.Errorf("after a late result: %+v", now)
		}
		r.net.set(checktest.Addr(2), outcome.OK)
		close(waiting)
		wait(4 * time.Second)
		if h := r.Health()[id(2)]; !h.UncheckedSince.IsZero() || r.wakeups() != before+2 {
			t.Errorf("in time again: %+v, %d wake-ups", h, r.wakeups()-before)
		}

		r.Engine.o.MaxProbes = 1 // and one hangs
		r.net.hang(checktest.Addr(1))
		r.set(t, busy, one(3))
		wait(15 * time.Second)
		if h := r.Health()[id(3)]; !strings.Contains(h.UncheckedWhy, "open files") {
			t.Errorf("held back: %+v", h)
		}
	})
}

// After the whole process did not run, every probe is late, and none is to blame.
func TestUncheckedNotAfterAStall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var stall atomic.Bool
		r.Engine.o.ObserveLag = func(time.Duration) {
			if stall.Swap(false) {
				time.Sleep(time.Minute) // of the bubble: the engine's own goroutine stands still
			}
		}
		r.set(t, one(1), one(2))
		r.start(t)
		wait(time.Minute)
		before := r.wakeups()
		stall.Store(true)
		wait(2 * time.Minute)
		if n := r.wakeups() - before; stall.Load() || n != 0 {
			t.Errorf("%d wake-ups", n)
		}
	})
}
