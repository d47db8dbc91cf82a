package peers

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// manyNames names n directors, d0, d1 …, that have addresses.
func manyNames(n int) (names []string) {
	for i := range n {
		name := fmt.Sprint("d", i)
		addresses[name] = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		names = append(names, name)
	}
	return names
}

// oneOf is one of n directors with all others, which ask and answer that one alone: the
// work of each of n.
func oneOf(t testing.TB, l *lan, n int) (one *side, others []*side) {
	names := manyNames(n)
	one = newSide(t, l, names[0], goodKey, names[1:]...)
	for _, name := range names[1:] {
		others = append(others, newSide(t, l, name, goodKey, names[0]))
	}
	return one, others
}

// manyOf is n directors that run: d0, d1 …
func manyOf(t *testing.T, n int) (*lan, []*side) {
	l := newLAN()
	names := manyNames(n)
	var all []*side
	for i, name := range names {
		var others []string
		for j, o := range names {
			if j != i {
				others = append(others, o)
			}
		}
		all = append(all, newSide(t, l, name, goodKey, others...))
	}
	run(t, all...)
	after(10 * time.Millisecond)
	return l, all
}

// TestMany: of sixteen directors each knows all others within a second, all see what one
// announces, and one that stops replying delays nothing.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, all := manyOf(t, 16)
		for _, s := range all {
			if len(s.Peers()) != 15 {
				t.Fatalf("%s knows %d", s.name, len(s.Peers()))
			}
			for _, p := range s.Peers() {
				if !p.Up || p.State.Director != p.Name {
					t.Errorf("%s: %+v", s.name, p)
				}
			}
		}
		all[3].become(func(s *State) { s.Announces = []Announce{{Name: "any", Announced: true, Serving: true, Metric: 100}} })
		after(interval + selfTTL)
		for _, s := range all {
			for _, p := range s.Peers() {
				if a := p.State.Announces; p.Name == "d3" && (len(a) != 1 || !a[0].Serving || a[0].Metric != 100) {
					t.Errorf("%s sees %+v", s.name, a)
				}
			}
		}
		l.silence(all[5].address, true)
		after(3 * interval)
		for _, s := range all {
			for _, p := range s.Peers() {
				if silent := p.Name == "d5" || s.name == "d5"; !silent && time.Since(p.At) > interval {
					t.Errorf("%s: the reply of %s is %v old", s.name, p.Name, time.Since(p.At))
				}
			}
		}
	})
}

// TestThousand: one of a thousand directors (200 under the race detector, which makes each
// exchange some ten times as expensive) knows all others within a second, and the third of
// them that stop replying delay none of the rest.
func TestThousand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		n := 1000
		if underRace {
			n = 200
		}
		one, others := oneOf(t, l, n)
		run(t, append(others, one)...)
		after(interval)
		silent := map[string]bool{}
		for i, p := range one.Peers() {
			if !p.Up {
				t.Fatalf("%s: %v", p.Name, p.Error)
			}
			if i%3 == 0 {
				silent[p.Name] = true
				l.silence(addresses[p.Name], true)
			}
		}
		after(peerTimeout + 3*interval)
		for _, p := range one.Peers() {
			if p.Up == silent[p.Name] || p.Up && time.Since(p.At) > interval {
				t.Errorf("%s: up %v, its reply is %v old", p.Name, p.Up, time.Since(p.At))
			}
		}
	})
}

// TestRefresh: after it this director's replies are new, and every peer that replies at all
// has replied to a request that was sent after it, at once.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, all := manyOf(t, 3)
		one, two := all[0], all[1]
		l.silence(all[2].address, true)
		after(2*interval + interval/2) // in between two rounds, one request of which waits
		two.become(func(s *State) { s.Announces = []Announce{{Name: "any"}} })
		two.Refresh()
		one.become(func(s *State) { s.WaitReason = "waits" })
		now := time.Now()
		one.Refresh()
		after(time.Millisecond)
		for _, p := range one.Peers() {
			if p.Name == "d1" && (!p.RequestedAt.Equal(now) || len(p.State.Announces) != 1) {
				t.Errorf("asked %v before: %+v", now.Sub(p.RequestedAt), p.State)
			}
		}
		two.Refresh()
		after(time.Millisecond)
		for _, p := range two.Peers() {
			if p.Name == "d0" && p.State.WaitReason != "waits" {
				t.Errorf("%+v", p.State)
			}
		}
	})
}

// TestProbedIsALevel: what a director's probes find up is passed on, and a change of it wakes,
// as does the first request without a reply.
func TestProbedIsALevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, all := manyOf(t, 2)
		one, two := all[0], all[1]
		woken := func() int { one.mu.Lock(); defer one.mu.Unlock(); return one.wakes }
		two.become(func(s *State) { s.Probed = []byte{5, 1} })
		after(2 * interval)
		if p := one.Peers()[0]; string(p.State.Probed) != "\x05\x01" {
			t.Errorf("%v", p.State.Probed)
		}
		before := woken()
		two.become(func(s *State) { s.Probed = []byte{4, 1} })
		after(2 * interval)
		if woken() != before+1 {
			t.Errorf("%d wake-ups", woken()-before)
		}
		l.silence(two.address, true)
		after(interval + requestTimeout + time.Millisecond)
		if p := one.Peers()[0]; !p.Up || p.Error == "" || woken() != before+2 {
			t.Errorf("up %v, error %q, %d wake-ups", p.Up, p.Error, woken()-before)
		}
	})
}
