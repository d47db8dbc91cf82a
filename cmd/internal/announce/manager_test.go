package announce

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/config"
)

var (
	vip  = netip.MustParseAddr("192.0.2.80")
	vip6 = netip.MustParseAddr("2001:db8::80")
)

// memory is a Kernel in memory that records the changes in their order.
type memory struct {
	mu        sync.Mutex
	ours      map[Route]bool
	foreign   []ForeignRoute
	addresses map[netip.Addr]string
	log       []string
	fail      func(verb string, r Route) error
	slow      time.Duration // of a read
	reads     int
	changed   func(int)
}

func newMemory(ours ...Route) *memory {
	k := &memory{ours: map[Route]bool{}, addresses: map[netip.Addr]string{}}
	for _, r := range ours {
		k.ours[r] = true
	}
	return k
}

func (k *memory) Read(tables []int) (Reading, error) {
	time.Sleep(k.slow) // of the bubble
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads++
	var r Reading
	for o := range k.ours {
		r.Ours = append(r.Ours, o)
	}
	for _, f := range k.foreign {
		if slices.Contains(tables, f.Table) {
			r.Foreign = append(r.Foreign, f)
		}
	}
	return r, nil
}

func (k *memory) change(verb string, r Route, there bool, errno error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		if err := k.fail(verb, r); err != nil {
			return err
		}
	}
	if k.ours[r] == there {
		return errno
	}
	k.log = append(k.log, verb+" "+r.String())
	if delete(k.ours, r); there {
		k.ours[r] = true
	}
	return nil
}

func (k *memory) Add(r Route) error    { return k.change("add", r, true, syscall.EEXIST) }
func (k *memory) Delete(r Route) error { return k.change("delete", r, false, syscall.ESRCH) }

func (k *memory) Addresses() (map[netip.Addr]string, error) { return k.addresses, nil }

func (k *memory) Watch(changed func(int)) (func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed = changed
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.changed = nil
	}, nil
}

func (k *memory) watched() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changed != nil
}

func (k *memory) Close() {}

// took returns the changes since the last call.
func (k *memory) took() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	text := strings.Join(k.log, ", ")
	k.log = nil
	return text
}

// rig is a manager that runs over a kernel in memory, in a bubble.
type rig struct {
	*Manager
	k       *memory
	t       *testing.T
	changes atomic.Int32
}

func inBubble(t *testing.T, k *memory, f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{k: k, t: t}
		r.Manager = New(slog.New(slog.DiscardHandler), func() (Kernel, error) { return k, nil }, func() { r.changes.Add(1) })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		synctest.Wait()
		f(r)
		cancel()
		running.Wait()
	})
}

// set sets a state, waits until it is done, and expects these changes.
func (r *rig) set(d Desired, want string) {
	r.t.Helper()
	r.Set(d)
	r.after(gatherDelay)
	if got := r.k.took(); got != want {
		r.t.Errorf("changes: %s, want %s", got, want)
	}
}

func (r *rig) after(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func desired(announced bool, metric uint32, addresses ...netip.Addr) Desired {
	return Desired{Announces: []Announce{{Name: "any", Addresses: addresses, Table: 112, Announced: announced, Metric: metric}}, Linger: 5 * time.Second}
}

// TestOrder: an address is accepted before it is announced, and withdrawn before it is no
// longer accepted, which takes a while.
func TestOrder(t *testing.T) {
	inBubble(t, newMemory(), func(r *rig) {
		r.set(desired(false, 0, vip, vip6), "add local 192.0.2.80, add local 2001:db8::80")
		generation := r.Set(desired(true, 100, vip, vip6))
		if err := r.Wait(r.t.Context(), generation); err != nil {
			t.Fatal(err)
		}
		if got := r.k.took(); got != "add 192.0.2.80/32 table 112 metric 100, add 2001:db8::80/128 table 112 metric 100" {
			t.Error(got)
		}
		if s := r.Snapshot(); len(s.Present) != 4 || len(s.Errors) != 0 || r.changes.Load() == 0 {
			t.Errorf("%+v", s)
		}
		// Another metric: FRR forgets a route when it is deleted after the new one was added.
		r.set(desired(true, 4000, vip), "delete 192.0.2.80/32 table 112 metric 100, delete 2001:db8::80/128 table 112 metric 100, add 192.0.2.80/32 table 112 metric 4000")
		r.after(4 * time.Second)
		if got := r.k.took(); got != "" {
			t.Errorf("too early: %s", got)
		}
		r.after(2 * time.Second)
		if got := r.k.took(); got != "delete local 2001:db8::80" {
			t.Error(got)
		}
		r.set(Desired{}, "delete 192.0.2.80/32 table 112 metric 4000, delete local 192.0.2.80")
	})
}

// TestRepair: what another process removes is restored at its notification, and counted;
// without one at the next comparison.
func TestRepair(t *testing.T) {
	inBubble(t, newMemory(), func(r *rig) {
		r.set(desired(true, 100, vip), "add local 192.0.2.80, add 192.0.2.80/32 table 112 metric 100")
		for i, notify := range []bool{true, false} {
			r.k.mu.Lock()
			delete(r.k.ours, announced(112, vip, 100))
			changed := r.k.changed
			r.k.mu.Unlock()
			if notify {
				changed(112)
				r.after(2 * gatherDelay)
			} else {
				r.after(resync + time.Second)
			}
			if got := r.k.took(); got != "add 192.0.2.80/32 table 112 metric 100" {
				t.Errorf("notification %v: %s", notify, got)
			}
			if s := r.Snapshot(); s.Repairs != uint64(i+1) {
				t.Errorf("%d repairs", s.Repairs)
			}
		}
		before := r.Snapshot()
		r.k.changed(254) // a table without routes of ours
		r.after(gatherDelay)
		if got := r.k.took(); got != "" || r.Snapshot().Repairs != before.Repairs {
			t.Errorf("%s", got)
		}
	})
}

// TestFailures: an address that this host cannot accept is not announced, the others are;
// a failure is tried again.
// The host's routes are followed while there are announcements, and only then: a host
// may have a million of others.
func TestWatchOnlyForAnnouncements(t *testing.T) {
	inBubble(t, newMemory(), func(r *rig) {
		for _, used := range []bool{false, true, false, true} {
			d := Desired{}
			if used {
				d = desired(true, 0, vip)
			}
			r.Set(d)
			r.after(gatherDelay)
			if r.k.watched() != used {
				t.Errorf("announcements: %v, watched: %v", used, !used)
			}
		}
	})
}

// A host's large routing table is read rarely.
func TestResyncIsBounded(t *testing.T) {
	for slow, most := range map[time.Duration]int{0: 361, time.Second: 37} {
		k := newMemory()
		k.slow = slow
		inBubble(t, k, func(r *rig) {
			r.Set(desired(true, 0, vip))
			r.after(time.Hour)
			r.k.mu.Lock()
			defer r.k.mu.Unlock()
			if r.k.reads < most-2 || r.k.reads > most+2 {
				t.Errorf("reads of %v: %d in an hour, want about %d", slow, r.k.reads, most)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	k := newMemory()
	k.fail = func(verb string, r Route) error {
		if r == local(vip) {
			return syscall.EEXIST
		}
		return nil
	}
	inBubble(t, k, func(r *rig) {
		generation := r.Set(desired(true, 100, vip, vip6))
		r.after(gatherDelay)
		if got := k.took(); got != "add local 2001:db8::80, add 2001:db8::80/128 table 112 metric 100" {
			t.Error(got)
		}
		s := r.Snapshot()
		if s.Generation >= generation || len(s.Errors) != 1 || !strings.Contains(s.Errors[0], "is an address of an interface") {
			t.Errorf("%+v", s)
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Millisecond)
		defer cancel()
		if err := r.Wait(ctx, generation); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		k.mu.Lock()
		k.fail = nil
		k.mu.Unlock()
		r.after(retryAfter + gatherDelay)
		if got := k.took(); got != "add local 192.0.2.80, add 192.0.2.80/32 table 112 metric 100" || len(r.Snapshot().Errors) != 0 {
			t.Errorf("%s, %v", got, r.Snapshot().Errors)
		}
	})
}

// TestCrash: what a crashed run left is found by its protocol number: kept where it is
// still wanted, removed where not, also from a table that is not configured any more.
func TestCrash(t *testing.T) {
	old := announced(200, vip, 100)
	k := newMemory(local(vip), announced(112, vip, 100), old)
	m := New(slog.New(slog.DiscardHandler), func() (Kernel, error) { return k, nil }, func() {})
	if _, err := m.Prepare(nil, &config.Config{Announces: []config.Announce{{Name: "any", Table: 112, Addresses: []netip.Addr{vip}}}}); err != nil {
		t.Fatal(err)
	}
	if routes := m.Adopted(); len(routes) != 2 || routes[Key{112, vip}].Metric != 100 {
		t.Errorf("%v", routes)
	}
	inBubble(t, k, func(r *rig) {
		if got := k.took(); got != "" {
			t.Errorf("before the first decision: %s", got)
		}
		r.Set(Desired{})
		r.after(gatherDelay)
		if got := k.took(); got != "delete 192.0.2.80/32 table 112 metric 100, delete 192.0.2.80/32 table 200 metric 100, delete local 192.0.2.80" {
			t.Errorf("without announcements: %s", got)
		}
	})
	k = newMemory(local(vip), announced(112, vip, 100), old)
	if look, err := Sweep(k, true, 0); err != nil || !slices.Equal(look, []netip.Addr{vip}) || k.took() != "" {
		t.Errorf("%v, %v", look, err)
	}
	if gone, err := Sweep(k, false, 0); err != nil || len(gone) != 1 || len(k.ours) != 0 {
		t.Errorf("%v, %v, %v", gone, err, k.ours)
	}
}

// TestForeign: a route of another process is reported, and never touched.
func TestForeign(t *testing.T) {
	k := newMemory()
	k.foreign = []ForeignRoute{{announced(112, netip.MustParseAddr("192.0.2.99"), 0), 4}, {announced(9, vip, 0), 4}}
	inBubble(t, k, func(r *rig) {
		r.set(desired(true, 100, vip), "add local 192.0.2.80, add 192.0.2.80/32 table 112 metric 100")
		if s := r.Snapshot(); len(s.Foreign) != 1 || s.Foreign[0].Prefix.Addr().String() != "192.0.2.99" {
			t.Errorf("%+v", s.Foreign)
		}
	})
}

// TestPrepare: addresses of interfaces and routes of others refuse a configuration.
func TestPrepare(t *testing.T) {
	k := newMemory()
	m := New(slog.New(slog.DiscardHandler), func() (Kernel, error) { return k, nil }, func() {})
	next := &config.Config{File: "lvsd.toml", Announces: []config.Announce{{Name: "any", Table: 112, Addresses: []netip.Addr{vip}, Position: config.Position{Line: 7, Col: 1}}}}
	if _, err := m.Prepare(nil, next); err != nil {
		t.Error(err)
	}
	k.addresses[vip] = "lo"
	if _, err := m.Prepare(nil, next); err == nil || !strings.HasPrefix(err.Error(), "lvsd.toml:7:1: announce any: 192.0.2.80 is an address of lo") {
		t.Error(err)
	}
	// It belongs to an instance that ends in the same reload.
	old := &config.Config{Instances: []config.Instance{{Addresses: []netip.Prefix{netip.PrefixFrom(vip, 32)}}}}
	if _, err := m.Prepare(old, next); err != nil {
		t.Error(err)
	}
	delete(k.addresses, vip)
	k.foreign = []ForeignRoute{{announced(112, vip, 5), 3}}
	if _, err := m.Prepare(nil, next); err == nil || !strings.Contains(err.Error(), "another process has a route to 192.0.2.80 in table 112 (protocol 3)") {
		t.Error(err)
	}
}

// TestRemove: a stop leaves nothing behind.
func TestRemove(t *testing.T) {
	k := newMemory()
	m := New(slog.New(slog.DiscardHandler), func() (Kernel, error) { return k, nil }, func() {})
	m.Set(desired(true, 100, vip))
	m.reconcile(time.Now())
	if err := m.Remove(); err != nil || len(k.ours) != 0 {
		t.Errorf("%v, %v", err, k.ours)
	}
}
