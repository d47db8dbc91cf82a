package ipvs

import (
	"net/netip"
	"strings"
	"testing"
	"time"
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
	var h SyncHeard
	if h.Problem(51, start) != "" {
		t.Error("a problem before anything was heard")
	}
	h = h.heard(51, peer, messageHead{52, 1}, start)
	p := h.Problem(51, start.Add(time.Second))
	if !strings.Contains(p, "10.0.0.13") || !strings.Contains(p, "id 52") || !strings.Contains(p, "is 51 here") {
		t.Errorf("problem %q", p)
	}
	if h.Mismatch(start.Add(arrivalMemory)) {
		t.Error("it is never forgotten")
	}
	h = h.heard(51, peer, messageHead{51, 1}, start.Add(2*time.Second))
	h = h.heard(51, peer, messageHead{52, 1}, start.Add(3*time.Second))
	if h.Mismatch(start.Add(4 * time.Second)) {
		t.Error("another pair on the network is no mismatch")
	}
	h = h.heard(51, peer, messageHead{52, 1}, start.Add(40*time.Second))
	if !h.Mismatch(start.Add(41 * time.Second)) {
		t.Error("ours ended, and the others' go on: a mismatch")
	}
}
