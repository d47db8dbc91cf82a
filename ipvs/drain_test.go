package ipvs_test

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// wantDrained sets a desired state whose services all drain for a minute.
func (b *bench) wantDrained(services ...Service) uint64 {
	w := Desired{Table: table(services...), Drain: map[ServiceKey]time.Duration{}}
	for k := range w.Table {
		w.Drain[k] = time.Minute
	}
	g := b.r.SetDesired(w)
	synctest.Wait()
	return g
}

func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// connections sets the connections that the kernel reports for servers of the service.
func (b *bench) connections(k ServiceKey, stats DestinationStats, servers ...Destination) {
	s := ServiceStats{Destinations: map[netip.AddrPort]DestinationStats{}}
	for _, d := range servers {
		s.Destinations[d.Address] = stats
	}
	b.k.SetStats(k, s)
}

func (b *bench) drainChanges() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, c := range b.changes {
		if c.Kind == ChangeDrain {
			all = append(all, c.Entry.RealServer.String()+" "+c.To)
		}
	}
	return strings.Join(all, ", ")
}

func TestDrainUntilEmpty(t *testing.T) {
	for name, stats := range map[string]DestinationStats{"active": {Active: 1}, "inactive": {Inactive: 2}, "persistent": {Persistent: 1}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, ipvstest.New(), nil, func(b *bench) {
				b.wantDrained(service(web, dest(1, 1), dest(2, 5)))
				b.connections(web, stats, dest(2, 0))
				g := b.wantDrained(service(web, dest(1, 1)))
				b.expectTable(service(web, dest(1, 1), dest(2, 0)))
				if s := b.r.Snapshot(); s.Generation != g || len(s.Draining) != 1 || s.Draining[0].Counted {
					t.Errorf("a wish waits for its drains, or they do not show: %d, %+v", s.Generation, s.Draining)
				}
				b.after(30 * time.Second)
				b.expectTable(service(web, dest(1, 1), dest(2, 0)))
				s := b.r.Snapshot()
				if len(s.Draining) != 1 || s.Draining[0].Connections == 0 || s.Draining[0].Deadline.Sub(s.Draining[0].Since) != time.Minute {
					t.Errorf("%+v", s.Draining)
				}
				b.connections(web, DestinationStats{}, dest(2, 0))
				b.after(DrainEvery)
				b.expectTable(service(web, dest(1, 1)))
				if s := b.r.Snapshot(); len(s.Draining) != 0 {
					t.Errorf("%+v", s.Draining)
				}
				if got := b.drainChanges(); got != "10.0.0.2:80 draining, 10.0.0.2:80 empty" {
					t.Error(got)
				}
				if n := sum(b.r.Snapshot().Drift); n != 0 {
					t.Errorf("a drain is %d drifts", n)
				}
				if owned, _ := b.l.get(); owned.Has(web, dest(2, 0).Address) {
					t.Error("what was drained is still ours")
				}
			})
		})
	}
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

func TestDrainEndsAtTheDeadline(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.connections(web, DestinationStats{Persistent: 1}, dest(2, 0))
		b.wantDrained(service(web, dest(1, 1), dest(2, 5)))
		b.wantDrained(service(web, dest(1, 1)))
		b.after(59 * time.Second)
		b.expectTable(service(web, dest(1, 1), dest(2, 0)))
		b.k.FailNth(1, syscall.ENOMEM) // the deadline does not begin again
		b.after(time.Second)
		b.after(2 * time.Second)
		b.expectTable(service(web, dest(1, 1)))
		if got := b.drainChanges(); got != "10.0.0.2:80 draining, 10.0.0.2:80 deadline" {
			t.Error(got)
		}
	})
}

func TestDrainOfWhatComesBack(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.connections(web, DestinationStats{Active: 1}, dest(2, 0))
		b.wantDrained(service(web, dest(1, 1), dest(2, 5)))
		b.wantDrained(service(web, dest(1, 1)))
		b.after(10 * time.Second)
		b.wantDrained(service(web, dest(1, 1), dest(2, 7)))
		b.expectTable(service(web, dest(1, 1), dest(2, 7)))
		b.after(5 * time.Minute)
		b.expectTable(service(web, dest(1, 1), dest(2, 7)))
		if got := b.drainChanges(); got != "10.0.0.2:80 draining, 10.0.0.2:80 kept" {
			t.Error(got)
		}
	})
}

// Without a time, of a server that failed, and where weight 0 would refuse the
// server's clients, it is deleted at once.
func TestNoDrain(t *testing.T) {
	hashing := func(name string, flags SchedulerFlags) func(*Service) {
		return func(s *Service) { s.Scheduler, s.Flags = name, flags }
	}
	for _, c := range []struct {
		name    string
		service func(*Service)
		desired func(*Desired)
		want    bool
	}{
		{"wlc", nil, nil, true},
		{"sh with fallback", hashing("sh", SHFallback), nil, true},
		{"mh with fallback", hashing("mh", MHFallback|MHPort), nil, true},
		{"sh without", hashing("sh", SHPort), nil, false},
		{"mh without", hashing("mh", 0), nil, false},
		{"dh", hashing("dh", 0), nil, false},
		{"no time", nil, func(w *Desired) { w.Drain = nil }, false},
		{"failed", nil, func(w *Desired) { w.NoDrain = map[Entry]struct{}{{web, dest(2, 0).Address}: {}} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, ipvstest.New(), nil, func(b *bench) {
				b.connections(web, DestinationStats{Active: 1}, dest(2, 0))
				desired := func(dests ...Destination) {
					s := service(web, dests...)
					if c.service != nil {
						c.service(&s)
					}
					w := Desired{Table: table(s), Drain: map[ServiceKey]time.Duration{web: time.Minute}}
					if c.desired != nil {
						c.desired(&w)
					}
					b.r.SetDesired(w)
					synctest.Wait()
				}
				desired(dest(1, 1), dest(2, 5))
				desired(dest(1, 1))
				if _, there := b.k.Table()[web].Destinations[dest(2, 0).Address]; there != c.want {
					t.Errorf("it drains: %v", there)
				}
			})
		})
	}
}

// What left the file while the daemon was down drains at its start; a service
// that leaves keeps what it has until its servers are empty.
func TestDrainOverARestart(t *testing.T) {
	k, l := ipvstest.New(), &memoryLedger{}
	inBubble(t, k, l, func(b *bench) {
		b.wantDrained(service(web, dest(1, 1), dest(2, 5)))
		b.connections(web, DestinationStats{Active: 3}, dest(2, 0))
	})
	inBubble(t, k, l, func(b *bench) {
		b.wantDrained(service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1), dest(2, 0)))
		b.after(30 * time.Second)
	})
	inBubble(t, k, l, func(b *bench) {
		b.wantDrained(service(web, dest(1, 1)))
		b.after(59 * time.Second)
		b.expectTable(service(web, dest(1, 1), dest(2, 0)))
		b.after(2 * time.Second)
		b.expectTable(service(web, dest(1, 1)))
	})
}

func TestDrainOfAService(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		odd := service(mail, dest(3, 1), dest(4, 1))
		odd.Persistence = 77
		b.wantDrained(service(web, dest(1, 1)), odd)
		b.connections(mail, DestinationStats{Active: 1}, dest(4, 0))
		b.wantDrained(service(web, dest(1, 1)))
		left := service(mail, dest(3, 0), dest(4, 0))
		left.Persistence = 77
		b.expectTable(service(web, dest(1, 1)), left)
		b.after(3 * time.Second)
		left = service(mail, dest(4, 0))
		left.Persistence = 77
		b.expectTable(service(web, dest(1, 1)), left)
		b.wantDrained(service(web, dest(1, 2))) // another reload meanwhile
		b.expectTable(service(web, dest(1, 2)), left)
		b.after(time.Minute)
		b.expectTable(service(web, dest(1, 2)))
	})
}

// Another program's real server is never drained by us.
func TestForeignServersDoNotDrain(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.wantDrained(service(web, dest(1, 1)))
		b.k.Change(func(t Table) { t[web].Destinations[dest(9, 4).Address] = dest(9, 4) })
		b.wantDrained(service(web, dest(1, 2)))
		b.after(time.Minute)
		b.expectTable(service(web, dest(1, 2), dest(9, 4)))
	})
}

func TestFightIsRaisedAndNotFoughtForEver(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1), dest(2, 1)), service(mail, dest(1, 1)))
		start := len(b.k.Ops())
		stop := make(chan struct{})
		go func() { // another program sets its weight as soon as it sees ours
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
					b.k.Change(func(t Table) { t[web].Destinations[dest(1, 1).Address] = dest(1, 50) })
				}
			}
		}()
		b.after(5 * time.Minute)
		s := b.r.Snapshot()
		if len(s.Conflicts) != 1 || s.Conflicts[0].Entry != (Entry{web, dest(1, 1).Address}) || s.Conflicts[0].What != DriftDestinationChanged {
			t.Fatalf("fights %+v", s.Conflicts)
		}
		// Five quick repairs, then one in each ten seconds.
		if n := len(b.k.Ops()) - start; n > 5+30 || n < 25 {
			t.Errorf("%d repairs in five minutes", n)
		}
		b.expectLog("conflicting changes by another process", 1)
		b.expectLog("modified by another process", ConflictAfter-1)
		// A newly desired entry in its place is written at once anyway, and others are repaired
		// as usual.
		g := b.want(service(web, dest(1, 0), dest(2, 1)), service(mail, dest(1, 1)))
		if w := b.k.Table()[web].Destinations[dest(1, 0).Address].Weight; w != 0 || b.r.Snapshot().Attempted != g {
			t.Errorf("a new wish has to wait: weight %d", w)
		}
		b.k.Change(func(t Table) { delete(t, mail) })
		b.after(10 * time.Second)
		if _, there := b.k.Table()[mail]; !there {
			t.Error("another service is not repaired any more")
		}
		close(stop)
		b.after(5 * time.Minute)
		b.expectTable(service(web, dest(1, 0), dest(2, 1)), service(mail, dest(1, 1)))
		if s := b.r.Snapshot(); len(s.Conflicts) != 0 || s.Generation != g {
			t.Errorf("fights %+v, generation %d of %d", s.Conflicts, s.Generation, g)
		}
		b.expectLog("conflicting changes ended", 1)
	})
}

// A program that flushes the table repeatedly: the service is added again once
// an interval, with its servers.
func TestFightAboutAService(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1), dest(2, 1)))
		start := len(b.k.Ops())
		for range 1000 {
			b.k.Change(func(t Table) { clear(t) })
			b.r.Refresh(b.t.Context())
			b.after(time.Second)
		}
		if n := len(b.k.Ops()) - start; n > 3*(100+10) || n < 3*90 {
			t.Errorf("%d writes against a thousand flushes", n)
		}
		b.expectLog("IPVS write failed", 0)
		b.after(time.Minute)
		b.expectTable(service(web, dest(1, 1), dest(2, 1)))
	})
}

// Many changes at once are no conflict.
func TestRareChangesAreNoFight(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.want(service(web, dest(1, 1)))
		for range 50 {
			b.k.Change(func(t Table) { clear(t) })
			b.after(45 * time.Second)
			b.expectTable(service(web, dest(1, 1)))
		}
		if s := b.r.Snapshot(); len(s.Conflicts) != 0 || s.Drift[DriftServiceMissing] != 50 {
			t.Errorf("fights %+v, drift %v", s.Conflicts, s.Drift)
		}
	})
}

func TestFightAboutASetting(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.r.SetDesired(Desired{ManageSysctls: true, TimeoutTCP: time.Minute})
		synctest.Wait()
		for i := range 100 {
			_ = b.k.SetSysctl("expire_nodest_conn", "0")
			_ = b.k.SetTimeouts(Timeouts{TCP: time.Duration(i+100) * time.Second})
			b.after(time.Second)
			b.r.Refresh(b.t.Context())
		}
		s := b.r.Snapshot()
		if len(s.Conflicts) != 2 || s.Operations[Operation{"set_sysctl", "ok"}] > 25 || s.Operations[Operation{"set_timeouts", "ok"}] > 25 {
			t.Errorf("fights %+v, %v", s.Conflicts, s.Operations)
		}
		b.after(time.Minute)
		if v, _ := b.k.Sysctl("expire_nodest_conn"); v != "1" {
			t.Error("not set back in the end")
		}
		if fmt.Sprint(b.r.Snapshot().Conflicts) != "[]" {
			t.Errorf("%+v", b.r.Snapshot().Conflicts)
		}
	})
}
