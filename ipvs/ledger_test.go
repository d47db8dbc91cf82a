package ipvs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

func TestRestartRemovesWhatLeftTheFile(t *testing.T) {
	k, l := ipvstest.New(), &memoryLedger{}
	inBubble(t, k, l, func(b *bench) { b.want(service(web, dest(1, 1), dest(2, 1)), service(mail, dest(1, 1))) })
	k.Change(func(t Table) {
		t[key("10.0.0.99:99")] = service(key("10.0.0.99:99"), dest(1, 1))
		t[web].Destinations[dest(7, 1).Address] = dest(7, 1)
	})
	inBubble(t, k, l, func(b *bench) {
		b.want(service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1), dest(7, 1)), service(key("10.0.0.99:99"), dest(1, 1)))
		b.expectLog("another process added a real server", 1)
		owned, _ := l.get()
		if want := (Owned{}).With(table(service(web, dest(1, 1)))); !owned.Equal(want) {
			t.Errorf("owned %v, want %v", owned, want)
		}
	})
}

// orderedKernel fails the test when something is added to the kernel that the
// ledger does not know yet, or deleted that it forgot already.
type orderedKernel struct {
	*ipvstest.Kernel
	t *testing.T
	l *memoryLedger
}

func (k orderedKernel) Apply(op Op) error {
	owned, _ := k.l.get()
	e := op.Entry()
	dests, ok := owned[e.Service]
	if ok && e.RealServer.IsValid() {
		_, ok = dests[e.RealServer]
	}
	if !ok {
		k.t.Errorf("%s was written before the ledger knew it", op)
	}
	return k.Kernel.Apply(op)
}

func TestLedgerIsWrittenFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLedger{}
		r := NewReconciler(orderedKernel{ipvstest.New(), t, l}, Options{Ledger: l})
		ctx, cancel := context.WithCancel(t.Context())
		go r.Run(ctx)
		for i, desired := range []Table{
			table(service(web, dest(1, 1), dest(2, 1)), service(mail, dest(1, 1))),
			table(service(web, dest(3, 1))),
			{},
		} {
			r.SetDesired(Desired{Table: desired})
			synctest.Wait()
			if owned, _ := l.get(); !owned.Equal(Owned{}.With(desired)) {
				t.Errorf("wish %d: ledger %v", i, owned)
			}
		}
		cancel()
		synctest.Wait()
	})
}

func TestFullDiskDoesNotStopBalancing(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.l.setFail(syscall.ENOSPC)
		desired := service(web, dest(1, 1))
		g := b.r.SetDesired(Desired{Table: table(desired)})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Errorf("Wait: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expectTable(desired)
		b.expectLog("is outdated", 1)
		if s := b.r.Snapshot(); !strings.Contains(s.LedgerError, "no space") {
			t.Errorf("ledger error %q", s.LedgerError)
		}
		b.l.setFail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if owned, _ := b.l.get(); !owned.Equal(Owned{}.With(table(desired))) || b.r.Snapshot().LedgerError != "" {
			t.Errorf("ledger %v, %q", owned, b.r.Snapshot().LedgerError)
		}
	})
}

func TestForeignPolicies(t *testing.T) {
	for policy, left := range map[ForeignPolicy]bool{Alarm: true, Ignore: true, Remove: false} {
		t.Run(policy.String(), func(t *testing.T) {
			k := ipvstest.New()
			k.Change(func(t Table) { t[web] = service(web, dest(7, 1)) })
			inBubble(t, k, nil, func(b *bench) {
				b.r.SetDesired(Desired{Table: table(service(web, dest(1, 1))), Foreign: policy})
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if _, is := k.Table()[web].Destinations[dest(7, 1).Address]; is != left {
					t.Errorf("still there: %v", is)
				}
				n := map[ForeignPolicy]int{Alarm: 1, Ignore: 0, Remove: 0}[policy]
				if s := b.r.Snapshot(); s.Foreign != n {
					t.Errorf("%d foreign entries, want %d", s.Foreign, n)
				}
				b.expectLog("another process added a real server", map[ForeignPolicy]int{Alarm: 1, Ignore: 0, Remove: 1}[policy])
			})
		})
	}
}

func TestSettings(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.r.SetDesired(Desired{Table: Table{}, ManageSysctls: true, TimeoutTCP: time.Hour, TimeoutUDP: 1500 * time.Millisecond})
		synctest.Wait()
		to, _ := b.k.Timeouts()
		if to != (Timeouts{time.Hour, 2 * time.Minute, 2 * time.Second}) {
			t.Errorf("timeouts %v", to)
		}
		for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template"} {
			if v, _ := b.k.Sysctl(name); v != "1" {
				t.Errorf("%s is %q", name, v)
			}
			b.expectLog("net.ipv4.vs."+name, 1)
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.k.NoSysctls()
		desired := service(web, dest(1, 1))
		g := b.r.SetDesired(Desired{Table: table(desired), ManageSysctls: true})
		if err := b.r.Wait(b.t.Context(), g); err != nil {
			t.Error(err)
		}
		b.expectTable(desired)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.expectLog("settings could not be applied", 1)
		if b.r.Snapshot().SettingsError == "" {
			t.Error("not in the snapshot")
		}
	})
}

func TestRefresh(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		if err := b.r.Wait(ctx, 99); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestRemove(t *testing.T) {
	k := ipvstest.New()
	k.Change(func(t Table) { t[mail] = service(mail, dest(9, 1)) })
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
	k, l := ipvstest.New(), &memoryLedger{}
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

// TestTemplatesAreKeptForAWhile: our own change is no drift.
func TestTemplatesAreKeptForAWhile(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		for _, keep := range []bool{false, true, false} {
			b.r.SetDesired(Desired{Table: Table{}, ManageSysctls: true, KeepTemplates: keep})
			time.Sleep(time.Minute)
			synctest.Wait()
			want := map[bool]string{false: "1", true: "0"}[keep]
			if v, _ := b.k.Sysctl("expire_quiescent_template"); v != want {
				t.Errorf("keep %v: %s is %s, want %s", keep, "expire_quiescent_template", v, want)
			}
		}
		if s := b.r.Snapshot(); s.Drift[DriftSysctl] != 0 || len(s.Conflicts) != 0 {
			t.Errorf("drift %v, fights %v", s.Drift, s.Conflicts)
		}
	})
}
