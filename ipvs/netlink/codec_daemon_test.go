package netlink

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"lvsd/ipvs"
)

func TestEncodeDaemon(t *testing.T) {
	littleEndian(t)
	for _, c := range []struct {
		name string
		role ipvs.SyncRole
		cfg  ipvs.SyncConfig
		want string
	}{
		{"all of it", ipvs.SyncMaster, ipvs.SyncConfig{Interface: "eth1", ID: 5, Group: netip.MustParseAddr("224.0.0.90"), Port: 9000, TTL: 3, MaxLen: 1400}, `
			44 00 03 80
			08 00 01 00 01 00 00 00              // master
			09 00 02 00 65 74 68 31 00 00 00 00  // "eth1"
			08 00 03 00 05 00 00 00              // id
			06 00 04 00 78 05 00 00              // maxlen 1400
			08 00 05 00 e0 00 00 5a              // group
			06 00 07 00 28 23 00 00              // port 9000, host order
			05 00 08 00 03 00 00 00              // ttl
			`},
		{"the kernel's defaults", ipvs.SyncBackup, ipvs.SyncConfig{Interface: "eth1", ID: 5}, `
			20 00 03 80
			08 00 01 00 02 00 00 00
			09 00 02 00 65 74 68 31 00 00 00 00
			08 00 03 00 05 00 00 00
			`},
		{"IPv6", ipvs.SyncBackup, ipvs.SyncConfig{Interface: "e", ID: 255, Group: netip.MustParseAddr("ff02::51")}, `
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
		var s ipvs.SyncState
		if err := decodeDaemon(append([]byte{9, 1, 0, 0}, got...), &s); err != nil {
			t.Fatal(err)
		}
		d := ipvs.SyncDaemon{Running: true, Interface: c.cfg.Interface, ID: uint32(c.cfg.ID), Group: c.cfg.Group,
			Port: c.cfg.Port, TTL: c.cfg.TTL, MaxLen: uint16(c.cfg.MaxLen)}
		if s.Daemon(c.role) != d || s.Daemon(3-c.role) != (ipvs.SyncDaemon{}) {
			t.Errorf("%s: read back %+v, want %+v", c.name, s, d)
		}
	}
	if got := encodeRole(ipvs.SyncBackup); !bytes.Equal(got, golden(t, "0c 00 03 80 08 00 01 00 02 00 00 00")) {
		t.Errorf("DEL:\n%s", hex.Dump(got))
	}
	if err := decodeDaemon(append([]byte{9, 1, 0, 0}, encodeRole(7)...), &ipvs.SyncState{}); err == nil {
		t.Error("a daemon of state 7 was taken")
	}
}

func TestEncodeZero(t *testing.T) {
	littleEndian(t)
	if got := encodeZero(nil); len(got) != 0 {
		t.Errorf("all services: %x", got)
	}
	k := ipvs.ServiceKey{Mark: 1}
	if got := encodeZero(&k); !bytes.Equal(got, golden(t, "14 00 01 80 06 00 01 00 02 00 00 00 08 00 05 00 01 00 00 00")) {
		t.Errorf("one service:\n%s", hex.Dump(got))
	}
}
