package vrrp

import (
	"net/netip"
	"testing"
	"time"
)

// A flood changes no state: each packet is counted, also those that arrive while the
// receiver pauses, and few are answered.
func TestKernelFlood(t *testing.T) {
	s := pair(t)
	master, backup := s.director("d1", config(priority(200))), s.director("d2", config(priority(100)))
	s.holder("d1", "d2", vip)
	eventually(t, "a backup that hears", func() bool { return backup.status().AdvertsReceived > 0 })
	events := len(master.events()) + len(backup.events())
	attacker, from := newStranger(s, "c"), netip.MustParseAddr("10.0.0.3") // which loses every tie
	for _, f := range []struct {
		name           string
		vrid, priority uint8
		drop           DropReason
	}{
		{"lower priority", 51, 1, DropNone}, {"equal priority", 51, 200, DropNone},
		{"another virtual router", 99, 1, DropVRID}, {"bad checksum", 51, 1, DropChecksum},
	} {
		a := Advert{f.vrid, f.priority, time.Second, []netip.Addr{vip.Addr()}, RFC5798}
		packet := evil{source: from, destination: multicastIPv4, ttl: 255, payload: a.Append(nil, from, multicastIPv4)}
		if f.drop == DropChecksum {
			packet.payload[6]++
		}
		const packets = 1000
		began, before := time.Now(), master.status()
		for range packets {
			attacker.send(packet)
		}
		counted := func(st Status) uint64 {
			if f.drop != DropNone {
				return st.Dropped[f.drop.String()]
			}
			return st.AdvertsReceived
		}
		eventually(t, f.name+": all are counted", func() bool { return counted(master.status())-counted(before) >= packets })
		sent, bound := master.status().AdvertsSent-before.AdvertsSent, uint64((time.Since(began)/time.Second+2)*(answersPerInterval+1))
		if sent > bound {
			t.Errorf("%s: %d adverts in answer", f.name, sent)
		}
	}
	if n := len(master.events()) + len(backup.events()); n != events || !s.holds("d1", vip) || s.holds("d2", vip) {
		t.Errorf("it moved the address: %v %v", master.events(), backup.events())
	}
}
