package checker

import (
	"context"
	"errors"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"sync/atomic"
	"testing"
	"time"
)

// TestPathThatDidNotStand: a result that came by a broken path changes no state in
// either direction; and a result that would not change the state is not checked.
func TestPathThatDidNotStand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var asked atomic.Int32
		var gone atomic.Bool
		r.o.PathFault = func(_ context.Context, mark uint32, since time.Time) error {
			asked.Add(1)
			time.Sleep(300 * time.Millisecond) // of the bubble's time: the kernel's answer takes a while
			if mark != 7 || time.Since(since) > 5*time.Second {
				t.Errorf("asked for mark %d, %v ago", mark, time.Since(since))
			}
			if gone.Load() {
				return errors.New("the kernel has no path to it")
			}
			return nil
		}
		led := one(1)
		led.Checks[0].MarkPath, led.Checks[0].Mark = true, 7
		r.set(t, led, one(2))
		r.start(t)
		wait(20 * time.Second)
		if h := r.Health()[id(1)]; h.State != Up || asked.Load() != 1 {
			t.Fatalf("%+v, asked %d times", h, asked.Load())
		}

		gone.Store(true)
		r.net.set(checktest.Addr(1), outcome.Refused)
		r.net.set(checktest.Addr(2), outcome.Refused)
		wait(20 * time.Second)
		h := r.Health()[id(1)]
		if h.State != Up || h.InARow != 0 || h.Checks[0].Last.Reason != outcome.Local || h.Checks[0].Last.Detail != "the kernel has no path to it" {
			t.Errorf("without its path: %+v", h)
		}
		if got := r.Health()[id(2)]; got.State != Down {
			t.Errorf("a plain probe: %+v", got)
		}
		gone.Store(false)
		wait(10 * time.Second)
		if h := r.Health()[id(1)]; h.State != Down || h.Cause != "connect refused, 3 of 3" {
			t.Errorf("with its path: %+v", h)
		}
		before := asked.Load()
		wait(20 * time.Second)
		if n := asked.Load(); n != before {
			t.Errorf("asked %d times for what is known", n-before)
		}
		gone.Store(true) // and another server answers
		r.net.set(checktest.Addr(1), outcome.OK)
		wait(20 * time.Second)
		if h := r.Health()[id(1)]; h.State != Down {
			t.Errorf("another's answer: %+v", h)
		}
	})
}

// TestStopWhileAsked: the engine's end does not wait for the answer.
func TestStopWhileAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.o.PathFault = func(ctx context.Context, _ uint32, _ time.Time) error { <-ctx.Done(); return ctx.Err() }
		led := one(1)
		led.Checks[0].MarkPath, led.Checks[0].Mark = true, 7
		r.set(t, led)
		r.start(t)
		wait(time.Second)
		r.stop()
		if h := r.Health()[id(1)]; h.State != Unknown {
			t.Errorf("%+v", h)
		}
	})
}
