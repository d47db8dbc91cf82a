package ipvs_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// livelyKernel checks after every write that no service lost capacity that both the
// table before and the desired one have, unless a write of that service failed; then at
// least one live server must stay.
type livelyKernel struct {
	*ipvstest.Kernel
	t        *testing.T
	mu       sync.Mutex
	old, new Table
	failed   map[ServiceKey]bool
	hands    bool // another process changed the table since it was last read
}

func (k *livelyKernel) Read() (Reading, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hands {
		k.old, k.hands = k.Table(), false
	}
	return k.Kernel.Read()
}

func (k *livelyKernel) Apply(op Op) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.Kernel.Apply(op)
	if err != nil {
		k.failed[op.Service.Key] = true
	}
	if k.hands {
		return err // a change that was not read yet cannot be repaired
	}
	now := k.Kernel.Table()
	for key, s := range k.new {
		least := min(k.old[key].Usable(), s.Usable())
		if k.failed[key] {
			least = min(least, 1)
		}
		if live := now[key].Usable(); live < least {
			k.t.Errorf("%s has %d live servers after %s, %d before and %d wanted", key, live, op, k.old[key].Usable(), s.Usable())
		}
	}
	return err
}

// TestConvergesThroughFailures: from a random table to a random desired one, with
// failing writes, lost replies and another writer, the kernel ends at the desired
// table, and what was never ours stays as it is.
func TestConvergesThroughFailures(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { convergence(t, seed) })
	}
}

func convergence(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	synctest.Test(t, func(t *testing.T) {
		k := &livelyKernel{Kernel: ipvstest.New(), t: t, failed: map[ServiceKey]bool{}}
		theirs := service(key("10.9.9.9:9"), dest(9, 1))
		k.Change(func(t Table) {
			for key, s := range randomTable(r) {
				t[key] = s
			}
			t[theirs.Key] = theirs
		})
		l := &memoryLedger{owned: Owned{}.With(randomPart(r, k.Table()))}
		delete(l.owned, theirs.Key)
		rec := NewReconciler(k, Options{Ledger: l})
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(done); rec.Run(ctx) }()
		synctest.Wait()

		var desired Table
		var g uint64
		for range 4 {
			for range r.IntN(4) {
				switch n := 1 + r.IntN(8); r.IntN(3) {
				case 0:
					k.LoseReply(n)
				default:
					k.FailNth(n, []error{syscall.ENOMEM, syscall.ENOENT, syscall.ESRCH, syscall.EEXIST}[r.IntN(4)])
				}
			}
			desired = randomTable(r)
			k.mu.Lock()
			if !k.hands {
				k.old = k.Table()
			}
			k.new = desired
			clear(k.failed)
			k.mu.Unlock()
			g = rec.SetDesired(Desired{Table: desired, Foreign: Remove})
			time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			synctest.Wait()
			if r.IntN(2) == 0 {
				k.mu.Lock()
				k.hands = true
				k.mu.Unlock()
				k.Change(func(t Table) {
					for _, key := range t.Keys() {
						switch {
						case key == theirs.Key:
						case r.IntN(3) == 0:
							delete(t, key)
						default:
							t[key].Destinations[dest(1, 9).Address] = dest(1, 9)
							delete(t[key].Destinations, dest(2, 0).Address)
						}
					}
				})
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := desired.Clone()
		want[theirs.Key] = theirs
		got := k.Table()
		for key := range got {
			// What was in the kernel at the start and not in the ledger is theirs too.
			if _, wanted := want[key]; !wanted {
				if owned, _ := l.get(); owned[key] != nil {
					t.Errorf("%s is owned, not wanted, and still there", key)
				}
				delete(got, key)
			}
		}
		if d := cmp.Diff(normal(want), normal(got), cmpAddr); d != "" {
			t.Errorf("did not converge (-want +got):\n%s", d)
		}
		if s := rec.Snapshot(); s.Generation != g || len(s.Errors) != 0 {
			t.Errorf("generation %d of %d, errors %v", s.Generation, g, s.Errors)
		}
		owned, _ := l.get()
		if d := cmp.Diff(Owned{}.With(desired), owned, cmpAddr); d != "" {
			t.Errorf("ledger (-want +got):\n%s", d)
		}
		cancel()
		<-done
	})
}
