package vrrp

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/checksum"
	"lvsd/vrrp/wire"
)

var (
	ll1      = netip.MustParseAddr("fe80::c")
	ll2      = netip.MustParseAddr("fe80::d")
	sesame   = auth.Password{'o', 'p', 'e', 'n'}
	rules2   = &Rules{VRID: 51, Version: 2, Interval: time.Second}
	rulesPwd = &Rules{VRID: 51, Version: 2, Interval: time.Second, Password: &sesame}
)

// Computed by another program from RFC 9568 §5.2 with RFC 8200 §8.1, and RFC 3768 §5.
func TestGoldenDialects(t *testing.T) {
	six := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip6.Addr(), vip6b.Addr()}}
	two := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip.Addr()}, Checksum: RFC9568}
	for _, tt := range []struct {
		name   string
		rules  *Rules
		from   netip.Addr
		advert Advert
		got    []byte
		want   string
	}{
		{"IPv6", rules3, ll1, six, six.Append(nil, ll1, multicastIPv6),
			"3133c8020064d9f1" + "fe800000000000000000000000000100" + "20010db8000000000000000000000100"},
		{"version 2", rules2, lb1, two, two.AppendV2(nil, nil), "2133c80100010c72" + "0a000058" + "0000000000000000"},
		{"version 2, password", rulesPwd, lb1, two, two.AppendV2(nil, &sesame), "2133c80101013693" + "0a000058" + "6f70656e00000000"},
	} {
		want := unhex(t, tt.want)
		if !bytes.Equal(tt.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tt.name, tt.got, want)
			continue
		}
		var a Advert
		if drop := Decode(Header{tt.from, groupAddress(tt.from), 255}, want, tt.rules, &a); drop != DropNone || !equalAdverts(a, tt.advert) {
			t.Errorf("%s: %v, %+v", tt.name, drop, a)
		}
	}
}

// What is refused besides what TestDropReasons sends.
func TestDropReasonsOfDialects(t *testing.T) {
	two := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip.Addr()}}
	slow := two
	slow.Interval = 2 * time.Second
	six := Advert{VRID: 51, Priority: 200, Interval: time.Second, Addresses: []netip.Addr{vip6.Addr()}}
	peers := &Rules{VRID: 51, Version: 3, Source: lb2, Peers: []netip.Addr{lb1}}
	stranger := netip.MustParseAddr("10.0.0.66")
	four := Header{lb1, multicastIPv4, 255}
	other := auth.Password{'s', 'h', 'u', 't'}
	flipped := six.Append(nil, ll1, multicastIPv6)
	flipped[2]++
	alone := six.Append(nil, ll1, multicastIPv6) // summed without the pseudo-header
	alone[6], alone[7] = 0, 0
	sum := ^checksum.Fold(checksum.Add(0, alone))
	alone[6], alone[7] = byte(sum>>8), byte(sum)
	for _, tt := range []struct {
		name    string
		header  Header
		rules   *Rules
		message []byte
		want    DropReason
	}{
		{"version 3 to a version 2 election", four, rules2, two.Append(nil, lb1, multicastIPv4), DropVersion},
		{"no octets behind", four, rules2, two.AppendV2(nil, nil)[:12], DropLength},
		{"a password to one without", four, rules2, two.AppendV2(nil, &sesame), DropAuthType},
		{"none to one with a password", four, rulesPwd, two.AppendV2(nil, nil), DropAuthType},
		{"another password", four, rulesPwd, two.AppendV2(nil, &other), DropAuth},
		{"the password", four, rulesPwd, two.AppendV2(nil, &sesame), DropNone},
		{"another interval", four, rules2, slow.AppendV2(nil, nil), DropIntervalDiffers},
		{"the password before the interval", four, rulesPwd, slow.AppendV2(nil, &other), DropAuth},
		{"TTL 254, version 2", Header{lb1, multicastIPv4, 254}, rules2, two.AppendV2(nil, nil), DropTTL},
		{"summed with a pseudo-header, version 2", four, rules2, withPseudoHeader(two.AppendV2(nil, nil)), DropChecksum},
		{"IPv6", Header{ll1, multicastIPv6, 255}, rules3, six.Append(nil, ll1, multicastIPv6), DropNone},
		{"IPv6, hop limit", Header{ll1, multicastIPv6, 254}, rules3, six.Append(nil, ll1, multicastIPv6), DropTTL},
		{"IPv6, checksum", Header{ll1, multicastIPv6, 255}, rules3, flipped, DropChecksum},
		{"IPv6, summed alone", Header{ll1, multicastIPv6, 255}, rules3, alone, DropChecksum},
		{"IPv6, half an address", Header{ll1, multicastIPv6, 255}, rules3, six.Append(nil, ll1, multicastIPv6)[:16], DropLength},
		{"IPv6, to a host alone", Header{ll1, ll2, 255}, rules3, six.Append(nil, ll1, ll2), DropDestination},
		{"unicast", Header{lb1, lb2, 255}, peers, two.Append(nil, lb1, lb2), DropNone},
		{"unicast over a router", Header{lb1, lb2, 254}, peers, two.Append(nil, lb1, lb2), DropTTL},
		{"unicast from a stranger", Header{stranger, lb2, 255}, peers, two.Append(nil, stranger, lb2), DropPeer},
		{"multicast to a unicast election", four, peers, two.Append(nil, lb1, multicastIPv4), DropDestination},
		{"our own", Header{lb1, multicastIPv4, 255}, &Rules{VRID: 51, Version: 3, Source: lb1}, two.Append(nil, lb1, multicastIPv4), DropOwn},
	} {
		var a Advert
		if got := Decode(tt.header, tt.message, tt.rules, &a); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if explain(tt.want, tt.header, tt.message, tt.rules) == "" {
			t.Errorf("%s: nothing to tell people", tt.name)
		}
	}
}

func withPseudoHeader(b []byte) []byte {
	b[6], b[7] = 0, 0
	sum := ^checksum.Fold(addPseudoHeader(checksum.Add(0, b), lb1, multicastIPv4, len(b)))
	b[6], b[7] = byte(sum>>8), byte(sum)
	return b
}

// A pair in each dialect: preemption, priority 0, missing adverts, each at its exact
// time.
func TestPairInEachDialect(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l lan
				one, two := lb1, lb2
				if d.v6 {
					one, two = ll1, ll2
				}
				h1, h2 := l.host(one), l.host(two)
				r1, r2 := &recorder{}, &recorder{}
				c1, c2 := d.config(t, one, two, 200), d.config(t, two, one, 100)
				every := c2.AdvertInterval
				late := 156 * every / 256 // the skew of priority 100
				if c2.Version == 2 {
					late = 609375 * time.Microsecond
				}
				e2 := h2.engine(t, r2.options(), is(c2))
				stop2 := running(t, e2)
				defer stop2()
				e1 := h1.engine(t, r1.options(), is(c1))
				stop1 := running(t, e1)
				time.Sleep(5 * every)
				synctest.Wait()
				held := d.vip()
				if !slices.Contains(h1.holds(), held) || slices.Contains(h2.holds(), held) || e2.Status().Master != one {
					t.Fatalf("held by %v and %v: %+v", h1.holds(), h2.holds(), e2.Status())
				}
				stop1()
				left := time.Now()
				time.Sleep(every)
				if at := r2.all()[len(r2.all())-1].At; e2.Status().Reason != ReasonResigned || at.Sub(left) != late {
					t.Errorf("%+v, %v after priority 0, want %v", e2.Status(), at.Sub(left), late)
				}
				stop2()
				if n := e2.Status().Dropped; slices.Max(slices.Collect(values(n))) > 0 {
					t.Errorf("dropped: %v", n)
				}
			})
		})
	}
}

func values(m map[string]uint64) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func is(c Config) func(*Config) { return func(to *Config) { *to = c } }

// In version 2 a peer with another interval is refused and raises an alarm.
func TestVersion2IntervalAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options(), version2(""))
		stop := running(t, e)
		defer stop()
		synctest.Wait()
		a := advertOf(200)
		a.Interval = 3 * time.Second
		l.send(nil, wire.Packet{Source: lb2, Destination: multicastIPv4, TTL: 255, Payload: a.AppendV2(nil, nil)})
		synctest.Wait()
		s := e.Status()
		if s.AdvertsReceived != 0 || s.Dropped["interval_differs"] != 1 || !s.Contested || !strings.Contains(s.Alarm, "3 s, ours is 1s") {
			t.Errorf("%+v", s)
		}
	})
}
