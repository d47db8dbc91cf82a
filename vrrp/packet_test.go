package vrrp

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/checksum"
)

var (
	lb1 = netip.MustParseAddr("10.0.0.12")
	lb2 = netip.MustParseAddr("10.0.0.13")
	vip = netip.MustParsePrefix("10.0.0.88/32")
)

var rules3 = &Rules{VRID: 51, Version: 3}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The messages were summed manually from RFC 5798 §5.2 and RFC 9568 §5.2; the
// two marked so left keepalived 2.2.7 with just these octets.
var golden = []struct {
	name    string
	message string
	from    netip.Addr
	advert  Advert
}{
	{"keepalived 2.2.7, master", "3133c801006411740a000058", lb1,
		Advert{51, 200, time.Second, []netip.Addr{vip.Addr()}, RFC5798}},
	{"keepalived 2.2.7, leaving", "313300010064d9740a000058", lb1,
		Advert{51, 0, time.Second, []netip.Addr{vip.Addr()}, RFC5798}},
	{"without the pseudo-header", "3133c8010064fc0e0a000058", lb1,
		Advert{51, 200, time.Second, []netip.Addr{vip.Addr()}, RFC9568}},
	{"longest interval, two addresses", "310164020fff464c0a0000580a000059", lb2,
		Advert{1, 100, 40950 * time.Millisecond, []netip.Addr{vip.Addr(), netip.MustParseAddr("10.0.0.89")}, RFC9568}},
	{"shortest interval, the owner", "31ffff010001da610a000000", lb2,
		Advert{255, 255, 10 * time.Millisecond, []netip.Addr{netip.MustParseAddr("10.0.0.0")}, RFC5798}},
}

func TestGoldenMessages(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			want := unhex(t, g.message)
			if got := g.advert.Append(nil, g.from, multicastIPv4); !bytes.Equal(got, want) {
				t.Errorf("Append:\n got %x\nwant %x", got, want)
			}
			var a Advert
			if drop := Decode(Header{g.from, multicastIPv4, 255}, want, &Rules{VRID: g.advert.VRID, Version: 3}, &a); drop != DropNone {
				t.Fatalf("Decode refuses it: %v", drop)
			}
			if !equalAdverts(a, g.advert) {
				t.Errorf("Decode:\n got %+v\nwant %+v", a, g.advert)
			}
		})
	}
}

func equalAdverts(a, b Advert) bool {
	if len(a.Addresses) != len(b.Addresses) {
		return false
	}
	for i := range a.Addresses {
		if a.Addresses[i] != b.Addresses[i] {
			return false
		}
	}
	return a.VRID == b.VRID && a.Priority == b.Priority && a.Interval == b.Interval && a.Checksum == b.Checksum
}

// patched is the first golden message with some octets changed and, unless the
// checksum itself is meant, summed again.
func patched(t *testing.T, resum bool, change func(b []byte) []byte) []byte {
	b := change(unhex(t, golden[0].message))
	if resum && len(b) >= headerLen {
		b[6], b[7] = 0, 0
		sum := ^checksum.Fold(addPseudoHeader(checksum.Add(0, b), lb1, multicastIPv4, len(b)))
		b[6], b[7] = byte(sum>>8), byte(sum)
	}
	return b
}

// One message a reason, and those that have several have the first: RFC 9568 §7.1.
func TestDropReasons(t *testing.T) {
	good := Header{lb1, multicastIPv4, 255}
	set := func(i int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[i] = v; return b }
	}
	for _, tt := range []struct {
		name   string
		header Header
		resum  bool
		change func([]byte) []byte
		want   DropReason
	}{
		{"as it is", good, true, set(0, 0x31), DropNone},
		{"TTL 254", Header{lb1, multicastIPv4, 254}, true, set(0, 0x31), DropTTL},
		{"TTL before version", Header{lb1, multicastIPv4, 1}, true, set(0, 0x21), DropTTL},
		{"version 2", good, true, set(0, 0x21), DropVersion},
		{"version before type", good, true, set(0, 0x42), DropVersion},
		{"type 2", good, true, set(0, 0x32), DropType},
		{"type before length", good, true, func(b []byte) []byte { b[0] = 0x30; return b[:9] }, DropType},
		{"nothing", good, false, func([]byte) []byte { return nil }, DropLength},
		{"7 octets", good, false, func(b []byte) []byte { return b[:7] }, DropLength},
		{"an address cut off", good, true, func(b []byte) []byte { return b[:8] }, DropLength},
		{"half an address", good, true, func(b []byte) []byte { return b[:10] }, DropLength},
		{"octets behind", good, true, func(b []byte) []byte { return append(b, 0, 0, 0, 0) }, DropLength},
		{"8 octets of authentication behind, as version 2 has", good, true, func(b []byte) []byte { return append(b, make([]byte, 8)...) }, DropLength},
		{"length before checksum", good, false, set(3, 2), DropLength},
		{"checksum", good, false, set(7, 0x75), DropChecksum},
		{"checksum of another source", Header{lb2, multicastIPv4, 255}, false, set(0, 0x31), DropChecksum},
		{"checksum before VRID", good, false, set(1, 52), DropChecksum},
		{"VRID", good, true, set(1, 52), DropVRID},
		{"VRID before interval", good, true, func(b []byte) []byte { b[1], b[4], b[5] = 52, 0, 0; return b }, DropVRID},
		{"interval 0 (erratum 8301)", good, true, set(5, 0), DropInterval},
		{"interval 0 besides reserved bits", good, true, func(b []byte) []byte { b[4], b[5] = 0xf0, 0; return b }, DropInterval},
		{"no address", good, true, func(b []byte) []byte { b[3] = 0; return b[:8] }, DropCount},
		{"priority 0", good, true, set(2, 0), DropNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a Advert
			b := patched(t, tt.resum, tt.change)
			if got := Decode(tt.header, b, rules3, &a); got != tt.want {
				t.Errorf("%x: %v, want %v", b, got, tt.want)
			}
			if explain(tt.want, tt.header, b, rules3) == "" {
				t.Error("nothing to tell people")
			}
		})
	}
	unicast := Advert{51, 200, time.Second, []netip.Addr{vip.Addr()}, RFC5798}.Append(nil, lb1, lb2)
	var a Advert
	if got := Decode(Header{lb1, lb2, 255}, unicast, rules3, &a); got != DropDestination {
		t.Errorf("sent to this host alone: %v, want %v", got, DropDestination)
	}
}

// The reserved bits are to be ignored on receipt, RFC 9568 §5.2.6.
func TestReservedBitsAreIgnored(t *testing.T) {
	b := patched(t, true, func(b []byte) []byte { b[4] |= 0xf0; return b })
	var a Advert
	if d := Decode(Header{lb1, multicastIPv4, 255}, b, rules3, &a); d != DropNone || a.Interval != time.Second {
		t.Errorf("%v, interval %v", d, a.Interval)
	}
}

func TestDropNamesAreALabel(t *testing.T) {
	seen := map[string]bool{}
	for d := range dropReasons {
		if n := d.String(); n == "" || n == "unknown" || seen[n] {
			t.Errorf("drop %d is called %q", d, n)
		}
		seen[d.String()] = true
	}
	if dropReasons.String() != "unknown" {
		t.Error("a reason that is none has a name")
	}
}

func TestConcerns(t *testing.T) {
	message := unhex(t, golden[0].message)
	if !concerns(DropChecksum, message, 51) || concerns(DropChecksum, message, 52) || concerns(DropVRID, message, 51) || concerns(DropLength, nil, 51) {
		t.Error("who is a peer and who a stranger is mixed up")
	}
}

// What is accepted is the same when it is encoded again, and nothing panics.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.message), uint8(255))
	}
	f.Add([]byte{}, uint8(255))
	f.Add([]byte{0x31, 51, 0, 255}, uint8(255))
	f.Add(bytes.Repeat([]byte{0xff}, 1100), uint8(255))
	f.Fuzz(func(t *testing.T, b []byte, ttl uint8) {
		h := Header{lb1, multicastIPv4, ttl}
		var a Advert
		vrid := uint8(51)
		if len(b) > 1 {
			vrid = b[1]
		}
		rules := &Rules{VRID: vrid, Version: 3}
		d := Decode(h, b, rules, &a)
		_ = explain(d, h, b, rules)
		if d != DropNone {
			return
		}
		b[4] &= 0xf // reserved
		again := a.Append(nil, lb1, multicastIPv4)
		b = b[:len(again)]                          // a proof may be behind
		b[6], b[7], again[6], again[7] = 0, 0, 0, 0 // the reserved bits were summed too
		if !bytes.Equal(again, b) {
			t.Errorf("%x is %+v, which is %x", b, a, again)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	message, h := unhex(b, golden[0].message), Header{lb1, multicastIPv4, 255}
	a := Advert{Addresses: make([]netip.Addr, 0, 4)}
	b.ReportAllocs()
	for b.Loop() {
		if Decode(h, message, rules3, &a) != DropNone {
			b.Fatal("refused")
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = golden[0].advert.Append(buf[:0], lb1, multicastIPv4)
	}
}

// A packet with priority 255 and the longest interval must not silence the backups
// for three times as long.
func TestLearntIntervalIsBounded(t *testing.T) {
	rules := &Rules{VRID: 51, Version: 3, Interval: time.Second}
	for every, want := range map[time.Duration]DropReason{
		40950 * time.Millisecond: DropIntervalDiffers, 16010 * time.Millisecond: DropIntervalDiffers, 16 * time.Second: DropNone,
		70 * time.Millisecond: DropNone, 60 * time.Millisecond: DropIntervalDiffers, time.Second: DropNone,
	} {
		message := Advert{51, 255, every, []netip.Addr{vip.Addr()}, RFC5798}.Append(nil, lb1, multicastIPv4)
		h := Header{lb1, multicastIPv4, 255}
		var a Advert
		if got := Decode(h, message, rules, &a); got != want {
			t.Errorf("%v: %v, want %v", every, got, want)
		}
		if text := explain(DropIntervalDiffers, h, message, rules); !strings.Contains(text, every.String()+", ours is 1s") {
			t.Errorf("%v: %q", every, text)
		}
	}
}

// An advert that is refused by its time names it: beside what [peers] says of the clocks,
// it shows whether they differ or the advert is an old one.
func TestOldAdvertNamesItsTime(t *testing.T) {
	keys, err := auth.ParseKeys([]byte("1 0123456789abcdef"), false)
	if err != nil {
		t.Fatal(err)
	}
	sent := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	c := auth.Context{Instance: "web", Source: lb2, Destination: multicastIPv4}
	message := keys.Sign(Advert{51, 100, time.Second, []netip.Addr{vip.Addr()}, RFC5798}.Append(nil, lb2, multicastIPv4), c,
		auth.Stamp{Run: 1, Counter: 1, Time: uint64(sent.UnixMicro())})
	if text := explain(DropClock, Header{lb2, multicastIPv4, 255}, message, rules3); !strings.Contains(text, "its time, 2026-11-30 12:00:00, differs from our clock") {
		t.Error(text)
	}
}

// Unicast adverts from beyond more routers than configured are dropped.
func TestUnicastHops(t *testing.T) {
	message := Advert{51, 200, time.Second, []netip.Addr{vip.Addr()}, RFC5798}.Append(nil, lb1, lb2)
	for _, tt := range []struct {
		hops, ttl uint8
		want      DropReason
	}{
		{0, 255, DropNone}, {0, 254, DropTTL}, {2, 253, DropNone}, {2, 252, DropTTL}, {254, 1, DropNone}, {254, 0, DropTTL},
	} {
		rules := &Rules{VRID: 51, Version: 3, Interval: time.Second, Source: lb2, Peers: []netip.Addr{lb1}, Hops: tt.hops}
		h := Header{lb1, lb2, tt.ttl}
		var a Advert
		if got := Decode(h, message, rules, &a); got != tt.want {
			t.Errorf("TTL %d beyond %d hops: %v, want %v", tt.ttl, tt.hops, got, tt.want)
		}
		if text := explain(DropTTL, h, message, rules); !strings.Contains(text, "unicast_hops") {
			t.Error(text)
		}
	}
}
