package vrrp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/wire"
)

const secretOne, secretTwo = "correct-horse-battery-staple", "0123456789abcdef"

func ring(t *testing.T, text string, permissive bool) *Keyring {
	t.Helper()
	k, err := parseKeys([]byte(text), permissive)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// By another program (Python's hmac) from docs/vrrp-authentication.md.
func TestGoldenSeal(t *testing.T) {
	k := ring(t, "7 "+secretTwo, false)
	got := k.seal(golden[0].advert.Append(nil, lb1, multicastIPv4), lb1, multicastIPv4, 1_700_000_000_000_000)
	want := golden[0].message + "4c565341" + "01" + "07" + "0000" + "00060a24181e4000" + "48da734f0a6aaefcb66a4c6eb3223b1ec1a5230da1a4ebedc62d252e23fd67d7"
	if hex.EncodeToString(got) != want {
		t.Errorf("\n got %x\nwant %s", got, want)
	}
	var a Advert
	if d := Decode(Header{lb1, multicastIPv4, 255}, got, rules3, &a); d != DropNone || !equalAdverts(a, golden[0].advert) {
		t.Errorf("who has no key must still understand it: %v, %+v", d, a)
	}
}

func TestProve(t *testing.T) {
	now := time.UnixMicro(1_700_000_000_000_000)
	at := uint64(now.UnixMicro())
	k := ring(t, "7 "+secretTwo+"\n8 0000000000000000\n", false)
	plain := golden[0].advert.Append(nil, lb1, multicastIPv4)
	seal := func(with string, sequence uint64) []byte {
		return ring(t, with, false).seal(bytes.Clone(plain), lb1, multicastIPv4, sequence)
	}
	good, header := seal("7 "+secretTwo, at), Header{lb1, multicastIPv4, 255}
	for i := range good { // no octet can be another one
		b := bytes.Clone(good)
		b[i] ^= 1
		if _, d := k.prove(header, b, 0, now); d == DropNone {
			t.Errorf("octet %d can be changed", i)
		}
	}
	for _, tt := range []struct {
		name    string
		header  Header
		message []byte
		last    uint64
		want    Drop
	}{
		{"good", header, good, 0, DropNone},
		{"the second key", header, seal("8 0000000000000000", at), 0, DropNone},
		{"newer", header, good, at - 1, DropNone},
		{"replayed", header, good, at, DropReplay},
		{"older", header, good, at + 1, DropReplay},
		{"as another's", Header{lb2, multicastIPv4, 255}, good, 0, DropAuth},
		{"to another", Header{lb1, lb2, 255}, good, 0, DropAuth},
		{"plain", header, plain, 0, DropUnauthenticated},
		{"cut", header, good[:len(good)-1], 0, DropUnauthenticated},
		{"another number", header, seal("9 "+secretTwo, at), 0, DropKey},
		{"another secret", header, seal("7 "+secretTwo+"!", at), 0, DropAuth},
		{"29 s ago", header, seal("7 "+secretTwo, at-29_000_000), 0, DropNone},
		{"31 s ago", header, seal("7 "+secretTwo, at-31_000_000), 0, DropClock},
		{"in 31 s", header, seal("7 "+secretTwo, at+31_000_000), 0, DropClock},
		{"at the end of time", header, seal("7 "+secretTwo, 1<<64-1), 0, DropClock},
	} {
		sequence, d := k.prove(tt.header, tt.message, tt.last, now)
		if d != tt.want || d == DropNone && sequence == 0 {
			t.Errorf("%s: %v, want %v", tt.name, d, tt.want)
		}
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
		"1 " + secretTwo + "\n1 " + secretTwo: "again",
	} {
		if _, err := parseKeys([]byte(text), false); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretTwo) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if k := ring(t, "# a\r\n5 0123456789abcdef\r\n6 fedcba9876543210\r\n", true); k.sealWith != 5 || string(k.keys[6]) != "fedcba9876543210" || !k.permissive {
		t.Errorf("%+v", k)
	}
}

// Two directors with a key and an attacker on the LAN, who cannot take or drop
// the address, whatever was recorded.
func TestAttackerOnTheLAN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		file := scratch(t, "key", "1 "+secretTwo+"\n")
		withKey := func(c *Config) { c.Authentication = Authentication{Type: "hmac", KeyFile: file} }
		h1, h2 := l.host(lb1), l.host(lb2)
		ear := l.host(vip2.Addr())
		if _, err := ear.dial("eth0", 2, vip2.Addr()); err != nil {
			t.Fatal(err)
		}
		r1, r2 := &recorder{}, &recorder{}
		e1, e2 := h1.engine(t, r1.options(), priority(200), withKey), h2.engine(t, r2.options(), withKey)
		stop1, stop2 := running(t, e1), running(t, e2)
		defer stop2()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		n1, n2 := len(r1.all()), len(r2.all())
		var recorded []wire.Packet
		for range 20 {
			for _, p := range []uint8{0, 255} {
				l.script(lb1, advertOf(p)) // in the master's name, and in the backup's
				l.script(lb2, advertOf(p))
			}
			for len(ear.conns[0].in) > 0 {
				if p := <-ear.conns[0].in; len(p.Payload) > sealLen {
					recorded = append(recorded, p)
				}
			}
			for _, p := range recorded {
				l.send(nil, p)
				p.Source = lb2
				l.send(nil, p)
			}
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		if len(r1.all()) != n1 || len(r2.all()) != n2 {
			t.Errorf("it moved the election: %v %v", r1.all()[n1:], r2.all()[n2:])
		}
		s := e2.Status()
		if s.Dropped["unauthenticated"] == 0 || s.Dropped["replay"] == 0 || s.State != Backup || s.Master != lb1 || !s.Contested {
			t.Errorf("%+v", s)
		}
		// A real stop is still understood.
		stop1()
		time.Sleep(time.Second)
		synctest.Wait()
		if s := e2.Status(); s.State != Master || s.Reason != ReasonResigned {
			t.Errorf("%+v", s)
		}
	})
}

// The way to introduce keys one director after the other: no step makes two masters.
func TestKeysAreIntroducedInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		old, new := scratch(t, "old", "1 "+secretTwo+"\n"), scratch(t, "new", "2 "+secretOne+"\n1 "+secretTwo+"\n")
		both := scratch(t, "both", "1 "+secretTwo+"\n2 "+secretOne+"\n")
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		e1, e2 := h1.engine(t, r1.options(), priority(200)), h2.engine(t, r2.options())
		stop1, stop2 := running(t, e1), running(t, e2)
		defer stop2()
		defer stop1()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		n1, n2 := len(r1.all()), len(r2.all())
		for _, a := range []Authentication{
			{Type: "hmac", KeyFile: old, Permissive: true}, {Type: "hmac", KeyFile: old},
			{Type: "hmac", KeyFile: both}, {Type: "hmac", KeyFile: new}, {Type: "hmac", KeyFile: old, Permissive: true}, {},
		} {
			for _, e := range []*Engine{e2, e1} {
				e.Update(config(priority(map[*Engine]uint8{e1: 200, e2: 100}[e]), func(c *Config) { c.Authentication = a }))
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if len(r1.all()) != n1 || len(r2.all()) != n2 {
					t.Fatalf("%+v moved the election: %v %v", a, r1.all()[n1:], r2.all()[n2:])
				}
			}
		}
		if e2.Status().Unproven == 0 {
			t.Error("nothing was counted")
		}
	})
}

// FuzzProof: what is taken for proven is exactly what one with the key made.
func FuzzProof(f *testing.F) {
	ring, err := parseKeys([]byte("7 0123456789abcdef\n"), false)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	message := unhex(f, golden[0].message)
	f.Add(ring.seal(message, lb1, multicastIPv4, uint64(now.UnixMicro())), uint64(0))
	f.Add(message, uint64(0))
	f.Add(bytes.Repeat([]byte{0xff}, headerLen+sealLen), uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, last uint64) {
		sequence, d := ring.prove(Header{lb1, multicastIPv4, 255}, b, last, now)
		if d != DropNone {
			return
		}
		if size := len(b) - sealLen; sequence <= last || !bytes.Equal(ring.seal(bytes.Clone(b[:size]), lb1, multicastIPv4, sequence)[size+8:], b[size+8:]) {
			t.Errorf("%x is taken, last %d", b, last)
		}
	})
}
