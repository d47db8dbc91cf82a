// A watchdog for the machine itself. A guest's kernel stalls when the host machine is
// busy, and a test of milliseconds must take that into account: the stalls are
// measured, and a verdict that depends on them is logged, instead of trying again.

package lab

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// stallTick is how often the watchdog wakes.
	stallTick = 5 * time.Millisecond
	// stallMin is the shortest delay that counts: a shorter one is a busy processor, which
	// the limits of the tests allow for.
	stallMin = 50 * time.Millisecond
	// stallKeep bounds how many stalls are remembered.
	stallKeep = 100_000
)

// stall is a time in which the watchdog should have run and did not.
type stall struct{ from, to time.Time }

// stalls are the stalls that the watchdog found, in order.
var stalls struct {
	mu   sync.Mutex
	labs int // how many are open; the watchdog runs while there is one
	stop chan struct{}
	seen []stall
}

// watchStalls starts the watchdog with the first lab of this process, and the returned
// function ends it with the last. It has a thread of its own, so that a busy test delays
// it as little as possible.
func watchStalls() (end func()) {
	stalls.mu.Lock()
	defer stalls.mu.Unlock()
	if stalls.labs++; stalls.labs == 1 {
		stalls.stop = make(chan struct{})
		go recordStalls(stalls.stop)
	}
	return func() {
		stalls.mu.Lock()
		defer stalls.mu.Unlock()
		if stalls.labs--; stalls.labs == 0 {
			close(stalls.stop)
		}
	}
}

func recordStalls(stop <-chan struct{}) {
	runtime.LockOSThread()
	ticks := time.NewTicker(stallTick)
	defer ticks.Stop()
	for last := time.Now(); ; {
		select {
		case <-stop:
			return
		case <-ticks.C:
		}
		now := time.Now()
		if late := now.Sub(last) - stallTick; late >= stallMin {
			stalls.mu.Lock()
			stalls.seen = append(stalls.seen, stall{now.Add(-late), now})
			if len(stalls.seen) > stallKeep {
				stalls.seen = slices.Delete(stalls.seen, 0, stallKeep/2)
			}
			stalls.mu.Unlock()
		}
		last = now
	}
}

// Stalled returns for how long the machine was stalled between two times: the sum of
// all periods of at least 50 ms in which a process that was due to run did not.
func Stalled(from, to time.Time) time.Duration {
	stalls.mu.Lock()
	defer stalls.mu.Unlock()
	return stalledIn(stalls.seen, from, to)
}

func stalledIn(seen []stall, from, to time.Time) (sum time.Duration) {
	for _, s := range seen {
		begun, ended := s.from, s.to
		if begun.Before(from) {
			begun = from
		}
		if ended.After(to) {
			ended = to
		}
		if d := ended.Sub(begun); d > 0 {
			sum += d
		}
	}
	return sum
}

// AtMost returns an error when something that took its time between from and to
// exceeded its limit by more than the machine was stalled meanwhile. A verdict that
// depends on that is logged. No stall excuses more than twice the limit: a machine that
// is stalled for longer proves nothing, and the test fails.
func (l *Lab) AtMost(what string, took, limit time.Duration, from, to time.Time) error {
	l.tb.Helper()
	if took <= limit {
		return nil
	}
	stalled := Stalled(from, to)
	if took-stalled > limit || took > 2*limit {
		return fmt.Errorf("%s took %v, want at most %v (the machine stood still for %v of it)", what, took, limit, stalled)
	}
	l.tb.Logf("STALLED: %s took %v instead of at most %v, and the machine stood still for %v of it", what, took, limit, stalled)
	return nil
}
