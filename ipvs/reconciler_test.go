package ipvs_test

import (
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

func TestReadsBeforeTheFirstDesiredTable(t *testing.T) {
	k := ipvstest.New()
	k.Change(func(t Table) { t[mail] = service(mail, dest(9, 3)) })
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		g := b.r.SetDesired(Desired{Table: big})
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
		g = b.r.SetDesired(Desired{Table: changed})
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		desired := []Service{service(web, dest(1, 1), dest(2, 2), dest(3, 3)), service(mail, dest(1, 1))}
		b.want(desired...)
		time.Sleep(5 * time.Second)
		b.k.Change(func(t Table) {
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
		b.expectTable(service(web, dest(1, 1), dest(2, 2), dest(3, 3), dest(7, 1)), desired[1])
		s := b.r.Snapshot()
		for _, kind := range DriftKinds[:5] {
			if s.Drift[kind] != 1 {
				t.Errorf("drift %s counted %d times", kind, s.Drift[kind])
			}
		}
		b.expectLog("modified by another process", 5)
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
		b.expectLog("modified by another process", 5)
	})
}

func TestOwnPendingChangeIsNoDrift(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
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

// A manual change that a write meets is read, reported and repaired at once.
func TestSurpriseInAWrite(t *testing.T) {
	for name, byHand := range map[string]func(Table){
		DriftServiceMissing:     func(t Table) { delete(t, web) },
		DriftDestinationMissing: func(t Table) { delete(t[web].Destinations, dest(1, 1).Address) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, ipvstest.New(), nil, func(b *bench) {
				b.want(service(web, dest(1, 1), dest(2, 1)))
				b.k.Change(byHand)
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

func TestAdoptsWhatAnotherProcessAdded(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.k.Change(func(t Table) { t[web] = service(web, dest(1, 9), dest(8, 1)) })
		g := b.r.SetDesired(Desired{Table: table(service(web, dest(1, 1), dest(2, 1)))})
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
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
		// After 1, 2, 4, 8 s, then every 10 s; the reading after the first write coincides with
		// the first of them.
		if e := s.Errors[0]; e.Attempts != 9 || len(b.k.Ops())-start != 5+8 {
			t.Errorf("%d attempts, %d writes", e.Attempts, len(b.k.Ops())-start)
		}
		b.expectLog("write failed", 1)
		// A new desired state does not wait for the backoff of the old one.
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
		b.expectLog("succeeded after retry", 1)
	})
}

// The last live server is kept while the one that replaces it can't be written.
func TestLastLiveServerWaitsForItsReplacement(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1), dest(2, 1)))
		b.k.LoseReply(1)
		g := b.r.SetDesired(Desired{Table: table(service(web, dest(1, 5), dest(2, 5)))})
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
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		desired := service(web, dest(1, 1), dest(2, 1))
		b.want(desired)
		b.k.SetDown(true)
		b.k.Change(func(t Table) { clear(t) })
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
		b.expectLog("cannot be read", 1)
		b.k.SetDown(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.expectTable(service(web, dest(1, 1), dest(2, 7)))
		if s := b.r.Snapshot(); !s.Up || s.Generation != g {
			t.Errorf("snapshot %+v", s)
		}
		b.expectLog("readable again", 1)
		b.expectLog("modified by another process", 0)
	})
}

func TestLostAtStart(t *testing.T) {
	k := ipvstest.New()
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
