package decision

import (
	"math/rand/v2"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/config"
)

func TestHeldDownLongerEachTime(t *testing.T) {
	now, f := start, flaps{}.observe(checker.Up, start)
	for i, want := range []time.Duration{0, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 10 * time.Minute, 10 * time.Minute} {
		now = now.Add(time.Second)
		f = f.observe(checker.Down, now)
		now = now.Add(time.Hour) // however long it is down
		f = f.observe(checker.Up, now)
		if f.until != now.Add(want) || f.heldDown(now) != (want > 0) || want > 0 && !f.heldDown(f.until.Add(-1)) || f.heldDown(f.until) {
			t.Errorf("fall %d: held for %v, want %v", i+1, f.until.Sub(now), want)
		}
		now = f.until
	}
	// Calm, but not long enough; then forgiven.
	f = f.observe(checker.Down, now.Add(flapReset-1)).observe(checker.Up, now.Add(flapReset))
	if f.holdDown() != maxHoldDown {
		t.Errorf("held for %v", f.holdDown())
	}
	now = f.until.Add(flapReset)
	f = f.observe(checker.Down, now).observe(checker.Up, now.Add(1))
	if f.heldDown(now.Add(1)) || f.falls != 1 {
		t.Errorf("after the reset: %+v", f)
	}
}

// TestDampingIsBounded: whatever a server does, it is never held longer than
// maxHoldDown after it last came back, and never while it is down.
func TestDampingIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var f flaps
		now, back := start, start
		for range 200 {
			now = now.Add(time.Duration(r.Int64N(int64(20 * time.Minute))))
			was := f.state
			f = f.observe(checker.State(r.IntN(3)), now)
			if f.state == checker.Up && was == checker.Down {
				back = now
			}
			if f.heldDown(back.Add(maxHoldDown)) || f.state != checker.Up && f.heldDown(now) {
				t.Fatalf("%+v, back since %v, now %v", f, back, now)
			}
		}
	}
}

func TestDampingAsACause(t *testing.T) {
	w := newWalk(t, servers(2, 3, func(s *config.Service) { s.FlapDamping = true }), nil)
	w.up(0)
	w.up(1)
	w.weights(0, 3, 3)
	for range 2 {
		w.down(0)
		w.weights(time.Second, 0, 3)
		w.up(0)
		w.decide(time.Second)
	}
	w.weights(0, 0, 3)
	s := w.plan.Services[0].Servers[0]
	if s.Why().Kind != CauseDamping || s.State != checker.Up || w.plan.Next != w.in.Now.Add(minHoldDown) {
		t.Errorf("%+v, next %v", s.Why(), w.plan.Next)
	}
	w.in.Config = servers(2, 5, func(s *config.Service) { s.FlapDamping = true })
	w.weights(minHoldDown-1, 0, 5) // a reload keeps it
	w.weights(1, 5, 5)
}

// TestDampingGivesWayToTheQuorum: a service is not ended by caution.
func TestDampingGivesWayToTheQuorum(t *testing.T) {
	w := newWalk(t, servers(2, 3, func(s *config.Service) { s.FlapDamping = true }), nil)
	w.up(0)
	w.up(1)
	w.decide(0)
	for range 3 {
		w.down(0)
		w.down(1)
		w.weights(time.Second, 0, 0)
		w.up(0)
		w.up(1)
		w.weights(time.Second, 3, 3)
	}
	if why := w.plan.Services[0].Servers[0].Why(); why.Kind != CauseQuorum {
		t.Errorf("%+v", why)
	}
	if w.plan.Next.IsZero() {
		t.Error("nothing wakes the loop when the hold is over")
	}
}
