package vrrp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/wire"
)

const secretOne, secretTwo = "correct-horse-battery-staple", "0123456789abcdef"

// secured returns two directors' hosts, what gives their instances one key, and another host,
// which receives all that they send.
func secured(t *testing.T, l *lan) (h1, h2, ear *host, withKey func(*Config)) {
	t.Helper()
	file := scratch(t, "key", "1 "+secretTwo+"\n")
	h1, h2, ear = l.host(lb1), l.host(lb2), l.host(vip2.Addr())
	if _, err := ear.dial("eth0", 2, vip2.Addr()); err != nil {
		t.Fatal(err)
	}
	return h1, h2, ear, func(c *Config) { c.Authentication = Authentication{Type: "hmac", KeyFile: file} }
}

// Two directors with a key and an attacker on the LAN, who can neither take the address
// nor have it dropped, with whatever it recorded.
func TestAttackerOnTheLAN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h1, h2, ear, withKey := secured(t, &l)
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
				if p := <-ear.conns[0].in; len(p.Payload) > auth.TrailerLen {
					recorded = append(recorded, p)
				}
			}
			for _, p := range recorded {
				l.send(ear, p) // which does not record its own
				p.Source = lb2
				l.send(ear, p)
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
		// A real resignation is still accepted.
		stop1()
		time.Sleep(time.Second)
		synctest.Wait()
		if s := e2.Status(); s.State != Master || s.Reason != ReasonResigned {
			t.Errorf("%+v", s)
		}
	})
}

// Both directors restart within seconds, as in an upgrade, so that the backup has not
// received the master's earlier run, whose adverts the attacker replays.
func TestReplayAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h1, h2, ear, withKey := secured(t, &l)
		stop := running(t, h1.engine(t, Options{}, priority(200), withKey))
		time.Sleep(6 * time.Second) // of the bubble: some adverts, one each second
		stop()
		e1, r2 := h1.engine(t, Options{}, priority(200), withKey), &recorder{}
		e2 := h2.engine(t, r2.options(), withKey)
		var recorded []wire.Packet
		for len(ear.conns[0].in) > 0 {
			recorded = append(recorded, <-ear.conns[0].in)
		}
		if len(recorded) < 3 {
			t.Fatalf("%d adverts of the earlier run", len(recorded))
		}
		defer running(t, e1)()
		time.Sleep(5 * time.Second)
		defer running(t, e2)()
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		before := len(r2.all())
		for range 40 {
			for _, p := range recorded { // the resignation among them
				l.send(ear, p)
			}
			time.Sleep(700 * time.Millisecond)
		}
		synctest.Wait()
		if got := r2.all()[before:]; len(got) > 0 {
			t.Errorf("it moved the election: %v", got)
		}
		if s := e2.Status(); s.State != Backup || s.Master != lb1 || s.Dropped["replay"]+s.Dropped["clock"] != uint64(40*len(recorded)) {
			t.Errorf("%+v", s)
		}
	})
}

// The steps to introduce keys one director after the other: none causes two masters.
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
		if e2.Status().Unauthenticated == 0 {
			t.Error("nothing was counted")
		}
	})
}

// The test vector for IPv6 of docs/vrrp-authentication.md, which another implementation of
// HMAC and checksum computed.
func TestGoldenAdvertIPv6(t *testing.T) {
	keys, err := auth.ParseKeys([]byte("7 0123456789abcdef"), false)
	if err != nil {
		t.Fatal(err)
	}
	from, to := netip.MustParseAddr("fe80::12"), multicastIPv6
	a := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{netip.MustParseAddr("fe80::200:5eff:fe00:233"), netip.MustParseAddr("2001:db8::88")}}
	stamp := auth.Stamp{Run: 1_700_000_000_000_000, Counter: 2, Time: 1_700_000_002_000_000}
	got := keys.Sign(a.Append(nil, from, to), auth.Context{Instance: "web6", Source: from, Destination: to}, stamp)
	const want = "3133c80200647a30fe8000000000000002005efffe00023320010db80000000000000000000000884c5653410207000000060a24181e4000000000000000000200060a24183cc480042ef08215c3f447f3658a86c25f1e91"
	if fmt.Sprintf("%x", got) != want {
		t.Errorf("\n got %x\nwant %s", got, want)
	}
}

// What a director says of authenticated adverts that it cannot verify: the remedy differs.
func TestWordsOfUnverifiableAdverts(t *testing.T) {
	keys, err := auth.ParseKeys([]byte("7 "+secretTwo), false)
	if err != nil {
		t.Fatal(err)
	}
	message := keys.Sign(advertOf(100).Append(nil, lb2, multicastIPv4), auth.Context{Instance: "web", Source: lb2, Destination: multicastIPv4}, auth.Stamp{Run: 1, Counter: 1, Time: 1})
	old := slices.Clone(message)
	old[len(old)-auth.TrailerLen+len("LVSA")] = 1
	for want, m := range map[string][]byte{
		"its HMAC trailer has version 1, ours version 2: upgrade both directors with authentication in permissive mode": old,
		"it is authenticated by key 7, which is not in our key file":                                                    message,
	} {
		if got := explain(DropKey, Header{Source: lb2, Destination: multicastIPv4}, m, &Rules{VRID: 51, Version: 3}); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
