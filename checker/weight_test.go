package checker

import (
	"testing"
	"time"
)

// What agents say reaches Health, wakes its reader, and outlives a reload.
func TestWeights(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		two := one(1)
		other := check(2)
		two.Checks = append(two.Checks, other)
		r.net.say(addr(1), said{weight: 70, drain: true})
		r.net.say(addr(2), said{weight: 40})
		r.set(t, two, one(3))
		if h := r.Health()[id(1)]; h.Weight != 100 || h.Maint || h.Drain {
			t.Errorf("before anything was said: %+v", h)
		}
		r.start(t)
		wait(time.Millisecond)
		if h := r.Health()[id(1)]; h.Weight != 40 || !h.Drain || h.Maint || h.Verdict != Up {
			t.Errorf("two agents: %+v", h)
		}
		if h := r.Health()[id(3)]; h.Weight != 100 || h.Drain {
			t.Errorf("a server without an agent: %+v", h)
		}
		r.net.say(addr(2), said{weight: 100, maint: true})
		wakes := func() int { r.mu.Lock(); defer r.mu.Unlock(); return r.wakes }
		before, changes := wakes(), len(r.told())
		wait(5 * time.Second)
		if h := r.Health()[id(1)]; h.Weight != 70 || !h.Maint {
			t.Errorf("maintenance: %+v", h)
		}
		if wakes() != before+1 || len(r.told()) != changes {
			t.Errorf("%d wakes and %d changes for one word", wakes()-before, len(r.told())-changes)
		}
		// A reload that changes the check keeps what was said until something
		// else is; a failure keeps it, too.
		r.net.hang(addr(2))
		two.Checks[1].Interval = time.Second
		r.set(t, two)
		if h := r.Health()[id(1)]; h.Weight != 70 || !h.Maint {
			t.Errorf("after the reload: %+v", h)
		}
		wait(1500 * time.Millisecond)
		if h := r.Health()[id(1)]; !h.Maint {
			t.Errorf("the agent is silent: %+v", h)
		}
		r.net.say(addr(2), nothingSaid)
		wait(5 * time.Second)
		if h := r.Health()[id(1)]; h.Weight != 70 || h.Maint {
			t.Errorf("ready again: %+v", h)
		}
	})
}

// An agent goes on from what the one before it said.
func TestAgentResumes(t *testing.T) {
	p := newAgentProbe(&Check{Address: addr(1)}).(*agentProbe)
	p.resume(said{weight: 30, maint: true})
	if out := p.hear([]byte("50%")); *out.said != (said{weight: 50, maint: true}) {
		t.Errorf("said %+v", *out.said)
	}
}
