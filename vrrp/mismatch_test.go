package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// RFC 9568 §7.1: a differing address list is reported, and the advert accepted.
func TestAddressMismatchIsAcceptedWithAnAlarm(t *testing.T) {
	b := backup(t)
	b.at(time.Second)
	other := input{kind: inAdvert, from: lb2, priority: 200, interval: time.Second, addresses: []netip.Addr{vip2.Addr()}}
	b.want(b.step(other))
	b.deadline(b.m.downAt, downInterval(100, time.Second))
	if p := b.m.snapshot(); p.warning != "addresses differ: 10.0.0.13 adverts [10.0.0.89]" || p.conflict || b.m.mismatched != 1 {
		t.Errorf("%+v", p)
	}
	b.at(2*time.Second).advert(lb2, 200)
	if p := b.m.snapshot(); p.warning != "" {
		t.Errorf("alarm %q after an advert that fits", p.warning)
	}
}

func TestSameAddresses(t *testing.T) {
	a, c := vip.Addr(), vip2.Addr()
	two := []netip.Prefix{vip, vip2}
	for _, tt := range []struct {
		theirs []netip.Addr
		want   bool
	}{
		{[]netip.Addr{a, c}, true}, {[]netip.Addr{c, a}, true}, {[]netip.Addr{a}, false},
		{[]netip.Addr{a, a}, false}, {[]netip.Addr{a, c, c}, false}, {nil, false},
	} {
		if sameAddresses(two, tt.theirs) != tt.want {
			t.Errorf("%v: %v", tt.theirs, !tt.want)
		}
	}
}

func BenchmarkStepBackupHearsMaster(b *testing.B) {
	m := newMachine(config(), time.Unix(0, 0))
	now := time.Unix(0, 0)
	m.Step(now, input{kind: inStart})
	m.Step(now, input{kind: inReady, from: lb1})
	in := input{kind: inAdvert, from: lb2, priority: 200, interval: time.Second, addresses: []netip.Addr{vip.Addr()}}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		m.Step(now, in)
		m.snapshot()
	}
}

func BenchmarkStepMasterAdverts(b *testing.B) {
	m := newMachine(config(priority(255)), time.Unix(0, 0))
	now := time.Unix(0, 0)
	m.Step(now, input{kind: inStart})
	m.Step(now, input{kind: inReady, from: lb1})
	b.ReportAllocs()
	for b.Loop() {
		now = m.advertAt
		m.Step(now, input{kind: inTick})
		m.snapshot()
	}
}
