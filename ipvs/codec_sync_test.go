package ipvs

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

func TestEncodeDaemon(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		name string
		role SyncRole
		cfg  SyncConfig
		want string
	}{
		{"all of it", SyncMaster, SyncConfig{Interface: "eth1", ID: 5, Group: netip.MustParseAddr("224.0.0.90"), Port: 9000, TTL: 3, MaxLen: 1400}, `
			44 00 03 80
			08 00 01 00 01 00 00 00              // master
			09 00 02 00 65 74 68 31 00 00 00 00  // "eth1"
			08 00 03 00 05 00 00 00              // id
			06 00 04 00 78 05 00 00              // maxlen 1400
			08 00 05 00 e0 00 00 5a              // group
			06 00 07 00 28 23 00 00              // port 9000, host order
			05 00 08 00 03 00 00 00              // ttl
			`},
		{"the kernel's defaults", SyncBackup, SyncConfig{Interface: "eth1", ID: 5}, `
			20 00 03 80
			08 00 01 00 02 00 00 00
			09 00 02 00 65 74 68 31 00 00 00 00
			08 00 03 00 05 00 00 00
			`},
		{"IPv6", SyncBackup, SyncConfig{Interface: "e", ID: 255, Group: netip.MustParseAddr("ff02::51")}, `
			30 00 03 80
			08 00 01 00 02 00 00 00
			06 00 02 00 65 00 00 00
			08 00 03 00 ff 00 00 00
			14 00 06 00 ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 51
			`},
	} {
		want := golden(t, c.want)
		native.PutUint16(want, uint16(len(want)))
		got := encodeDaemon(c.role, c.cfg)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, hex.Dump(got), hex.Dump(want))
		}
		// GET answers in the same attributes.
		var s SyncState
		if err := decodeDaemon(append([]byte{9, 1, 0, 0}, got...), &s); err != nil {
			t.Fatal(err)
		}
		d := SyncDaemon{true, c.cfg.Interface, uint32(c.cfg.ID), c.cfg.Group, c.cfg.Port, c.cfg.TTL, uint16(c.cfg.MaxLen)}
		if s.Daemon(c.role) != d || s.Daemon(3-c.role) != (SyncDaemon{}) {
			t.Errorf("%s: read back %+v, want %+v", c.name, s, d)
		}
	}
	if got := encodeRole(SyncBackup); !bytes.Equal(got, golden(t, "0c 00 03 80 08 00 01 00 02 00 00 00")) {
		t.Errorf("DEL:\n%s", hex.Dump(got))
	}
	if err := decodeDaemon(append([]byte{9, 1, 0, 0}, encodeRole(7)...), &SyncState{}); err == nil {
		t.Error("a daemon of state 7 was taken")
	}
}

func TestEncodeZero(t *testing.T) {
	littleEndian(t)
	if got := encodeZero(nil); len(got) != 0 {
		t.Errorf("all services: %x", got)
	}
	k := ServiceKey{Mark: 1}
	if got := encodeZero(&k); !bytes.Equal(got, golden(t, "14 00 01 80 06 00 01 00 02 00 00 00 08 00 05 00 01 00 00 00")) {
		t.Errorf("one service:\n%s", hex.Dump(got))
	}
}

// The sender keeps to the MTU, the receiver's buffer is never smaller than what
// a peer may send.
func TestSyncMessageLength(t *testing.T) {
	for _, c := range []struct {
		role         SyncRole
		mtu, maxLen  int
		six          bool
		started      int // what the kernel is told
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
		got := cfg.of(c.role, c.mtu)
		if got.MaxLen != c.started {
			t.Errorf("%+v: started with %d", c, got.MaxLen)
		}
		f := NewFake()
		f.SetInterface("e", c.mtu)
		if err := f.StartDaemon(c.role, got); err != nil {
			t.Fatal(err)
		}
		s, _ := f.Daemons()
		if s.Master.MaxLen != c.sender || s.Backup.MaxLen != c.recv {
			t.Errorf("%+v: runs with %+v", c, s)
		}
		// What was started so is never restarted for its own sake.
		if why := got.differs(c.role, s.Daemon(c.role)); why != "" {
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

func TestSyncDiffers(t *testing.T) {
	cfg := SyncConfig{Interface: "e", ID: 5}
	right := SyncDaemon{true, "e", 5, defaultSyncGroup, 8848, 1, 1472}
	if why := cfg.differs(SyncMaster, right); why != "" {
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
		if why := cfg.differs(SyncMaster, d); why != want {
			t.Errorf("%q, want %q", why, want)
		}
	}
}
