package checker

import (
	"context"
	"fmt"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rig is an engine over a fake network, running in a bubble.
type rig struct {
	*Engine
	net     *fakeNet
	mu      sync.Mutex
	changes []Change
	wakes   int
	lags    []time.Duration
	stop    func()
}

func newRig(t *testing.T) *rig {
	r := &rig{net: newFakeNet()}
	r.Engine = New(Options{
		Wake:       func() { r.mu.Lock(); r.wakes++; r.mu.Unlock() },
		OnChange:   func(c Change) { r.mu.Lock(); r.changes = append(r.changes, c); r.mu.Unlock() },
		ObserveLag: func(d time.Duration) { r.mu.Lock(); r.lags = append(r.lags, d); r.mu.Unlock() },
	})
	r.Engine.newProber = r.net.prepare
	r.Engine.poller = newFakePoller()
	r.Engine.random = rand.New(rand.NewPCG(11, 12))
	return r
}

func (r *rig) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		r.consistent(t)
	})
	t.Cleanup(r.stop)
}

func (r *rig) set(t *testing.T, targets ...Target) {
	t.Helper()
	if err := r.Set(targets); err != nil {
		t.Fatal(err)
	}
	r.consistent(t)
}

// consistent compares what is counted and kept with the states.
func (r *rig) consistent(t *testing.T) {
	t.Helper()
	health := r.Health()
	r.Engine.mu.Lock()
	defer r.Engine.mu.Unlock()
	want := 0
	for id, target := range r.targets {
		if target.state == Unknown {
			want++
		}
		if r.snapshot == nil { // a result has come meanwhile
			continue
		}
		for i, j := range target.checks {
			if got := health[id].Checks[i]; !reflect.DeepEqual(got, j.health()) {
				t.Errorf("Health has %+v of %v, want %+v", got, id, j.health())
			}
		}
	}
	if r.unknown != want {
		t.Errorf("Unknown is %d of %d targets, want %d", r.unknown, len(r.targets), want)
	}
}

func (r *rig) changes_() []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.changes)
}

func id(i int) ID { return ID{"web", checktest.Addr(i).String()} }

func check(i int) probe.Check {
	return probe.Check{Type: probe.TypeConnect, Address: checktest.Addr(i), Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
}

func one(i int) Target { return Target{ID: id(i), Checks: []probe.Check{check(i)}} }

// wait advances the bubble's time and waits until all that is due has happened.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestFirstStates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.set(checktest.Addr(2), outcome.Refused)
		r.net.set(checktest.Addr(4), outcome.Refused)
		known3, known4 := one(3), one(4)
		known3.InKernel, known4.InKernel = true, true
		r.set(t, one(1), one(2), known3, known4)
		for id, h := range r.Health() {
			if h.State != Unknown || h.Since.IsZero() {
				t.Errorf("%v begins with %+v", id, h)
			}
		}
		r.start(t)
		wait(time.Millisecond)
		h := r.Health()
		for i, want := range map[int]State{1: Up, 2: Down, 3: Up, 4: Unknown} {
			if got := h[id(i)].State; got != want {
				t.Errorf("server %d is %v after one probe, want %v", i, got, want)
			}
		}
		if got := h[id(4)]; got.InARow != 1 || got.Needed != 3 || got.Reason != outcome.Refused || got.Cause != "" {
			t.Errorf("the known server after one failure: %+v", got)
		}
		if got := h[id(2)]; got.Cause != "connect refused, 1 of 1" || got.Reason != outcome.Refused || got.Detail != "refused it is" {
			t.Errorf("the new server that refuses: %+v", got)
		}
		wait(4 * time.Second)
		if got := r.Health()[id(4)]; got.State != Down || got.Cause != "connect refused, 3 of 3" {
			t.Errorf("the known server after its fall: %+v", got)
		}
		if n := len(r.changes_()); n != 4 || r.wakes == 0 {
			t.Errorf("%d changes, %d wakes", n, r.wakes)
		}
	})
}

// From a refusal to the state: at most fall × interval, wherever in the
// schedule the server died.
func TestFallBound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.set(t, one(1))
		r.start(t)
		random := rand.New(rand.NewPCG(1, 1))
		for range 200 {
			wait(time.Duration(random.Int64N(int64(20 * time.Second))))
			if r.Health()[id(1)].State != Up {
				wait(4 * time.Second)
			}
			died := time.Now()
			r.net.set(checktest.Addr(1), outcome.Refused)
			wait(6*time.Second + time.Millisecond)
			h := r.Health()[id(1)]
			if took := h.Since.Sub(died); h.State != Down || took > 6*time.Second || took < 4*time.Second {
				t.Fatalf("%v %v after the first refusal", h.State, took)
			}
			r.net.set(checktest.Addr(1), outcome.OK)
		}
	})
}

func TestCauseAndExplanation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		two := one(1)
		other := check(9)
		other.Fall = 1
		two.Checks = append(two.Checks, other)
		r.set(t, two)
		r.start(t)
		wait(10 * time.Second)
		r.net.set(checktest.Addr(9), outcome.Timeout)
		wait(3 * time.Second)
		h := r.Health()[id(1)]
		if h.State != Down || h.Reason != outcome.Timeout || h.Cause != "connect 10.0.0.9:80 timeout, 1 of 1" ||
			h.Checks[0].State != Up || h.Checks[1].State != Down {
			t.Errorf("one of two checks fails: %+v", h)
		}
		full, ok := r.Explain(id(1))
		history := full.Checks[1].History
		if !ok || len(history) < 5 || history[0].Reason != outcome.OK || history[len(history)-1].Reason != outcome.Timeout {
			t.Errorf("the history is %+v", history)
		}
		if h.Checks[1].History != nil || h.Checks[1].Totals.Get(outcome.Timeout) == 0 {
			t.Errorf("the snapshot's check is %+v", h.Checks[1])
		}
		wait(200 * time.Second)
		full, _ = r.Explain(id(1))
		history = full.Checks[1].History
		if len(history) != 32 || !slices.IsSortedFunc(history, func(a, b outcome.Result) int { return a.At.Compare(b.At) }) {
			t.Errorf("%d results, %v", len(history), history)
		}
		if _, ok := r.Explain(id(77)); ok {
			t.Error("an unknown target is explained")
		}
	})
}

func TestLocalTroubleMovesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.set(checktest.Addr(2), outcome.Local)
		down := one(3)
		r.net.set(checktest.Addr(3), outcome.Refused)
		r.set(t, one(1), one(2), down)
		r.start(t)
		wait(5 * time.Second)
		r.net.set(checktest.Addr(1), outcome.Refused) // two failures, then failures of this machine
		wait(4 * time.Second)
		before := r.Health()
		for i := 1; i <= 3; i++ {
			r.net.set(checktest.Addr(i), outcome.Local)
		}
		wait(time.Minute)
		after := r.Health()
		for i, want := range map[int]State{1: Up, 2: Unknown, 3: Down} {
			h := after[id(i)]
			if h.State != want || h.InARow != before[id(i)].InARow || h.Reason != before[id(i)].Reason {
				t.Errorf("server %d went from %+v to %+v", i, before[id(i)], h)
			}
			if h.Checks[0].Last.Reason != outcome.Local || h.Checks[0].Totals.Get(outcome.Local) < 25 {
				t.Errorf("server %d does not show the trouble: %+v", i, h.Checks[0])
			}
		}
		if before[id(1)].InARow != 2 {
			t.Errorf("the streak before was %d", before[id(1)].InARow)
		}
		r.net.set(checktest.Addr(1), outcome.Refused)
		wait(2 * time.Second)
		if h := r.Health()[id(1)]; h.State != Down {
			t.Errorf("the streak did not go on: %+v", h)
		}
	})
}

// Twenty services over the same servers cost one probe a server.
func TestSharing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var targets []Target
		for s := range 20 {
			for i := range 50 {
				target := one(i)
				target.ID.Service = fmt.Sprint("service", s)
				target.Checks[0].Fall = 1 + s
				targets = append(targets, target)
			}
		}
		r.set(t, targets...)
		r.start(t)
		wait(20*time.Second - time.Millisecond)
		probes := 0
		for i := range 50 {
			probes += len(r.net.times(checktest.Addr(i)))
		}
		if probes < 50*10 || probes > 50*11 { // the first, and ten intervals
			t.Errorf("%d probes of 50 servers in ten intervals", probes)
		}
		r.net.set(checktest.Addr(7), outcome.Refused)
		for n := range 20 {
			wait(2 * time.Second)
			down := 0
			for s := range 20 {
				if r.Health()[ID{fmt.Sprint("service", s), checktest.Addr(7).String()}].State == Down {
					down++
				}
			}
			if down != n+1 {
				t.Fatalf("after %d failures %d services have it down", n+1, down)
			}
		}
	})
}

// A target that joins a running probe has its state at once.
func TestJoin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.set(checktest.Addr(2), outcome.Refused)
		r.set(t, one(1), one(2))
		r.start(t)
		wait(time.Second)
		all := []Target{one(1), one(2)}
		for i := 1; i <= 2; i++ {
			joined := one(i)
			joined.ID.Service = "other"
			all = append(all, joined)
		}
		all[3].InKernel = true
		r.set(t, all...)
		h := r.Health()
		if up, unknown := h[all[2].ID], h[all[3].ID]; up.State != Up || unknown.State != Unknown || unknown.InARow != 1 {
			t.Errorf("joined with %+v and %+v", up, unknown)
		}
		synctest.Wait()
		if c := r.changes_(); len(c) != 3 || c[2].ID.Service != "other" || c[2].Cause != "connect ok, 1 of 1" {
			t.Errorf("reported %+v", c)
		}
	})
}

func TestOnAndOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		on := Target{ID: id(1), Checks: []probe.Check{{Type: probe.TypeOn}}}
		off := Target{ID: id(2), Checks: []probe.Check{{Type: probe.TypeOff}}, InKernel: true}
		both := Target{ID: id(3), Checks: []probe.Check{{Type: probe.TypeOff}, {Type: probe.TypeOn}}}
		r.set(t, on, off, both, one(4))
		h := r.Health()
		if h[id(1)].State != Up || h[id(1)].Reason != outcome.OK || h[id(2)].State != Down || h[id(2)].Reason != outcome.Off ||
			h[id(3)].State != Down || h[id(3)].Cause != "off" {
			t.Errorf("before any run: %+v", h)
		}
		r.start(t)
		wait(time.Second)
		if c := r.changes_(); len(c) != 4 || c[0].Cause != "on" {
			t.Errorf("reported %+v", c)
		}
		off.Checks, on.Checks = []probe.Check{check(2)}, []probe.Check{{Type: probe.TypeOff}}
		r.set(t, on, off, both, one(4))
		h = r.Health()
		if h[id(1)].State != Down || h[id(2)].State != Down || h[id(2)].Reason != outcome.Off {
			t.Errorf("after the change: %+v", h)
		}
		wait(3 * time.Second)
		if h := r.Health()[id(2)]; h.State != Up || h.Cause != "connect ok, 2 of 2" {
			t.Errorf("from off to a check: %+v", h)
		}
	})
}

// Whatever the probes take, they start exactly at the interval, and no two of one check
// overlap.
func TestSteadySchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		random := rand.New(rand.NewPCG(9, 9))
		var mu sync.Mutex
		for i := range 30 {
			r.net.script(checktest.Addr(i), func(context.Context, time.Time) outcome.Outcome {
				mu.Lock()
				d := time.Duration(random.Int64N(int64(1900 * time.Millisecond)))
				mu.Unlock()
				time.Sleep(d)
				return outcome.NewOutcome(outcome.OK, outcome.PhaseConnect, "")
			})
		}
		var targets []Target
		for i := range 30 {
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		wait(10 * time.Minute)
		for i := range 30 {
			times := r.net.times(checktest.Addr(i))
			if len(times) < 299 {
				t.Errorf("%d probes in 10 minutes", len(times))
			}
			if first := times[1].Sub(times[0]); first > 2*time.Second || first <= 0 {
				t.Errorf("the second probe came %v after the first", first)
			}
			// A first probe that outlasts its phase is followed on its own time
			// until one is short enough to get back to the grid: one short gap.
			short := 0
			for k := 2; k < len(times); k++ {
				gap := times[k].Sub(times[k-1])
				if gap != 2*time.Second {
					short++
				}
				if gap > 2*time.Second || short > 1 {
					t.Fatalf("server %d: gap %d is %v, %d are not the interval", i, k, gap, short)
				}
			}
		}
		if r.net.overlap {
			t.Error("two probes of one check overlapped")
		}
		r.stop() // lags are the engine's
		for _, lag := range r.lags {
			if lag != 0 {
				t.Fatalf("a lag of %v where nothing is late", lag)
			}
		}
	})
}

func TestOverrun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		target := one(1)
		target.Checks[0].Timeout = 5 * time.Second
		r.net.hang(checktest.Addr(1))
		r.set(t, target)
		r.start(t)
		wait(time.Minute)
		times := r.net.times(checktest.Addr(1))
		for k := 3; k < len(times); k++ {
			if gap := times[k].Sub(times[k-1]); gap != 6*time.Second {
				t.Errorf("a probe of 5 s at an interval of 2 s was followed after %v", gap)
			}
		}
		if r.net.overlap || len(times) < 9 {
			t.Errorf("overlap %v, %d probes", r.net.overlap, len(times))
		}
	})
}

// 500 servers that hang delay none that does not.
func TestHangingServersDelayNoOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var targets []Target
		for i := range 1000 {
			if i%2 == 1 {
				r.net.hang(checktest.Addr(i))
			}
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		start := time.Now()
		wait(time.Minute)
		for i := 0; i < 1000; i += 2 {
			times := r.net.times(checktest.Addr(i))
			if len(times) < 30 || times[0].Sub(start) > time.Second {
				t.Fatalf("server %d: %d probes, the first after %v", i, len(times), times[0].Sub(start))
			}
			for k := 1; k < len(times); k++ {
				if gap := times[k].Sub(times[k-1]); gap > 2*time.Second {
					t.Fatalf("server %d waited %v", i, gap)
				}
			}
		}
		r.stop()
		for _, lag := range r.lags {
			if lag > 0 {
				t.Fatalf("a lag of %v", lag)
			}
		}
		if h := r.Health(); h[id(1)].State != Down || h[id(0)].State != Up {
			t.Errorf("states %v, %v", h[id(1)].State, h[id(0)].State)
		}
	})
}

func TestFastInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		target := one(1)
		target.Checks[0].FastInterval = 100 * time.Millisecond
		r.set(t, target)
		r.start(t)
		wait(20 * time.Second)
		calm := r.net.times(checktest.Addr(1))
		r.net.set(checktest.Addr(1), outcome.Refused)
		wait(2300 * time.Millisecond)
		if h := r.Health()[id(1)]; h.State != Down {
			t.Fatalf("not down after one interval and two fast ones: %+v", h)
		}
		down := r.net.times(checktest.Addr(1))[len(calm):]
		if d := down[2].Sub(down[0]); d != 200*time.Millisecond {
			t.Errorf("three failures took %v", d)
		}
		wait(20 * time.Second)
		last := r.net.times(checktest.Addr(1))
		phase := func(at time.Time) time.Duration { return at.Sub(calm[1]) % (2 * time.Second) }
		if got := phase(last[len(last)-1]); got != 0 {
			t.Errorf("back in calm the phase has moved by %v", got)
		}
	})
}

// Thousands lie evenly after the start.
func TestStartIsSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var targets []Target
		for i := range 5000 {
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		start := time.Now()
		wait(10 * time.Second)
		slots, instants := map[time.Duration]int{}, map[time.Duration]bool{}
		for i := range 5000 {
			times := r.net.times(checktest.Addr(i))
			phase := times[2].Sub(start) % (2 * time.Second)
			slots[phase/(20*time.Millisecond)]++
			instants[phase] = true
		}
		for slot := range time.Duration(100) {
			if n := slots[slot]; n < 35 || n > 65 {
				t.Errorf("%d probes in the %d. hundredth of the interval, want about 50", n, slot)
			}
		}
		if n := len(instants); n > 5000/together+1 {
			t.Errorf("%d starts in an interval, want one for about %d probes", n, together)
		}
	})
}

func TestRunTwiceAndStopInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.hang(checktest.Addr(1))
		r.set(t, one(1))
		r.start(t)
		wait(100 * time.Millisecond)
		if err := r.Run(t.Context()); err == nil {
			t.Error("a second Run is not refused")
		}
		before := time.Now()
		r.stop()
		if d := time.Since(before); d != 0 {
			t.Errorf("the stop waited %v for a probe", d)
		}
		if h := r.Health()[id(1)]; h.Checks[0].Last.Reason != "" {
			t.Errorf("our own stop counts against the server: %+v", h)
		}
	})
}

func TestChangesAreReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.set(t, one(1))
		r.start(t)
		for range 5 {
			wait(10 * time.Second)
			r.net.set(checktest.Addr(1), outcome.Reset)
			wait(10 * time.Second)
			r.net.set(checktest.Addr(1), outcome.OK)
		}
		wait(10 * time.Second)
		reported := r.changes_()
		last := Unknown
		for i, c := range reported {
			if c.From != last || c.To == last || c.At.IsZero() {
				t.Errorf("change %d: %+v after %v", i, c, last)
			}
			last = c.To
		}
		if len(reported) != 11 || reported[1].Cause != "connect reset, 3 of 3" || reported[2].Cause != "connect ok, 2 of 2" {
			t.Errorf("reported %+v", reported)
		}
	})
}

// A callback that blocks delays the loop, and Overdue shows that.
func TestLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		release := make(chan struct{})
		r.Engine.o.OnChange = func(Change) { <-release }
		if got := r.Overdue(); got != 0 {
			t.Errorf("before it runs it is late by %v", got)
		}
		r.start(t)
		wait(50 * time.Second)
		if got := r.Overdue(); got != 0 {
			t.Errorf("with nothing to do it is late by %v", got)
		}
		r.set(t, one(1))
		wait(30 * time.Second)
		if got := r.Overdue(); got < 29*time.Second {
			t.Errorf("while a callback blocks it is late by %v", got)
		}
		close(release)
		wait(30 * time.Second)
		if got := r.Overdue(); got > time.Second {
			t.Errorf("after that it is late by %v", got)
		}
		r.stop()
		wait(time.Hour)
		if got := r.Overdue(); got != 0 {
			t.Errorf("when it ended it is late by %v", got)
		}
	})
}
