package vrrp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// TestSyncGroupSimulation runs two directors with a sync group over two LANs while one
// direction of a LAN, or several, is broken permanently, or while a member exists on
// one director only: the group must reach a stable state.
func TestSyncGroupSimulation(t *testing.T) {
	for seed := range uint64(*simSeeds) {
		if rest := groupSimulation(seed); rest != "" {
			t.Fatalf("seed %d: %s", seed, rest)
		}
	}
}

func groupSimulation(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 3))
	const every = time.Second
	now := time.Unix(1_000_000, 0)
	begin := now
	type member struct {
		m       *machine
		addr    netip.Addr
		starts  time.Time
		started bool
	}
	var all [2][2]*member // director, LAN
	var broken [2][2]bool // LAN, sender
	for lan := range 2 {
		for from := range 2 {
			broken[lan][from] = r.IntN(3) == 0
		}
	}
	preempt := r.IntN(4) > 0
	for d := range 2 {
		base := uint8(100 + r.IntN(3)*50)
		for lan := range 2 {
			cfg := config(priority(base), interval(every), func(c *Config) { c.Preempt, c.Name = preempt, fmt.Sprint("lan", lan) })
			m := &member{m: newMachine(cfg, now), addr: netip.AddrFrom4([4]byte{10, byte(lan), 0, byte(12 + d)})}
			m.starts = now.Add(time.Duration(r.Int64N(int64(5 * every))))
			if lan == 1 && r.IntN(6) == 0 {
				m.starts = now.Add(time.Hour) // configured on the other director only
			}
			all[d][lan] = m
		}
	}
	changes := 0
	var log []string
	type advert struct {
		d, lan   int
		priority uint8
		at       time.Time
	}
	var wire []advert
	var step func(d, lan int, in input)
	step = func(d, lan int, in input) {
		m := all[d][lan]
		if !m.started {
			return
		}
		if other := all[d][1-lan]; in.kind == inTick && other.started {
			if g := other.m.followed(); !g.until.IsZero() {
				in.group = []groupMaster{g}
			}
		}
		var moved []State
		for _, a := range append([]action(nil), m.m.Step(now, in)...) {
			switch a.kind {
			case doSend:
				wire = append(wire, advert{d, lan, a.priority, now.Add(time.Duration(1 + r.Int64N(int64(time.Millisecond))))})
			case doSetAddresses:
				step(d, lan, input{kind: inAddresses, addrSeq: a.addrSeq, prefixes: a.prefixes})
			case didChangeState:
				changes++
				log = append(log, fmt.Sprintf("%v %d/%d %s %s", now.Sub(begin), d, lan, a.to, a.reason))
				if a.reason != ReasonGroup && (a.to == Master || a.to == Backup && a.from == Master) {
					moved = append(moved, a.to)
				}
			}
		}
		for _, to := range moved {
			step(d, 1-lan, input{kind: inGroup, to: to, detail: "the other"})
		}
	}
	const length, settled = 120 * every, 60 * every
	for now.Sub(begin) < length {
		next := begin.Add(length)
		for _, a := range wire {
			next = earliest(next, a.at)
		}
		for d := range 2 {
			for lan := range 2 {
				if m := all[d][lan]; !m.started {
					next = earliest(next, m.starts)
				} else {
					next = earliest(next, m.m.Deadline())
				}
			}
		}
		if next.Before(now) {
			next = now
		}
		now = next
		if now.Sub(begin) < settled {
			changes = 0
		}
		due := wire
		wire = nil
		for _, a := range due {
			if a.at.After(now) {
				wire = append(wire, a)
			} else if !broken[a.lan][a.d] {
				from := all[a.d][a.lan]
				step(1-a.d, a.lan, input{kind: inAdvert, from: from.addr, priority: a.priority, interval: every, addresses: []netip.Addr{vip.Addr()}})
			}
		}
		for d := range 2 {
			for lan := range 2 {
				m := all[d][lan]
				if !m.started && !m.starts.After(now) {
					m.started = true
					step(d, lan, input{kind: inStart})
					step(d, lan, input{kind: inReady, from: m.addr})
				} else if at := m.m.Deadline(); m.started && !at.IsZero() && !at.After(now) {
					step(d, lan, input{kind: inTick})
				}
			}
		}
	}
	if changes > 0 {
		return fmt.Sprintf("%d changes of state in %v of rest; preempt %v, broken (LAN, sender) %v\n%v", changes, length-settled, preempt, broken, log[max(0, len(log)-30):])
	}
	return ""
}
