package connsync

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvsd/ipvs"
)

// sampleHead is that of a message of version 1: id 51, 96 bytes, 2 connections.
var sampleHead = []byte{0, 51, 0, 96, 2, 1, 0, 0}

func TestSyncMessageHead(t *testing.T) {
	for name, c := range map[string]struct {
		bytes []byte
		want  messageHead
		ok    bool
	}{
		"version 1":             {sampleHead, messageHead{51, 2}, true},
		"version 0":             {[]byte{7, 52, 0, 200, 9, 9}, messageHead{52, 7}, true},
		"too short":             {sampleHead[:7], messageHead{}, false},
		"nothing":               {nil, messageHead{}, false},
		"a later version":       {[]byte{0, 51, 0, 96, 2, 2, 0, 0}, messageHead{}, false},
		"no message at all":     {[]byte("\x00\x01\x00\x00abcdefgh"), messageHead{}, false},
		"an impossible length":  {[]byte{7, 52, 0xff, 0xff, 9, 9}, messageHead{}, false},
		"reserved bytes in use": {[]byte{0, 51, 0, 96, 2, 1, 0, 1}, messageHead{}, false},
	} {
		if got, ok := parseMessageHead(c.bytes); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v %v", name, got, ok)
		}
	}
}

func FuzzSyncMessageHead(f *testing.F) {
	f.Add(sampleHead)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, ok := parseMessageHead(b); ok && (m.ID != b[1] || m.Connections < 0 || m.Connections > 255) {
			t.Errorf("%+v of %x", m, b)
		}
	})
}

// TestMismatchIsOfAPeerAlone: messages of another identifier are a problem while
// none of ours arrive, and for as long as they are remembered.
func TestMismatchIsOfAPeerAlone(t *testing.T) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	peer := netip.MustParseAddr("10.0.0.13")
	var h Received
	if h.Problem(&ipvs.SyncConfig{ID: 51}, start) != "" {
		t.Error("a problem before anything was heard")
	}
	h = h.add(51, peer, messageHead{52, 1}, start)
	p := h.Problem(&ipvs.SyncConfig{ID: 51}, start.Add(time.Second))
	if !strings.Contains(p, "10.0.0.13") || !strings.Contains(p, "id 52") || !strings.Contains(p, "is 51 here") {
		t.Errorf("problem %q", p)
	}
	if h.Mismatch(start.Add(receivedMemory)) {
		t.Error("it is never forgotten")
	}
	h = h.add(51, peer, messageHead{51, 1}, start.Add(2*time.Second))
	h = h.add(51, peer, messageHead{52, 1}, start.Add(3*time.Second))
	if h.Mismatch(start.Add(4 * time.Second)) {
		t.Error("another pair on the network is no mismatch")
	}
	h = h.add(51, peer, messageHead{52, 1}, start.Add(40*time.Second))
	if !h.Mismatch(start.Add(41 * time.Second)) {
		t.Error("ours ended, and the others' go on: a mismatch")
	}
}

// misdirectedPacket is a message in UDP in IPv4 of 10.0.0.13.
func misdirectedPacket(group [4]byte, port uint16, message []byte) []byte {
	b := make([]byte, 28, 28+len(message))
	b[0], b[9] = 0x45, 17
	copy(b[12:], []byte{10, 0, 0, 13})
	copy(b[16:], group[:])
	binary.BigEndian.PutUint16(b[22:], port)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(message)))
	return append(b, message...)
}

// message is a whole one of a connection under id 51.
func wholeMessage() []byte { return append([]byte{0, 51, 0, 44, 1, 1, 0, 0}, make([]byte, 36)...) }

func TestMisdirectedMessages(t *testing.T) {
	usual, whole := [4]byte{224, 0, 0, 81}, wholeMessage()
	good := misdirectedPacket(usual, 8848, whole)
	if s, ok := parseMisdirected(good); !ok || s != (Misdirected{51, "", netip.MustParseAddr("10.0.0.13"), netip.MustParseAddrPort("224.0.0.81:8848")}) {
		t.Errorf("%+v %v", s, ok)
	}
	change := func(i int, v byte) []byte { b := bytes.Clone(good); b[i] = v; return b }
	for name, b := range map[string][]byte{
		"nothing": nil, "IPv6": change(0, 0x65), "TCP": change(9, 6), "a fragment": change(7, 1), "the first fragment": change(6, 0x20),
		"a head that is too short": change(0, 0x44), "cut": good[:30], "another length": change(31, 45), "no connection": change(32, 0),
		"another version": change(33, 2), "the old version": change(28, 1), "another protocol": misdirectedPacket(usual, 5353, []byte("\x00\x00\x84\x00\x00\x00\x00\x01")),
	} {
		if s, ok := parseMisdirected(b); ok {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func FuzzMisdirected(f *testing.F) {
	f.Add(misdirectedPacket([4]byte{224, 0, 0, 81}, 8848, wholeMessage()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseMisdirected(b); ok && (!s.From.IsValid() || !s.To.IsValid()) {
			t.Errorf("%+v of %x", s, b)
		}
	})
}

// TestMisdirectedIsAProblemOfOurs: messages of our identifier that go elsewhere are a
// problem while none arrive, and each says what differs.
func TestMisdirectedIsAProblemOfOurs(t *testing.T) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	c := &ipvs.SyncConfig{Interface: "eth0", ID: 51}
	misdirected := func(id uint8, device, to string) Misdirected {
		return Misdirected{id, device, netip.MustParseAddr("10.0.0.13"), netip.MustParseAddrPort(to)}
	}
	for want, s := range map[string]Misdirected{
		"group is 224.0.0.81 here":   misdirected(51, "eth0", "224.0.0.90:8848"),
		"port is 8848 here":          misdirected(51, "eth0", "224.0.0.81:9000"),
		"the interface eth1 and are": misdirected(51, "eth1", "224.0.0.81:8848"),
	} {
		h := Received{}.addMisdirected(c, s, start)
		if p := h.Problem(c, start.Add(time.Second)); !strings.Contains(p, want) || !strings.Contains(p, "10.0.0.13") {
			t.Errorf("%+v: problem %q, want %q in it", s, p, want)
		}
		if !h.Mismatch(start.Add(captureInterval+captureDuration)) || h.Mismatch(start.Add(misdirectedMemory)) {
			t.Errorf("%+v: not remembered over a look, or for ever", s)
		}
		if h := h.add(51, s.From, messageHead{51, 1}, start.Add(time.Second)); h.Mismatch(start.Add(2 * time.Second)) {
			t.Errorf("%+v: a problem although messages arrive", s)
		}
	}
	for name, s := range map[string]Misdirected{"as configured": misdirected(51, "eth0", "224.0.0.81:8848"), "of another pair": misdirected(52, "eth0", "224.0.0.90:8848")} {
		if h := (Received{}).addMisdirected(c, s, start); h != (Received{}) {
			t.Errorf("%s: %+v", name, h)
		}
	}
}
