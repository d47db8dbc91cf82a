package ipvs_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

func (b *bench) wantSync(c *SyncConfig, services ...Service) {
	b.r.SetDesired(Desired{Table: table(services...), Sync: c})
	synctest.Wait()
}

func (b *bench) daemons() SyncState {
	s, err := b.k.Daemons()
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func TestSyncRunsBothHalves(t *testing.T) {
	l := &memoryLedger{}
	k := ipvstest.New()
	inBubble(t, k, l, func(b *bench) {
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 5, Threshold: [2]int{1, 10}, RefreshPeriod: 30 * time.Second}, service(web, dest(1, 1)))
		s := b.daemons()
		if !s.Master.Running || !s.Backup.Running || s.Master.ID != 5 || s.Backup.ID != 5 || s.Master.MaxLen != 1472 {
			t.Errorf("%+v", s)
		}
		if snap := b.r.Snapshot(); snap.Sync != s || snap.SyncError != "" {
			t.Errorf("snapshot %+v %q", snap.Sync, snap.SyncError)
		}
		for name, want := range map[string]string{"sync_threshold": "1 10", "sync_refresh_period": "30"} {
			if v, _ := b.k.Sysctl(name); v != want {
				t.Errorf("%s is %q", name, v)
			}
		}
		if o, _ := b.l.get(); !o.Sync() {
			t.Error("the ledger does not say that it is ours")
		}
		// Unchanged, it is not restarted, whatever else changes.
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 5, Threshold: [2]int{1, 10}, RefreshPeriod: 30 * time.Second}, service(web, dest(1, 7)))
		b.after(time.Minute)
		if n := b.k.DaemonStarts(); n != 2 {
			t.Errorf("%d starts", n)
		}
		// Another id or interface restarts both.
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 6}, service(web, dest(1, 7)))
		if s := b.daemons(); s.Master.ID != 6 || s.Backup.ID != 6 || b.k.DaemonStarts() != 4 {
			t.Errorf("%+v after %d starts", s, b.k.DaemonStarts())
		}
		if n := sum(b.r.Snapshot().Drift); n != 0 {
			t.Errorf("%d drifts by our own hand", n)
		}
	})
	// A restart of lvsd changes nothing.
	inBubble(t, k, l, func(b *bench) {
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 6}, service(web, dest(1, 7)))
		if n := b.k.DaemonStarts(); n != 4 {
			t.Errorf("%d starts after a restart", n-4)
		}
	})
	// Removed from the file while lvsd was down: both stop.
	inBubble(t, k, l, func(b *bench) {
		b.wantSync(nil, service(web, dest(1, 7)))
		if s := b.daemons(); s != (SyncState{}) {
			t.Errorf("%+v", s)
		}
		if o, _ := b.l.get(); o.Sync() || len(o.Keys()) != 1 {
			t.Errorf("ledger %v", o)
		}
	})
}

// Daemons that were not desired belong to another program.
func TestSyncOfAnotherProcess(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		theirs := SyncState{Master: SyncDaemon{Running: true, Interface: "eth0", ID: 9}}
		b.k.SetDaemons(theirs)
		b.wantSync(nil, service(web, dest(1, 1)))
		b.after(time.Minute)
		if s := b.daemons(); s != theirs {
			t.Errorf("%+v", s)
		}
		if s := b.r.Snapshot(); s.Sync != theirs || s.SyncOwned {
			t.Errorf("not shown, or as ours: %+v %v", s.Sync, s.SyncOwned)
		}
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 5})
		if s := b.r.Snapshot(); s.Sync.Master.ID != 5 || !s.SyncOwned {
			t.Errorf("configured, and not ours: %+v %v", s.Sync, s.SyncOwned)
		}
	})
}

func TestSyncStoppedByHandIsStartedAgain(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 5})
		for i, change := range []func(SyncRole) error{
			b.k.StopDaemon,
			func(r SyncRole) error {
				_ = b.k.StopDaemon(r)
				return b.k.StartDaemon(r, SyncConfig{Interface: "lo", ID: 5})
			},
			func(r SyncRole) error {
				_ = b.k.StopDaemon(r)
				return b.k.StartDaemon(r, SyncConfig{Interface: "eth0", ID: 7})
			},
		} {
			for _, role := range SyncRoles {
				if err := change(role); err != nil {
					t.Fatal(err)
				}
				b.after(2 * time.Minute)
				s := b.daemons()
				if d := s.Daemon(role); !d.Running || d.ID != 5 || d.Interface != "eth0" {
					t.Errorf("%d, %s: %+v", i, role, d)
				}
			}
		}
		if n := b.r.Snapshot().Drift[DriftSync]; n != 6 {
			t.Errorf("%d drifts", n)
		}
		b.expectLog("synchronisation was modified by another process", 6)
	})
}

// A missing interface is an error that is reported once; one that was added again has
// lost the group that the receiver had joined.
func TestSyncInterfaceComesAndGoes(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.wantSync(&SyncConfig{Interface: "eth1", ID: 5}, service(web, dest(1, 1)))
		b.expectTable(service(web, dest(1, 1)))
		if s := b.r.Snapshot(); s.SyncError == "" || s.Generation != 1 {
			t.Errorf("%q, generation %d", s.SyncError, s.Generation)
		}
		b.after(5 * time.Minute)
		b.expectLog("synchronisation failed", 1)
		b.k.SetInterface("eth1", 1400)
		b.after(10 * time.Second)
		if s := b.r.Snapshot(); s.SyncError != "" || !s.Sync.Master.Running || s.Sync.Master.MaxLen != 1372 {
			t.Errorf("%q, %+v", s.SyncError, s.Sync)
		}
		b.k.SetInterface("eth1", 1400)
		b.after(10 * time.Second)
		if n := b.k.DaemonStarts(); n != 4 {
			t.Errorf("%d starts", n)
		}
	})
}

func TestSyncIsNotWithoutItsConditions(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		_ = b.k.SetSysctl("backup_only", "1")
		c := SyncConfig{Interface: "eth0", ID: 5, MaxLen: 2000}
		err := CheckSync(b.k, c)
		if err == nil || !strings.Contains(err.Error(), "backup_only") || !strings.Contains(err.Error(), "at most 1472") {
			t.Errorf("%v", err)
		}
		b.wantSync(&c)
		if s := b.r.Snapshot(); !strings.Contains(s.SyncError, "backup_only") || !strings.Contains(s.SyncError, "at most 1472") || !s.Sync.Master.Running {
			t.Errorf("%q %+v", s.SyncError, s.Sync)
		}
		_ = b.k.SetSysctl("backup_only", "0")
		short := SyncConfig{Interface: "eth0", ID: 5, MaxLen: 1400}
		b.wantSync(&short)
		if s := b.r.Snapshot(); s.SyncError != "" || s.Sync.Master.MaxLen != 1400 {
			t.Errorf("%q %+v", s.SyncError, s.Sync)
		}
		if err := CheckSync(b.k, short); err != nil {
			t.Error(err)
		}
		if err := CheckSync(b.k, SyncConfig{Interface: "nosuch"}); err == nil {
			t.Error("a missing interface was not refused")
		}
	})
}

// From synchronisation to mixed families and back in one desired state each.
func TestSyncGivesWayToMixedFamilies(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		six := Destination{Address: netip.MustParseAddrPort("[2001:db8::9]:80"), Forward: Tunnel, Weight: 1}
		c := &SyncConfig{Interface: "eth0", ID: 5}
		for range 3 {
			b.wantSync(c, service(web, dest(1, 1)))
			if s := b.r.Snapshot(); !s.Sync.Master.Running || s.SyncError != "" || len(s.Errors) != 0 {
				t.Fatalf("%+v %q %v", s.Sync, s.SyncError, s.Errors)
			}
			b.wantSync(nil, service(web, dest(1, 1), six))
			b.expectTable(service(web, dest(1, 1), six))
			if s := b.r.Snapshot(); s.Sync.Master.Running || len(s.Errors) != 0 {
				t.Fatalf("%+v %v", s.Sync, s.Errors)
			}
		}
		b.expectLog("write failed", 0)
	})
}

func TestRemoveStopsSync(t *testing.T) {
	inBubble(t, ipvstest.New(), nil, func(b *bench) {
		b.wantSync(&SyncConfig{Interface: "eth0", ID: 5}, service(web, dest(1, 1)))
		b.stop()
		if s := b.daemons(); !s.Master.Running {
			t.Error("the end of Run stopped the sender, and with it what it had still to send")
		}
		if err := b.r.Remove(b.t.Context()); err != nil {
			t.Error(err)
		}
		b.expectTable()
		if s := b.daemons(); s != (SyncState{}) {
			t.Errorf("%+v", s)
		}
	})
}
