package ipvs_test

import (
	"net/netip"
	"testing"

	. "lvsd/ipvs"
	"lvsd/ipvs/ipvstest"
)

// The sender keeps to the MTU, the receiver's buffer is never smaller than what
// a peer may send.
func TestSyncMessageLength(t *testing.T) {
	for _, c := range []struct {
		role         SyncRole
		mtu, maxLen  int
		six          bool
		started      int // what is sent to the kernel
		sender, recv uint16
	}{
		{role: SyncMaster, mtu: 1500, started: 0, sender: 1472},
		{role: SyncMaster, mtu: 9000, started: 0, sender: 1472},
		{role: SyncMaster, mtu: 1400, started: 1372, sender: 1372},
		{role: SyncMaster, mtu: 1400, six: true, started: 1352, sender: 1352},
		{role: SyncMaster, mtu: 9000, maxLen: 8000, started: 8000, sender: 8000},
		{role: SyncBackup, mtu: 1400, started: 0, recv: 1472},
		{role: SyncBackup, mtu: 9000, started: 0, recv: 8972},
		{role: SyncBackup, mtu: 1500, maxLen: 600, started: 0, recv: 1472},
		{role: SyncBackup, mtu: 9000, maxLen: 8000, started: 8000, recv: 8000},
	} {
		cfg := SyncConfig{Interface: "e", ID: 1, MaxLen: c.maxLen}
		if c.six {
			cfg.Group = netip.MustParseAddr("ff02::51")
		}
		got := cfg.For(c.role, c.mtu)
		if got.MaxLen != c.started {
			t.Errorf("%+v: started with %d", c, got.MaxLen)
		}
		f := ipvstest.New()
		f.SetInterface("e", c.mtu)
		if err := f.StartDaemon(c.role, got); err != nil {
			t.Fatal(err)
		}
		s, _ := f.Daemons()
		if s.Master.MaxLen != c.sender || s.Backup.MaxLen != c.recv {
			t.Errorf("%+v: runs with %+v", c, s)
		}
		// A daemon started like this is not restarted without a change.
		if why := got.Differs(c.role, s.Daemon(c.role)); why != "" {
			t.Errorf("%+v: restarted at once because of its %s", c, why)
		}
	}
	if err := (SyncConfig{Interface: "e", MaxLen: 1473}).Fits(1500); err == nil {
		t.Error("1473 bytes went through an MTU of 1500")
	}
	if err := (SyncConfig{Interface: "e", MaxLen: 1472}).Fits(1500); err != nil {
		t.Error(err)
	}
}

func TestSyncdiffers(t *testing.T) {
	cfg := SyncConfig{Interface: "e", ID: 5}
	right := SyncDaemon{true, "e", 5, netip.MustParseAddr("224.0.0.81"), 8848, 1, 1472}
	if why := cfg.Differs(SyncMaster, right); why != "" {
		t.Error(why)
	}
	for want, change := range map[string]func(*SyncDaemon){
		"not running":      func(d *SyncDaemon) { *d = SyncDaemon{} },
		"interface f":      func(d *SyncDaemon) { d.Interface = "f" },
		"id 6":             func(d *SyncDaemon) { d.ID = 6 },
		"group 224.0.0.82": func(d *SyncDaemon) { d.Group = netip.MustParseAddr("224.0.0.82") },
		"port 1":           func(d *SyncDaemon) { d.Port = 1 },
		"ttl 9":            func(d *SyncDaemon) { d.TTL = 9 },
		"maxlen 1000":      func(d *SyncDaemon) { d.MaxLen = 1000 },
	} {
		d := right
		change(&d)
		if why := cfg.Differs(SyncMaster, d); why != want {
			t.Errorf("%q, want %q", why, want)
		}
	}
}
