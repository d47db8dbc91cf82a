package ipvs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// memoryLedger is a Ledger that can fail and that checks the rule that it is
// written before the kernel.
type memoryLedger struct {
	mu    sync.Mutex
	owned Owned
	saves int
	fail  error
}

func (l *memoryLedger) Load() (Owned, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned, nil
}

func (l *memoryLedger) Save(o Owned) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.owned = o
	l.saves++
	return nil
}

func (l *memoryLedger) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *memoryLedger) get() (Owned, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owned.Clone(), l.saves
}

// syncBuffer takes a log from another goroutine.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) lines(part string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for line := range strings.Lines(s.b.String()) {
		if strings.Contains(line, part) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// bench is a reconciler running over a fake kernel in a bubble.
type bench struct {
	t       *testing.T
	k       *Fake
	l       *memoryLedger
	log     *syncBuffer
	r       *Reconciler
	mu      sync.Mutex
	wakes   int
	changes []Change
	stop    func()
}

// inBubble runs f with a reconciler over the kernel and stops it afterwards.
func inBubble(t *testing.T, k *Fake, l *memoryLedger, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, k: k, l: l, log: &syncBuffer{}}
		if b.l == nil {
			b.l = &memoryLedger{}
		}
		b.r = NewReconciler(k, Options{
			Log:    slog.New(slog.NewTextHandler(b.log, nil)),
			Ledger: b.l,
			Wake:   func() { b.mu.Lock(); b.wakes++; b.mu.Unlock() },
			OnChange: func(c Change) {
				b.mu.Lock()
				b.changes = append(b.changes, c)
				b.mu.Unlock()
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.r.Run(ctx) }()
		b.stop = func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			b.stop = func() {}
		}
		defer func() { b.stop() }()
		synctest.Wait()
		f(b)
	})
}

// want states a wish of these services and lets it be worked on.
func (b *bench) want(services ...Service) uint64 {
	g := b.r.Want(Wanted{Table: table(services...)})
	synctest.Wait()
	return g
}

func (b *bench) expectTable(services ...Service) {
	b.t.Helper()
	if d := cmp.Diff(normal(table(services...)), normal(b.k.Table()), cmpAddr); d != "" {
		b.t.Errorf("kernel table (-want +got):\n%s", d)
	}
}

// newOps returns the names of the writes since n.
func (b *bench) newOps(n int) []string { return names(b.k.Ops()[n:]) }

func (b *bench) expectOps(since int, want ...string) {
	b.t.Helper()
	if d := cmp.Diff(want, b.newOps(since)); d != "" {
		b.t.Errorf("writes (-want +got):\n%s", d)
	}
}

func (b *bench) expectLog(part string, n int) {
	b.t.Helper()
	if lines := b.log.lines(part); len(lines) != n {
		b.t.Errorf("%d log lines with %q, want %d: %q", len(lines), part, n, lines)
	}
}

func TestReadsBeforeTheFirstWish(t *testing.T) {
	k := NewFake()
	k.ByHand(func(t Table) { t[mail] = service(mail, dest(9, 3)) })
	inBubble(t, k, nil, func(b *bench) {
		s := b.r.Snapshot()
		if !s.Valid || !s.Up || s.Table[mail].Destinations[dest(9, 3).Address].Weight != 3 || s.Info.Version == "" {
			t.Errorf("first snapshot %+v", s)
		}
		if b.wakes != 1 {
			t.Errorf("%d wakes", b.wakes)
		}
		time.Sleep(time.Minute)
		if n := len(k.Ops()); n != 0 {
			t.Errorf("%d writes without a wish", n)
		}
	})
}

func TestFillsThenOneWriteForOneWeight(t *testing.T) {
	big := bigTable(1000)
	inBubble(t, NewFake(), nil, func(b *bench) {
		g := b.r.Want(Wanted{Table: big})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Fatal(err)
		}
		n, reads := len(b.k.Ops()), b.k.Reads()
		_, saves := b.l.get()
		changed := big.Clone()
		a := netip.MustParseAddrPort("10.1.1.7:80")
		d := changed[web].Destinations[a]
		d.Weight = 0
		changed[web].Destinations[a] = d
		before := b.r.Snapshot().Operations
		g = b.r.Want(Wanted{Table: changed})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Fatal(err)
		}
		b.expectOps(n, "edit_destination tcp 10.0.0.88:80 10.1.1.7:80 w0")
		if b.k.Reads() != reads {
			t.Errorf("%d dumps before the write", b.k.Reads()-reads)
		}
		s := b.r.Snapshot()
		total := uint64(0)
		for op, c := range s.Operations {
			total += c - before[op]
		}
		if total != 1 || s.Operations[Operation{"edit_destination", "ok"}] != 1 {
			t.Errorf("operations %v", s.Operations)
		}
		if s.Table[web].Destinations[a].Weight != 0 || big[web].Destinations[a].Weight != 1 {
			t.Error("the snapshot has not the new weight, or the old wish was written to")
		}
		if _, now := b.l.get(); now != saves {
			t.Error("a changed weight wrote the ledger")
		}
		// Then it is compared in full, once, and then every interval.
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.k.Reads() != reads+1 {
			t.Errorf("%d dumps within two seconds of a wish", b.k.Reads()-reads)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := b.k.Reads() - reads; got != 4 {
			t.Errorf("%d dumps in half a minute", got)
		}
		b.expectOps(n + 1)
	})
}

func TestSnapshotsAreNotWrittenTo(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1), dest(2, 1)), service(mail, dest(3, 1)))
		old := b.r.Snapshot()
		copied := old.Table.Clone()
		b.want(service(web, dest(1, 0), dest(4, 1)))
		if d := cmp.Diff(copied, old.Table, cmpAddr); d != "" {
			t.Errorf("an old snapshot changed:\n%s", d)
		}
		b.expectTable(service(web, dest(1, 0), dest(4, 1)))
	})
}

func TestDriftIsRepairedCountedAndNamed(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		wish := []Service{service(web, dest(1, 1), dest(2, 2), dest(3, 3)), service(mail, dest(1, 1))}
		b.want(wish...)
		time.Sleep(5 * time.Second)
		b.k.ByHand(func(t Table) {
			delete(t, mail)
			s := t[web]
			s.Scheduler = "rr"
			t[web] = s
			delete(s.Destinations, dest(1, 1).Address)
			s.Destinations[dest(2, 9).Address] = dest(2, 9)
			s.Destinations[dest(7, 1).Address] = dest(7, 1)
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.expectTable(service(web, dest(1, 1), dest(2, 2), dest(3, 3), dest(7, 1)), wish[1])
		s := b.r.Snapshot()
		for _, kind := range DriftKinds[:5] {
			if s.Drift[kind] != 1 {
				t.Errorf("drift %s counted %d times", kind, s.Drift[kind])
			}
		}
		b.expectLog("changed by someone else", 5)
		b.expectLog("kind=destination_changed", 1)
		if lines := b.log.lines("kind=destination_changed"); len(lines) == 1 {
			for _, want := range []string{`service="tcp 10.0.0.88:80"`, "real_server=10.0.0.2:80", `from="dr weight 2"`, `to="dr weight 9"`} {
				if !strings.Contains(lines[0], want) {
					t.Errorf("%q does not say %q", lines[0], want)
				}
			}
		}
		if s.Foreign != 1 || len(s.ForeignEntries) != 1 {
			t.Errorf("foreign entries %v", s.ForeignEntries)
		}
		b.expectLog("not ours", 0) // named as drift already
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expectLog("changed by someone else", 5)
	})
}

func TestOwnPendingChangeIsNoDrift(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1)))
		b.k.FailNth(1, syscall.ENOMEM)
		g := b.want(service(web, dest(1, 5)))
		if err := b.r.Wait(b.t.Context(), g); !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("Wait: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expectTable(service(web, dest(1, 5)))
		if d := b.r.Snapshot().Drift[DriftDestinationChanged]; d != 0 {
			t.Errorf("our own failed write is drift")
		}
	})
}

// A hand-made change that a write runs into is read, named and repaired at once.
func TestSurpriseInAWrite(t *testing.T) {
	for name, byHand := range map[string]func(Table){
		DriftServiceMissing:     func(t Table) { delete(t, web) },
		DriftDestinationMissing: func(t Table) { delete(t[web].Destinations, dest(1, 1).Address) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, NewFake(), nil, func(b *bench) {
				b.want(service(web, dest(1, 1), dest(2, 1)))
				b.k.ByHand(byHand)
				b.want(service(web, dest(1, 3), dest(2, 1)))
				b.expectTable(service(web, dest(1, 3), dest(2, 1)))
				if n := b.r.Snapshot().Drift[name]; n != 1 {
					t.Errorf("counted %d times", n)
				}
				b.expectLog("write failed", 0)
			})
		})
	}
}

func TestAdoptsWhatSomebodyElseMadeMeanwhile(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.k.ByHand(func(t Table) { t[web] = service(web, dest(1, 9), dest(8, 1)) })
		g := b.r.Want(Wanted{Table: table(service(web, dest(1, 1), dest(2, 1)))})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Fatal(err)
		}
		b.expectTable(service(web, dest(1, 1), dest(2, 1), dest(8, 1)))
		if s := b.r.Snapshot(); s.Foreign != 1 || len(s.Errors) != 0 {
			t.Errorf("foreign %d, errors %v", s.Foreign, s.Errors)
		}
	})
}

func TestFailedWriteIsRetriedSeenAndSaidOnce(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		refused := dest(3, 1).Address
		b.k.Refuse(func(op Op) error {
			if op.Destination.Address == refused {
				return syscall.EINVAL
			}
			return nil
		})
		start := len(b.k.Ops())
		g := b.want(service(web, dest(1, 1), dest(2, 1), dest(3, 1), dest(4, 1)))
		b.expectTable(service(web, dest(1, 1), dest(2, 1), dest(4, 1)))
		err := b.r.Wait(b.t.Context(), g)
		if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "add_destination tcp 10.0.0.88:80 10.0.0.3:80") {
			t.Errorf("Wait: %v", err)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		s := b.r.Snapshot()
		if len(s.Errors) != 1 || s.Generation == g || s.Attempted != g || s.LastError == "" {
			t.Fatalf("snapshot %+v", s)
		}
		// After 1, 2, 4, 8 s, then every 10 s; the look after the first write
		// falls on the first of them.
		if e := s.Errors[0]; e.Attempts != 9 || len(b.k.Ops())-start != 5+8 {
			t.Errorf("%d attempts, %d writes", e.Attempts, len(b.k.Ops())-start)
		}
		b.expectLog("write failed", 1)
		// A new wish does not wait for the patience of the old.
		n := len(b.k.Ops())
		g = b.want(service(web, dest(1, 1), dest(2, 1), dest(3, 1), dest(4, 1)))
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := len(b.k.Ops()) - n; got != 2 {
			t.Errorf("%d attempts within the second after a new wish", got)
		}
		b.k.Refuse(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.expectTable(service(web, dest(1, 1), dest(2, 1), dest(3, 1), dest(4, 1)))
		if s := b.r.Snapshot(); len(s.Errors) != 0 || s.Generation != g {
			t.Errorf("errors %v, generation %d", s.Errors, s.Generation)
		}
		b.expectLog("done or needed no more", 1)
	})
}

// The last live server is kept while the one that replaces it can't be written.
func TestLastLiveServerWaitsForItsReplacement(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1), dest(2, 1), dest(3, 0)))
		b.k.Refuse(func(op Op) error {
			if op.Destination.Address == dest(3, 1).Address {
				return syscall.ENOMEM
			}
			return nil
		})
		b.want(service(web, dest(1, 0), dest(3, 1)))
		b.expectTable(service(web, dest(2, 1), dest(1, 0), dest(3, 0)))
		b.k.Refuse(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		b.expectTable(service(web, dest(1, 0), dest(3, 1)))
	})
}

func TestUnknownSchedulerDoesNotStopTheRest(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		odd := service(mail, dest(1, 1), dest(2, 1))
		odd.Scheduler = "nosuch"
		g := b.want(odd, service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1)))
		b.expectOps(0, "add_service tcp 10.0.0.88:25", "add_service tcp 10.0.0.88:80", "add_destination tcp 10.0.0.88:80 10.0.0.1:80 w1")
		if err := b.r.Wait(b.t.Context(), g); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("Wait: %v", err)
		}
		b.want(service(mail, dest(1, 1)), service(web, dest(1, 1)))
		b.expectTable(service(mail, dest(1, 1)), service(web, dest(1, 1)))
		if s := b.r.Snapshot(); len(s.Errors) != 0 {
			t.Errorf("errors %v", s.Errors)
		}
	})
}

func TestLostReply(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1), dest(2, 1)))
		b.k.LoseReply(1)
		g := b.r.Want(Wanted{Table: table(service(web, dest(1, 5), dest(2, 5)))})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Errorf("Wait: %v", err)
		}
		b.expectTable(service(web, dest(1, 5), dest(2, 5)))
		s := b.r.Snapshot()
		for kind, n := range s.Drift {
			if n != 0 {
				t.Errorf("our own write is drift: %s", kind)
			}
		}
		if len(s.Errors) != 0 || !s.Up {
			t.Errorf("errors %v", s.Errors)
		}
	})
}

func TestKernelLostAndBack(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		wish := service(web, dest(1, 1), dest(2, 1))
		b.want(wish)
		b.k.SetDown(true)
		b.k.ByHand(func(t Table) { clear(t) })
		time.Sleep(2 * time.Second)
		g := b.want(service(web, dest(1, 1), dest(2, 7)))
		s := b.r.Snapshot()
		if s.Up || !s.Valid || s.LastError == "" {
			t.Errorf("snapshot of a lost kernel %+v", s)
		}
		if err := b.r.Wait(b.t.Context(), g); err == nil {
			t.Error("a wish was fulfilled without a kernel")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		b.expectLog("can't be read", 1)
		b.k.SetDown(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.expectTable(service(web, dest(1, 1), dest(2, 7)))
		if s := b.r.Snapshot(); !s.Up || s.Generation != g {
			t.Errorf("snapshot %+v", s)
		}
		b.expectLog("answers again", 1)
		b.expectLog("changed by someone else", 0)
	})
}

func TestLostAtStart(t *testing.T) {
	k := NewFake()
	k.SetDown(true)
	inBubble(t, k, nil, func(b *bench) {
		if s := b.r.Snapshot(); s.Valid || s.Up {
			t.Errorf("snapshot %+v", s)
		}
		k.SetDown(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := b.r.Snapshot(); !s.Valid || !s.Up {
			t.Errorf("snapshot %+v", s)
		}
	})
}

func TestRestartRemovesWhatLeftTheFile(t *testing.T) {
	k, l := NewFake(), &memoryLedger{}
	inBubble(t, k, l, func(b *bench) { b.want(service(web, dest(1, 1), dest(2, 1)), service(mail, dest(1, 1))) })
	k.ByHand(func(t Table) {
		t[key("10.0.0.99:99")] = service(key("10.0.0.99:99"), dest(1, 1))
		t[web].Destinations[dest(7, 1).Address] = dest(7, 1)
	})
	inBubble(t, k, l, func(b *bench) {
		b.want(service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1), dest(7, 1)), service(key("10.0.0.99:99"), dest(1, 1)))
		b.expectLog("not ours", 1)
		owned, _ := l.get()
		if want := (Owned{}).with(table(service(web, dest(1, 1)))); !owned.Equal(want) {
			t.Errorf("owned %v, want %v", owned, want)
		}
	})
}

// orderedKernel fails the test when something is added to the kernel that the
// ledger does not know yet, or deleted that it forgot already.
type orderedKernel struct {
	*Fake
	t *testing.T
	l *memoryLedger
}

func (k orderedKernel) Apply(op Op) error {
	owned, _ := k.l.get()
	e := op.entry()
	dests, ok := owned[e.Service]
	if ok && e.RealServer.IsValid() {
		_, ok = dests[e.RealServer]
	}
	if !ok {
		k.t.Errorf("%s was written before the ledger knew it", op)
	}
	return k.Fake.Apply(op)
}

func TestLedgerIsWrittenFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLedger{}
		r := NewReconciler(orderedKernel{NewFake(), t, l}, Options{Ledger: l})
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		for i, wish := range []Table{
			table(service(web, dest(1, 1), dest(2, 1)), service(mail, dest(1, 1))),
			table(service(web, dest(3, 1))),
			{},
		} {
			r.Want(Wanted{Table: wish})
			synctest.Wait()
			if owned, _ := l.get(); !owned.Equal(Owned{}.with(wish)) {
				t.Errorf("wish %d: ledger %v", i, owned)
			}
		}
		cancel()
		synctest.Wait()
	})
}

func TestFullDiskDoesNotStopBalancing(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.l.setFail(syscall.ENOSPC)
		wish := service(web, dest(1, 1))
		g := b.r.Want(Wanted{Table: table(wish)})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Errorf("Wait: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expectTable(wish)
		b.expectLog("ledger", 1)
		if s := b.r.Snapshot(); !strings.Contains(s.LedgerError, "no space") {
			t.Errorf("ledger error %q", s.LedgerError)
		}
		b.l.setFail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if owned, _ := b.l.get(); !owned.Equal(Owned{}.with(table(wish))) || b.r.Snapshot().LedgerError != "" {
			t.Errorf("ledger %v, %q", owned, b.r.Snapshot().LedgerError)
		}
	})
}

func TestForeignPolicies(t *testing.T) {
	for policy, left := range map[ForeignPolicy]bool{Alarm: true, Ignore: true, Remove: false} {
		t.Run(policy.String(), func(t *testing.T) {
			k := NewFake()
			k.ByHand(func(t Table) { t[web] = service(web, dest(7, 1)) })
			inBubble(t, k, nil, func(b *bench) {
				b.r.Want(Wanted{Table: table(service(web, dest(1, 1))), Foreign: policy})
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if _, is := k.Table()[web].Destinations[dest(7, 1).Address]; is != left {
					t.Errorf("still there: %v", is)
				}
				n := map[ForeignPolicy]int{Alarm: 1, Ignore: 0, Remove: 0}[policy]
				if s := b.r.Snapshot(); s.Foreign != n {
					t.Errorf("%d foreign entries, want %d", s.Foreign, n)
				}
				b.expectLog("not ours", map[ForeignPolicy]int{Alarm: 1, Ignore: 0, Remove: 1}[policy])
			})
		})
	}
}

func TestSettings(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.r.Want(Wanted{Table: Table{}, ManageSysctls: true, TimeoutTCP: time.Hour, TimeoutUDP: 1500 * time.Millisecond})
		synctest.Wait()
		to, _ := b.k.Timeouts()
		if to != (Timeouts{time.Hour, 2 * time.Minute, 2 * time.Second}) {
			t.Errorf("timeouts %v", to)
		}
		for _, s := range managedSysctls {
			if v, _ := b.k.Sysctl(s.name); v != "1" {
				t.Errorf("%s is %q", s.name, v)
			}
			b.expectLog("net.ipv4.vs."+s.name, 1)
		}
		if err := b.k.SetSysctl("expire_nodest_conn", "0"); err != nil {
			t.Fatal(err)
		}
		if err := b.k.SetTimeouts(Timeouts{TCP: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		to, _ = b.k.Timeouts()
		v, _ := b.k.Sysctl("expire_nodest_conn")
		s := b.r.Snapshot()
		if to.TCP != time.Hour || v != "1" || s.Drift[DriftSysctl] != 1 || s.Drift[DriftTimeouts] != 1 {
			t.Errorf("timeouts %v, sysctl %s, drift %v", to, v, s.Drift)
		}
		if s.Operations[Operation{"set_sysctl", "ok"}] != 3 || s.Operations[Operation{"set_timeouts", "ok"}] != 2 {
			t.Errorf("operations %v", s.Operations)
		}
	})
}

func TestNoSysctlsIsVisibleNotFatal(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.k.NoSysctls()
		wish := service(web, dest(1, 1))
		g := b.r.Want(Wanted{Table: table(wish), ManageSysctls: true})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Error(err)
		}
		b.expectTable(wish)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expectLog("settings are not as wanted", 1)
		if b.r.Snapshot().SettingsError == "" {
			t.Error("not in the snapshot")
		}
	})
}

func TestRefresh(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1)))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		b.k.SetStats(web, ServiceStats{Counters: Counters{Connections: 5}})
		reads := b.k.Reads()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if s := b.r.Refresh(b.t.Context()); s.Stats[web].Connections != 5 {
					t.Errorf("%d connections", s.Stats[web].Connections)
				}
			})
		}
		wg.Wait()
		if n := b.k.Reads() - reads; n < 1 || n > 2 {
			t.Errorf("%d dumps for 20 callers at once", n)
		}
		reads = b.k.Reads()
		b.r.Refresh(b.t.Context())
		if b.k.Reads() != reads {
			t.Error("a fresh snapshot was read again")
		}
		b.k.SetDown(true)
		time.Sleep(2 * time.Second)
		if s := b.r.Refresh(b.t.Context()); s.Up || s.Stats[web].Connections != 5 {
			t.Errorf("of a lost kernel: %+v", s)
		}
		b.stop()
		if s := b.r.Refresh(context.Background()); !s.Valid {
			t.Error("after Run there is no snapshot")
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	inBubble(t, NewFake(), nil, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		if err := b.r.Wait(ctx, 99); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestRemove(t *testing.T) {
	k := NewFake()
	k.ByHand(func(t Table) { t[mail] = service(mail, dest(9, 1)) })
	inBubble(t, k, nil, func(b *bench) {
		b.want(service(web, dest(1, 1)), service(key("10.0.0.88:81"), dest(1, 1)))
		b.stop()
		b.expectTable(service(web, dest(1, 1)), service(key("10.0.0.88:81"), dest(1, 1)), service(mail, dest(9, 1)))
		k.FailNth(1, syscall.ENOMEM)
		if err := b.r.Remove(b.t.Context()); !errors.Is(err, syscall.ENOMEM) {
			t.Error(err)
		}
		if err := b.r.Remove(b.t.Context()); err != nil {
			t.Error(err)
		}
		b.expectTable(service(mail, dest(9, 1)))
		if owned, _ := b.l.get(); len(owned) != 0 {
			t.Errorf("still owned: %v", owned)
		}
	})
}

// A service whose deletion fails stays ours, over a restart too.
func TestFailedDeletionStaysOurs(t *testing.T) {
	k, l := NewFake(), &memoryLedger{}
	k.Refuse(func(op Op) error {
		if op.Kind == DeleteService {
			return syscall.ENOMEM
		}
		return nil
	})
	inBubble(t, k, l, func(b *bench) {
		b.want(service(web, dest(1, 1)), service(mail, dest(1, 1)))
		b.want(service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1)), service(mail, dest(1, 1)))
	})
	k.Refuse(nil)
	inBubble(t, k, l, func(b *bench) {
		b.want(service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1)))
	})
}

// TestConvergesThroughFailures: from a random table to a random wish, with
// writes failing, answers lost and hands in the table, the kernel ends at the
// wish, and what was never ours stays as it is.
func TestConvergesThroughFailures(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { convergence(t, seed) })
	}
}
