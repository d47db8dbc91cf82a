package checker

import (
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"testing"
	"time"
)

// What agents report is in Health, wakes its reader, and survives a reload.
func TestWeights(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		two := one(1)
		other := check(2)
		two.Checks = append(two.Checks, other)
		r.net.setReport(checktest.Addr(1), outcome.AgentReport{Weight: 70, Drain: true})
		r.net.setReport(checktest.Addr(2), outcome.AgentReport{Weight: 40})
		r.set(t, two, one(3))
		if h := r.Health()[id(1)]; h.Weight != 100 || h.Maint || h.Drain {
			t.Errorf("before anything was said: %+v", h)
		}
		r.start(t)
		wait(time.Millisecond)
		if h := r.Health()[id(1)]; h.Weight != 40 || !h.Drain || h.Maint || h.State != Up {
			t.Errorf("two agents: %+v", h)
		}
		if h := r.Health()[id(3)]; h.Weight != 100 || h.Drain {
			t.Errorf("a server without an agent: %+v", h)
		}
		r.net.setReport(checktest.Addr(2), outcome.AgentReport{Weight: 100, Maint: true})
		wakes := func() int { r.mu.Lock(); defer r.mu.Unlock(); return r.wakes }
		before, changes := wakes(), len(r.changes_())
		wait(5 * time.Second)
		if h := r.Health()[id(1)]; h.Weight != 70 || !h.Maint {
			t.Errorf("maintenance: %+v", h)
		}
		if wakes() != before+1 || len(r.changes_()) != changes {
			t.Errorf("%d wakes and %d changes for one word", wakes()-before, len(r.changes_())-changes)
		}
		// A reload that changes the check keeps the report until the next one; a failure keeps
		// it, too.
		r.net.hang(checktest.Addr(2))
		two.Checks[1].Interval = time.Second
		r.set(t, two)
		if h := r.Health()[id(1)]; h.Weight != 70 || !h.Maint {
			t.Errorf("after the reload: %+v", h)
		}
		wait(1500 * time.Millisecond)
		if h := r.Health()[id(1)]; !h.Maint {
			t.Errorf("the agent is silent: %+v", h)
		}
		r.net.setReport(checktest.Addr(2), outcome.NoReport)
		wait(5 * time.Second)
		if h := r.Health()[id(1)]; h.Weight != 70 || h.Maint {
			t.Errorf("ready again: %+v", h)
		}
	})
}
