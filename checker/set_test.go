package checker

import (
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A reload that changes nothing leaves the schedule, the states and the
// histories alone; one that changes rise and fall only, too.
func TestSetKeepsWhatIsUnchanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.set(checktest.Addr(2), outcome.Refused)
		r.set(t, one(1), one(2))
		r.start(t)
		wait(9 * time.Second)
		r.net.set(checktest.Addr(1), outcome.Refused)
		wait(2 * time.Second)
		before := map[ID]Health{}
		for i := 1; i <= 2; i++ {
			before[id(i)], _ = r.Explain(id(i))
		}
		asked := len(r.net.times(checktest.Addr(1)))
		for range 100 {
			r.set(t, one(2), one(1))
		}
		for i := 1; i <= 2; i++ {
			if after, _ := r.Explain(id(i)); !reflect.DeepEqual(after, before[id(i)]) {
				t.Errorf("an unchanged set made\n%+v of\n%+v", after, before[id(i)])
			}
		}
		wait(100 * time.Millisecond)
		if n := len(r.net.times(checktest.Addr(1))) - asked; n != 0 {
			t.Errorf("a reload cost %d probes", n)
		}
		decided := one(1)
		decided.Checks[0].Rise, decided.Checks[0].Fall = 1, 2
		r.set(t, decided, one(2))
		h, _ := r.Explain(id(1))
		if h.State != Up || h.InARow != 1 || h.Needed != 2 || len(h.Checks[0].History) != len(before[id(1)].Checks[0].History) {
			t.Errorf("new thresholds made %+v", h)
		}
		wait(2 * time.Second)
		if h := r.Health()[id(1)]; h.State != Down || h.Cause != "connect refused, 2 of 2" {
			t.Errorf("the streak did not go on: %+v", h)
		}
		times := r.net.times(checktest.Addr(1))
		for k := 2; k < len(times); k++ {
			if gap := times[k].Sub(times[k-1]); gap != 2*time.Second {
				t.Errorf("gap %d is %v", k, gap)
			}
		}
	})
}

// A changed check begins with the old state and needs its own results in a row
// to change it.
func TestSetWithChangedCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.set(checktest.Addr(2), outcome.Refused)
		r.net.set(checktest.Addr(3), outcome.Local)
		r.set(t, one(1), one(2), one(3))
		r.start(t)
		wait(10 * time.Second)
		reported := len(r.changes_())
		old := r.Health()
		var changed []Target
		for i := 1; i <= 3; i++ {
			target := one(i)
			target.Checks[0].Timeout = 500 * time.Millisecond
			changed = append(changed, target)
		}
		r.net.set(checktest.Addr(1), outcome.Refused)
		r.net.set(checktest.Addr(2), outcome.OK)
		r.net.set(checktest.Addr(3), outcome.Refused)
		r.set(t, changed...)
		for i, want := range map[int]State{1: Up, 2: Down, 3: Unknown} {
			h, _ := r.Explain(id(i))
			if h.State != want || !h.Since.Equal(old[id(i)].Since) || h.Reason != old[id(i)].Reason ||
				h.Cause != old[id(i)].Cause || len(h.Checks[0].History) != 0 {
				t.Errorf("server %d was %+v and is %+v", i, old[id(i)], h)
			}
		}
		wait(10 * time.Millisecond) // the first own result
		h := r.Health()
		if h[id(1)].State != Up || h[id(1)].InARow != 1 || h[id(2)].State != Down || h[id(3)].State != Down {
			t.Errorf("after one result of their own: %+v", h)
		}
		wait(4 * time.Second)
		h = r.Health()
		if h[id(1)].State != Down || h[id(2)].State != Up {
			t.Errorf("after rise and fall: %+v", h)
		}
		if n := len(r.changes_()) - reported; n != 3 {
			t.Errorf("%d changes reported: %+v", n, r.changes_()[reported:])
		}
	})
}

// A check that is added or removed changes the state only where it decides.
func TestSetAddsAndRemovesChecks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.set(t, one(1))
		r.start(t)
		wait(time.Second)
		two := one(1)
		two.Checks = append(two.Checks, check(9))
		r.net.set(checktest.Addr(9), outcome.Refused)
		r.set(t, two)
		if h := r.Health()[id(1)]; h.State != Up || len(h.Checks) != 2 {
			t.Errorf("an added check made %+v", h)
		}
		wait(5 * time.Second)
		if h := r.Health()[id(1)]; h.State != Down || h.Checks[0].State != Up {
			t.Errorf("the added check fails: %+v", h)
		}
		r.set(t, one(1))
		if h := r.Health()[id(1)]; h.State != Up || h.Cause != "checks changed" || h.Reason != outcome.OK {
			t.Errorf("the failing check is gone: %+v", h)
		}
		asked := len(r.net.times(checktest.Addr(9)))
		wait(time.Minute)
		if n := len(r.net.times(checktest.Addr(9))); n != asked {
			t.Errorf("a check that is gone was probed %d times", n-asked)
		}
		r.set(t)
		if len(r.Health()) != 0 {
			t.Error("an empty set has health")
		}
		synctest.Wait()
		if c := r.changes_(); c[len(c)-1].Cause != "checks changed" {
			t.Errorf("reported %+v", c)
		}
	})
}

// The result of a probe that was under way when its check was removed is ignored.
func TestSetDuringProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.net.hang(checktest.Addr(1))
		r.set(t, one(1))
		r.start(t)
		wait(100 * time.Millisecond)
		r.set(t)
		wait(100 * time.Millisecond)
		r.net.set(checktest.Addr(1), outcome.OK)
		r.set(t, one(1))
		wait(3 * time.Second)
		h, _ := r.Explain(id(1))
		if h.State != Up || h.Checks[0].Totals.Get(outcome.Timeout) != 0 {
			t.Errorf("the old probe's result counts: %+v", h)
		}
		r.net.hang(checktest.Addr(2))
		r.set(t, one(2))
		wait(100 * time.Millisecond)
		r.set(t)
		wait(time.Minute)
		if n := len(r.net.times(checktest.Addr(2))); n != 1 {
			t.Errorf("a check that went during its first probe was probed %d times", n)
		}
	})
}

func TestSetRefuses(t *testing.T) {
	e := New(Options{})
	if err := e.Set([]Target{one(1)}); err != nil {
		t.Fatal(err)
	}
	before := e.Health()
	tests := map[string]func(*Target){
		"has no check":               func(t *Target) { t.Checks = nil },
		"not a check type":           func(t *Target) { t.Checks[0].Type = "smoke" },
		"not an address with a port": func(t *Target) { t.Checks[0].Address = netip.AddrPort{} },
		"the interval is":            func(t *Target) { t.Checks[0].Interval = 0 },
		"the timeout is":             func(t *Target) { t.Checks[0].Timeout = -1 },
		"different families":         func(t *Target) { t.Checks[0].From = netip.MustParseAddr("::1") },
		"missing closing":            func(t *Target) { t.Checks[0].Type, t.Checks[0].Expect = probe.TypeTCP, "(" },
		"error parsing regexp":       func(t *Target) { t.Checks[0].Type, t.Checks[0].BodyExpect = probe.TypeHTTP, "[" },
		"invalid method":             func(t *Target) { t.Checks[0].Type, t.Checks[0].Method = probe.TypeHTTP, "GET /" },
		"the path":                   func(t *Target) { t.Checks[0].Type, t.Checks[0].Path = probe.TypeHTTP, "/a b" },
		"invalid header name":        func(t *Target) { t.Checks[0].Type, t.Checks[0].Headers = probe.TypeHTTP, map[string]string{"a b": ""} },
		"a header contains": func(t *Target) {
			t.Checks[0].Type, t.Checks[0].Headers = probe.TypeHTTP, map[string]string{"a": "b\r\nc: d"}
		},
		"a line break": func(t *Target) { t.Checks[0].Type, t.Checks[0].Host = probe.TypeHTTP, "a\nb" },
		"the status range 300-200": func(t *Target) {
			t.Checks[0].Type, t.Checks[0].Status = probe.TypeHTTP, []probe.StatusRange{{First: 300, Last: 200}}
		},
	}
	for want, invalidate := range tests {
		bad := one(2)
		invalidate(&bad)
		err := e.Set([]Target{one(1), bad, one(3)})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "web 10.0.0.2:80") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if err := e.Set([]Target{one(2), one(2)}); err == nil {
		t.Error("a target that is there twice is accepted")
	}
	if !reflect.DeepEqual(e.Health(), before) {
		t.Errorf("a refused set changed %v to %v", before, e.Health())
	}
}

// Set, Health and Explain from many goroutines at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.start(t)
		var all sync.WaitGroup
		for g := range 4 {
			all.Go(func() {
				for k := range 50 {
					if err := r.Set([]Target{one(g), one(k), one(1000)}[k%2:]); err != nil && k != g {
						t.Error(err)
					}
					for _, h := range r.Health() {
						_ = h.Checks[0].Totals.Get(outcome.OK)
					}
					r.Explain(id(g))
					time.Sleep(time.Duration(k) * time.Millisecond)
				}
			})
		}
		all.Wait()
		wait(time.Second)
		if h := r.Health()[id(1000)]; h.State != Up {
			t.Errorf("after all that: %+v", h)
		}
	})
}
