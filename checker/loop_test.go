package checker

import (
	"context"
	"fmt"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopRig is an engine whose probes in the loop run over a fake kernel.
func loopRig(t *testing.T) (*rig, *fakePoller) {
	r := newRig(t)
	r.Engine.newProber = probe.NewProber
	return r, r.Engine.poller.(*fakePoller)
}

// Each probe of the loop ends in its one outcome, at its time.
func TestLoopOutcomes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		k.delay[checktest.Addr(1)] = 300 * time.Microsecond
		k.delay[checktest.Addr(2)], k.refuse[checktest.Addr(2)] = time.Millisecond, unix.ECONNREFUSED
		k.delay[checktest.Addr(3)] = -1
		k.delay[checktest.Addr(4)], k.refuse[checktest.Addr(4)] = 20*time.Millisecond, unix.EHOSTUNREACH
		k.delay[checktest.Addr(5)], k.refuse[checktest.Addr(5)] = 0, unix.ENOBUFS
		r.set(t, one(1), one(2), one(3), one(4), one(5))
		r.start(t)
		wait(10 * time.Second)
		for i, want := range map[int]outcome.Result{
			1: {Reason: outcome.OK, Took: 300 * time.Microsecond},
			2: {Reason: outcome.Refused, Detail: "connection refused", Took: time.Millisecond},
			3: {Reason: outcome.Timeout, Detail: "no answer", Took: time.Second},
			4: {Reason: outcome.Unreachable, Detail: "no route to host", Took: 20 * time.Millisecond},
			5: {Reason: outcome.Local, Detail: "no buffer space available (ENOBUFS)"},
		} {
			h, _ := r.Explain(id(i))
			history := h.Checks[0].History
			if len(history) < 5 {
				t.Errorf("server %d was probed %d times", i, len(history))
			}
			for n, got := range history {
				want.Phase, want.At = outcome.PhaseConnect, got.At
				if got != want {
					t.Errorf("server %d, probe %d: %+v, want %+v", i, n, got, want)
				}
				if n > 2 && got.At.Sub(history[n-1].At) != 2*time.Second { // after the first, its repetition, and the rest until the grid
					t.Errorf("server %d, probe %d came %v after the one before", i, n, got.At.Sub(history[n-1].At))
				}
			}
		}
		r.stop()
		for _, lag := range r.lags {
			if lag != 0 {
				t.Fatalf("a lag of %v where nothing is late", lag)
			}
		}
		if n := k.limit(0); n > 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// 500 servers that hang delay none of 500 that do not; then all targets are removed
// meanwhile, and the old probes have no effect.
func TestLoopHanging(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		var targets []Target
		for i := range 1000 {
			k.delay[checktest.Addr(i)] = time.Millisecond
			if i%2 == 1 {
				k.delay[checktest.Addr(i)] = -1
			}
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		wait(20 * time.Second)
		for i := range 1000 {
			h, _ := r.Explain(id(i))
			for _, got := range h.Checks[0].History {
				if i%2 == 0 && (got.Reason != outcome.OK || got.Took != time.Millisecond) || i%2 == 1 && (got.Reason != outcome.Timeout || got.Took != time.Second) {
					t.Fatalf("server %d: %+v", i, got)
				}
			}
			if n := len(h.Checks[0].History); n < 10 {
				t.Fatalf("server %d was probed %d times", i, n)
			}
		}
		r.set(t, targets[:10]...)
		wait(1100 * time.Millisecond)
		if n := k.limit(1000); n > 10 {
			t.Errorf("%d sockets for 10 servers", n)
		}
		wait(10 * time.Second)
		if h, _ := r.Explain(id(0)); h.State != Up || len(r.Health()) != 10 {
			t.Errorf("%d targets, %+v", len(r.Health()), h)
		}
		r.stop()
		for _, lag := range r.lags {
			if lag != 0 {
				t.Fatalf("a lag of %v", lag)
			}
		}
		if n := k.limit(0); n > 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// TestProbesInProgressAreBounded: hanging servers take no more descriptors than they may,
// all servers are probed in turn, and nothing is left.
func TestProbesInProgressAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		r.Engine.o.MaxProbes = 8
		most := 0
		var targets []Target
		for i := range 40 {
			k.delay[checktest.Addr(i)] = -1
			if i%4 == 0 {
				k.delay[checktest.Addr(i)] = time.Millisecond
			}
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		for range 2000 {
			wait(10 * time.Millisecond)
			most = max(most, k.limit(1<<20))
		}
		if most != 8 {
			t.Errorf("%d probes at once, want 8", most)
		}
		for i := range 40 {
			h, _ := r.Explain(id(i))
			want := Down
			if i%4 == 0 {
				want = Up
			}
			if h.State != want || len(h.Checks[0].History) < 3 {
				t.Errorf("server %d is %v after %d probes", i, h.State, len(h.Checks[0].History))
			}
		}
		if late := r.Overdue(); late > time.Second {
			t.Errorf("the loop counts as stuck for %v", late)
		}
		r.set(t)
		wait(2 * time.Second)
		r.stop()
		if r.Engine.inFlight != 0 {
			t.Errorf("%d probes are still counted", r.Engine.inFlight)
		}
	})
}

// Without descriptors no state changes, and with them it continues.
func TestLoopWithoutDescriptors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		k.delay[checktest.Addr(1)], k.delay[checktest.Addr(2)] = time.Millisecond, time.Millisecond
		r.set(t, one(1), one(2))
		r.start(t)
		wait(5 * time.Second)
		k.limit(0)
		wait(20 * time.Second)
		h := r.Health()
		for i := 1; i <= 2; i++ {
			if got := h[id(i)]; got.State != Up || got.Checks[0].Last.Reason != outcome.Local || got.InARow != 0 {
				t.Errorf("without descriptors: %+v", got)
			}
		}
		k.limit(10)
		wait(2 * time.Second)
		if got := r.Health()[id(1)]; got.Checks[0].Last.Reason != outcome.OK {
			t.Errorf("with descriptors again: %+v", got)
		}
	})
}

// engineOn runs an engine on this machine's kernel until stop.
func engineOn(t testing.TB, targets []Target) (e *Engine, stop func()) {
	t.Helper()
	e = New(Options{})
	if err := e.Set(targets); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return e, stop
}

// Ten thousand probes of all light kinds and a hundred reloads, in the loop and on
// real sockets, leave no socket and no goroutine.
func TestLoopLeavesNothing(t *testing.T) {
	good := checktest.Serve(t, checktest.Answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	hang := checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	bad, hole := checktest.Refusing(t), checktest.Blackhole(t)
	kinds := []probe.Check{
		{Type: probe.TypeConnect, Address: good}, {Type: probe.TypeConnect, Address: bad}, {Type: probe.TypeConnect, Address: hole},
		{Type: probe.TypeHTTP, Address: good, BodyExpect: "ok"}, {Type: probe.TypeHTTP, Address: hang},
		{Type: probe.TypeTCP, Address: good, Send: "\r\n\r\n", Expect: "200"}, {Type: probe.TypeTCP, Address: hang, Expect: "never"},
	}
	want := []outcome.Reason{outcome.OK, outcome.Refused, outcome.Timeout, outcome.OK, outcome.Timeout, outcome.OK, outcome.Timeout}
	goroutines, before := runtime.NumGoroutine(), checktest.Descriptors(t)
	all := func(reload int) (targets []Target) {
		for i := range kinds {
			for n := range 20 {
				c := kinds[i]
				c.Interval, c.Timeout, c.Rise, c.Fall = 20*time.Millisecond, 15*time.Millisecond+time.Duration(n), 1, 1
				if n == reload%20 {
					c.Timeout -= time.Duration(reload) * time.Microsecond // another probe
				}
				targets = append(targets, Target{ID: ID{fmt.Sprint(i), fmt.Sprint(n)}, Checks: []probe.Check{c}})
			}
		}
		return targets
	}
	e, stop := engineOn(t, all(0))
	total := func() (n uint64) {
		for _, h := range e.Health() {
			for _, count := range h.Checks[0].Totals.All() {
				n += count
			}
		}
		return n
	}
	for reload := range 100 {
		was := total()
		checktest.Eventually(t, "probes", func() bool { return total() > was })
		if err := e.Set(all(reload)); err != nil {
			t.Fatal(err)
		}
	}
	checktest.Eventually(t, "ten thousand probes", func() bool { return total() > 10000 })
	for id, h := range e.Health() {
		i := 0
		fmt.Sscan(id.Service, &i)
		for reason := range h.Checks[0].Totals.All() {
			// A server that shares two busy processors may be late.
			if reason != want[i] && reason != outcome.Timeout {
				t.Errorf("%+v is %v", kinds[i], reason)
			}
		}
	}
	stop()
	checktest.Eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= goroutines })
	// What was opened by the servers too, but one each that was never accepted.
	checktest.Eventually(t, "no descriptor more than before", func() bool { return checktest.Descriptors(t) <= before+2 })
}

// The end of an engine does not wait for servers that hang in whatever phase.
func TestLoopStopsInFlight(t *testing.T) {
	begun := make(chan struct{}, 2)
	silent := checktest.Serve(t, func(c net.Conn) { begun <- struct{}{}; io.Copy(io.Discard, c) })
	var targets []Target
	for i, c := range []probe.Check{{Type: probe.TypeConnect, Address: checktest.Blackhole(t)}, {Type: probe.TypeTCP, Address: silent, Expect: "x"}, {Type: probe.TypeHTTP, Address: silent}} {
		c.Interval, c.Timeout, c.Rise, c.Fall = time.Hour, time.Hour, 1, 1
		targets = append(targets, Target{ID: ID{"s", fmt.Sprint(i)}, Checks: []probe.Check{c}})
	}
	_, stop := engineOn(t, targets)
	for range 2 {
		select {
		case <-begun:
		case <-time.After(checktest.Patience):
			t.Fatal("no probe begins")
		}
	}
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(checktest.Patience):
		t.Fatal("the engine does not end")
	}
}
