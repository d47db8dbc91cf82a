package auth

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const secretTwo = "0123456789abcdef"

var (
	lb1    = netip.MustParseAddr("10.0.0.12")
	lb2    = netip.MustParseAddr("10.0.0.13")
	group  = netip.MustParseAddr("224.0.0.18")
	advert = []byte("\x31\x33\xc8\x01\x00\x64\x11\x74\x0a\x00\x00\x58") // as keepalived 2.2.7 sends it
)

func ring(t *testing.T, text string, permissive bool) *Keyring {
	t.Helper()
	k, err := ParseKeys([]byte(text), permissive)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// By another program (Python's hmac) from docs/vrrp-authentication.md.
func TestGoldenTrailer(t *testing.T) {
	k := ring(t, "7 "+secretTwo, false)
	got := k.Sign(bytes.Clone(advert), Context{"web", lb1, group}, Stamp{1_700_000_000_000_000, 1, 1_700_000_001_000_000})
	want := hex.EncodeToString(advert) + "4c565341" + "02" + "07" + "0000" + "00060a24181e4000" + "0000000000000001" + "00060a24182d8240" + "436366aaac45d1beb7cc7ceb0eafb0e6"
	if hex.EncodeToString(got) != want {
		t.Errorf("\n got %x\nwant %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	now := time.UnixMicro(1_700_000_000_000_000)
	at := uint64(now.UnixMicro())
	k := ring(t, "7 "+secretTwo+"\n8 0000000000000000\n", false)
	here := Context{"web", lb1, group}
	sign := func(with string, s Stamp) []byte { return ring(t, with, false).Sign(bytes.Clone(advert), here, s) }
	good := sign("7 "+secretTwo, Stamp{at, 1, at})
	old := bytes.Clone(good)
	old[len(advert)+4] = 1
	for i := range good { // no octet can be changed
		b := bytes.Clone(good)
		b[i] ^= 1
		if err := k.Verify(here, b, &Peer{}, now, time.Second); err == nil {
			t.Errorf("octet %d can be changed", i)
		}
	}
	const second = 1_000_000
	for _, tt := range []struct {
		name    string
		context Context
		message []byte
		want    error
	}{
		{"good", here, good, nil},
		{"the second key", here, sign("8 0000000000000000", Stamp{at, 1, at}), nil},
		{"as another's", Context{"web", lb2, group}, good, ErrMAC},
		{"to another", Context{"web", lb1, lb2}, good, ErrMAC},
		{"of another instance", Context{"inner", lb1, group}, good, ErrMAC},
		{"plain", here, advert, ErrUnauthenticated},
		{"cut", here, good[:len(good)-1], ErrUnauthenticated},
		{"another version", here, old, ErrVersion},
		{"another number", here, sign("9 "+secretTwo, Stamp{at, 1, at}), ErrKey},
		{"another secret", here, sign("7 "+secretTwo+"!", Stamp{at, 1, at}), ErrMAC},
		{"29 s ago", here, sign("7 "+secretTwo, Stamp{1, 1, at - 29*second}), nil},
		{"31 s ago", here, sign("7 "+secretTwo, Stamp{at, 1, at - 31*second}), ErrClock},
		{"in 31 s", here, sign("7 "+secretTwo, Stamp{at, 1, at + 31*second}), ErrClock},
		{"at the end of time", here, sign("7 "+secretTwo, Stamp{at, 1, 1<<64 - 1}), ErrClock},
		{"without a run", here, sign("7 "+secretTwo, Stamp{0, 1, at}), ErrReplay},
	} {
		if err := k.Verify(tt.context, tt.message, &Peer{}, now, time.Second); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// What a peer sends one after the other, with clocks that are set on either side.
func TestRunsAndClocks(t *testing.T) {
	const second = 1_000_000
	begin := time.UnixMicro(1_700_000_000_000_000)
	at := uint64(begin.UnixMicro())
	k := ring(t, "7 "+secretTwo, false)
	here := Context{"web", lb1, group}
	type step struct {
		what string
		Stamp
		ours time.Duration // our clock, from begin
		want error
	}
	for name, steps := range map[string][]step{
		"within a run": {
			{"first", Stamp{at, 5, at}, 0, nil},
			{"again", Stamp{at, 5, at}, 0, ErrReplay},
			{"older", Stamp{at, 4, at}, 0, ErrReplay},
			{"newer", Stamp{at, 6, at}, 0, nil},
			{"its clock is an hour ahead", Stamp{at, 7, at + 3600*second}, 0, nil},
			{"and put right", Stamp{at, 8, at + 2*second}, 2 * time.Second, nil},
			{"ours is put back", Stamp{at, 9, at + 3*second}, -90 * time.Second, nil},
			{"both are", Stamp{at, 10, at - 90*second}, -90 * time.Second, nil},
		},
		"restarts": {
			{"started with a clock ahead", Stamp{at + 20*second, 1, at + 20*second}, 0, nil},
			{"restarted with the clock put right", Stamp{at + second, 1, at + second}, time.Second, ErrReplay},
			{"the next advert", Stamp{at + second, 2, at + 2*second}, 2 * time.Second, nil},
			{"replay of the first run", Stamp{at + 20*second, 2, at + 20*second}, 3 * time.Second, ErrReplay},
			{"a reboot with a clock behind", Stamp{at - 15*second, 1, at - 15*second}, 4 * time.Second, nil},
			{"replay of the second run", Stamp{at + second, 3, at + second}, 5 * time.Second, ErrReplay},
			{"a later run, and a clock far off", Stamp{at + 7200*second, 1, at + 7200*second}, 5 * time.Second, nil},
			{"an unknown run of old", Stamp{at - 900*second, 1, at - 900*second}, 7 * time.Second, ErrClock},
			{"goes on", Stamp{at + 7200*second, 2, at + 7201*second}, 7 * time.Second, nil},
		},
		"replay after our restart": { // of the peer's earlier run, which we have not received
			{"its present run", Stamp{at, 8, at + second}, 0, nil},
			{"replay while that goes on", Stamp{at - 9*second, 5, at - second}, time.Second, ErrReplay},
			{"goes on", Stamp{at, 9, at + 3*second}, 2 * time.Second, nil},
			{"replay in a silence", Stamp{at - 9*second, 6, at}, 4 * time.Second, nil},
			{"the same again", Stamp{at - 9*second, 6, at}, 5 * time.Second, ErrReplay},
			{"the present run returns", Stamp{at, 10, at + 6*second}, 6 * time.Second, nil},
			{"the next replay", Stamp{at - 9*second, 7, at}, 7 * time.Second, ErrReplay},
			{"and goes on", Stamp{at, 11, at + 7*second}, 7 * time.Second, nil},
			{"replay in a long silence", Stamp{at - 9*second, 7, at}, time.Minute, ErrClock},
		},
		"replay of a run by a clock ahead": {
			{"its present run", Stamp{at, 8, at}, 0, nil},
			{"goes on with a clock far off", Stamp{at, 9, at - 900*second}, time.Second, nil},
			{"replay", Stamp{at + 7200*second, 5, at + 7200*second}, time.Second, nil},
			{"the present run, too early", Stamp{at, 10, at - 899*second}, 2 * time.Second, ErrReplay},
			{"the present run", Stamp{at, 11, at - 898*second}, 3 * time.Second, nil},
		},
	} {
		var p Peer
		for _, s := range steps {
			if err := k.Verify(here, k.Sign(bytes.Clone(advert), here, s.Stamp), &p, begin.Add(s.ours), time.Second); err != s.want {
				t.Errorf("%s: %s: %v, want %v", name, s.what, err, s.want)
			}
		}
	}
	var p Peer
	for run := range uint64(10 * maxRuns) {
		_ = k.Verify(here, k.Sign(bytes.Clone(advert), here, Stamp{at + run, 1, at}), &p, begin, time.Second)
	}
	if len(p.runs) != maxRuns {
		t.Errorf("%d runs are remembered, want %d", len(p.runs), maxRuns)
	}
}

func TestParseKeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "no key",
		"# only\n\n":                          "no key",
		"x 0123456789abcdef":                  "line 1",
		"256 0123456789abcdef":                "line 1",
		"1 0123456789abcdef more":             "line 1",
		"\n1 short":                           "line 2 is shorter",
		"1 " + secretTwo + "\n1 " + secretTwo: "duplicate key number 1",
	} {
		if _, err := ParseKeys([]byte(text), false); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretTwo) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if k := ring(t, "# a\r\n5 0123456789abcdef\r\n6 fedcba9876543210\r\n", true); k.signWith != 5 || string(k.keys[6]) != "fedcba9876543210" || !k.permissive {
		t.Errorf("%+v", k)
	}
}

// FuzzVerify: what is accepted is exactly what the holder of a key made.
func FuzzVerify(f *testing.F) {
	ring, err := ParseKeys([]byte("7 0123456789abcdef\n"), false)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	here := Context{"web", lb1, group}
	at := uint64(now.UnixMicro())
	f.Add(ring.Sign(bytes.Clone(advert), here, Stamp{at, 1, at}), uint64(0))
	f.Add(advert, uint64(0))
	f.Add(bytes.Repeat([]byte{0xff}, headerLen+TrailerLen), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, last uint64) {
		p := Peer{[]run{{at, last, now}}}
		if ring.Verify(here, b, &p, now, time.Second) != nil {
			return
		}
		got := p.runs[0]
		size := len(b) - TrailerLen
		again := ring.Sign(bytes.Clone(b[:size]), here, Stamp{got.id, got.counter, binary.BigEndian.Uint64(b[size+24:])})
		if got.id == at && got.counter <= last || !bytes.Equal(again[size+8:], b[size+8:]) {
			t.Errorf("%x is accepted, last %d", b, last)
		}
	})
}
