package peers

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
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

// scale is the page with the figures of many directors.
const scale = "../../../docs/scale.md"

// figures returns a row of the table in docs/scale.md, by the number of directors.
func figures(t *testing.T, row string) map[int]float64 {
	t.Helper()
	text, err := os.ReadFile(scale)
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		switch {
		case strings.HasPrefix(line, "| | 4 directors"):
			columns = cells
		case strings.HasPrefix(cells[0], row) && len(cells) == len(columns)+1:
			all := map[int]float64{}
			for i, cell := range cells[1:] {
				number, unit, _ := strings.Cut(cell, " ")
				v, err := strconv.ParseFloat(number, 64)
				n, _, _ := strings.Cut(strings.ReplaceAll(columns[i], ",", ""), " ")
				directors, err2 := strconv.Atoi(n)
				if err = errors.Join(err, err2); err != nil {
					t.Fatal(err)
				}
				all[directors] = v * map[string]float64{"": 1, "kB": 1e3, "MB": 1e6}[unit]
			}
			return all
		}
	}
	t.Fatalf("%s has no row %q", scale, row)
	return nil
}

// TestScale: one of so many directors (at most 200 under the race detector, which makes each
// exchange some ten times as expensive) knows all others within a second, with the requests
// and the octets of docs/scale.md, and the third of them that stop replying delay none of
// the rest.
func TestScale(t *testing.T) {
	requests, octets := figures(t, "exchange: requests"), figures(t, "exchange: octets")
	for _, n := range slices.Sorted(maps.Keys(requests)) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, n, requests[n], octets[n]) })
		})
	}
}

func simulate(t *testing.T, n int, wantRequests, wantOctets float64) {
	l := newLAN()
	if underRace {
		n = min(n, 200)
	}
	var calls, octets atomic.Int64
	l.between = func(c net.Conn) net.Conn { calls.Add(1); return countingConn{c, &octets} }
	one, others := oneOf(t, l, n)
	for _, s := range append(others, one) {
		s.become(withHundredServers)
	}
	run(t, append(others, one)...)
	after(interval)
	for _, p := range one.Peers() {
		if !p.Up {
			t.Fatalf("%s: %v", p.Name, p.Error)
		}
	}
	const seconds = 3
	calls.Store(0)
	octets.Store(0)
	after(seconds * interval)
	// What one sends, the others receive, and the reverse: it gets half of both.
	sent, received := float64(calls.Load())/2/seconds, float64(octets.Load())/2/seconds
	t.Logf("a second: %.0f requests sent, %.0f octets received", sent, received)
	if !underRace && (sent != wantRequests || received < 0.9*wantOctets || received > 1.1*wantOctets) {
		t.Errorf("%.0f requests and %.0f octets a second; %s has %.0f and %.0f", sent, received, scale, wantRequests, wantOctets)
	}
	silent := map[string]bool{}
	for i, p := range one.Peers() {
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
