package checker

import (
	"testing"
	"time"

	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
)

// since counts the probes of a server that were made since a moment.
func (r *rig) since(i int, t time.Time) (n int) {
	for _, at := range r.net.times(checktest.Addr(i)) {
		if at.After(t) {
			n++
		}
	}
	return n
}

// TestDelegated: a target that another director probes is probed every tenth interval, each
// at its own time; it keeps its state, and is probed as configured again within an interval
// after that ends.
func TestDelegated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		var targets []Target
		to := map[ID]string{}
		for i := range 20 {
			targets = append(targets, one(i))
			to[id(i)] = "lb2"
		}
		r.set(t, targets...)
		r.start(t)
		wait(10 * time.Second)
		began := time.Now()
		r.Delegate(to, 10)
		wait(200 * time.Second) // a hundred intervals
		slots := map[int]bool{}
		for i := range 20 {
			// One more at the time that was due already, and one more at the ends.
			if n := r.since(i, began); n < 10 || n > 12 {
				t.Errorf("server %d: %d probes in a hundred intervals", i, n)
			}
			times := r.net.times(checktest.Addr(i))
			slots[int(times[len(times)-1].Sub(began)/(2*time.Second))%10] = true
			if h := r.Health()[id(i)]; h.State != Up || h.ProbedBy != "lb2" {
				t.Errorf("server %d: %+v", i, h)
			}
		}
		if len(slots) < 5 {
			t.Errorf("all are probed in the same %d of ten intervals", len(slots))
		}
		began = time.Now()
		r.Delegate(nil, 10)
		wait(2 * time.Second)
		for i := range 20 {
			if r.since(i, began) == 0 {
				t.Errorf("server %d: not probed an interval after it is this director's again", i)
			}
		}
		if h, _ := r.Explain(id(0)); h.ProbedBy != "" {
			t.Errorf("probed by %q", h.ProbedBy)
		}
		if len(r.changes_()) != 20 {
			t.Errorf("changes: %v", r.changes_())
		}
	})
}

// TestDelegatedFails: one failure of a delegated target is followed by probes as configured,
// so that it is down after fall of them, whatever the other director reports.
func TestDelegatedFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.set(t, one(0))
		r.start(t)
		wait(10 * time.Second)
		r.Delegate(map[ID]string{id(0): "lb2"}, 10)
		wait(60 * time.Second)
		r.net.set(checktest.Addr(0), outcome.Refused)
		began := time.Now()
		wait(20*time.Second + 2*2*time.Second)
		all := r.changes_()
		if last := all[len(all)-1]; last.To != Down || last.Cause != "connect refused, 3 of 3" {
			t.Fatalf("%+v", last)
		}
		wait(20 * time.Second)
		if n := r.since(0, began); n < 3+9 {
			t.Errorf("%d probes: it is probed rarely while it is down", n)
		}
	})
}

// TestDelegatedShared: a probe that two services share is made rarely only where both are
// delegated.
func TestDelegatedShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		mail := one(0)
		mail.ID.Service = "mail"
		r.set(t, one(0), mail)
		r.start(t)
		r.Delegate(map[ID]string{id(0): "lb2"}, 10)
		wait(100 * time.Second)
		if n := len(r.net.times(checktest.Addr(0))); n < 50 {
			t.Errorf("%d probes in fifty intervals", n)
		}
		r.Delegate(map[ID]string{id(0): "lb2", mail.ID: "lb2"}, 10)
		began := time.Now()
		wait(100 * time.Second)
		if n := r.since(0, began); n > 7 {
			t.Errorf("%d probes in fifty intervals", n)
		}
	})
}
