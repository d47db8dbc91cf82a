package checker

import (
	"fmt"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPreviewIsWhatSetDoes: of random sets one after the other, over servers that
// respond, refuse, hang and report weights, the preview is what Set then does, and
// changes nothing itself.
func TestPreviewIsWhatSetDoes(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { previewed(t, rand.New(rand.NewPCG(seed, 3))) })
		})
	}
}

func previewed(t *testing.T, r *rand.Rand) {
	rig := newRig(t)
	for i := 1; i <= 8; i++ {
		switch r.IntN(5) {
		case 0:
			rig.net.set(checktest.Addr(i), outcome.Refused)
		case 1:
			rig.net.hang(checktest.Addr(i))
		case 2:
			rig.net.setReport(checktest.Addr(i), outcome.AgentReport{Weight: 50})
		case 3:
			rig.net.setReport(checktest.Addr(i), outcome.AgentReport{Weight: 100, Drain: true})
		}
	}
	random := func() []Target {
		var all []Target
		for i := 1; i <= 8; i++ {
			if r.IntN(4) == 0 {
				continue
			}
			target := one(i)
			target.InKernel = r.IntN(2) == 0
			c := &target.Checks[0]
			if r.IntN(3) == 0 {
				c.Timeout = 500 * time.Millisecond
			}
			if r.IntN(3) == 0 {
				c.Rise, c.Fall = 1, 1
			}
			if r.IntN(4) == 0 {
				target.Checks = append(target.Checks, probe.Check{Type: []string{probe.TypeOn, probe.TypeOff}[r.IntN(2)]})
			}
			if r.IntN(5) == 0 {
				target.ID.Service = "renamed"
			}
			if r.IntN(5) == 0 { // shares the probe of another
				c.Address = checktest.Addr(1 + r.IntN(8))
			}
			all = append(all, target)
		}
		return all
	}
	rig.set(t, random()...)
	rig.start(t)
	for range 6 {
		wait(time.Duration(r.IntN(8000)) * time.Millisecond)
		before, reported := rig.Health(), len(rig.changes_())
		next := random()
		p, err := rig.Preview(next)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, rig.Health(), sameAddresses); d != "" || len(rig.changes_()) != reported {
			t.Fatalf("a preview changed something (%d reported of %d):\n%s", len(rig.changes_()), reported, d)
		}
		rig.arrivedMu.Lock() // no result comes in between
		rig.set(t, next...)
		made := rig.Health()
		rig.arrivedMu.Unlock()
		if d := cmp.Diff(p.Health, made, sameAddresses); d != "" {
			t.Fatalf("health (-foretold +made):\n%s", d)
		}
	}
}

func TestPreviewCountsRestartedChecks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.set(t, one(1), one(2), one(3))
		r.start(t)
		wait(5 * time.Second)
		recounted, probed, more := one(1), one(2), one(3)
		recounted.Checks[0].Fall = 7
		probed.Checks[0].Timeout = time.Millisecond
		more.Checks = append(more.Checks, probe.Check{Type: probe.TypeOn})
		p, err := r.Preview([]Target{recounted, probed, more, one(4)})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(map[ID]int{id(2): 1, id(3): 1, id(4): 1}, p.Restarted); d != "" {
			t.Error(d)
		}
		bad := one(1)
		bad.Checks[0].Interval = 0
		if _, err := r.Preview([]Target{bad}); err == nil {
			t.Error("a preview of what Set refuses")
		}
	})
}

var sameAddresses = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
