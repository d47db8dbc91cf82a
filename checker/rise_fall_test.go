package checker

import (
	"math/rand/v2"
	"testing"
)

func TestGauge(t *testing.T) {
	tests := []struct {
		name       string
		start      State
		known      bool
		rise, fall int
		results    string // + ok, - failure
		want       string // the state after each: u, U(p), D(own)
	}{
		{"new: the first result is the state, up", Unknown, false, 2, 3, "+", "U"},
		{"new: the first result is the state, down", Unknown, false, 2, 3, "-", "D"},
		{"new and down comes up by rise", Unknown, false, 2, 3, "-+-++", "DDDDU"},
		{"known: an up counts at once", Unknown, true, 2, 3, "+", "U"},
		{"known: a down needs fall", Unknown, true, 2, 3, "---", "uuD"},
		{"known: an up counts at once after failures", Unknown, true, 2, 3, "--+", "uuU"},
		{"known: failures before the up do not count after it", Unknown, true, 2, 3, "--+--", "uuUUU"},
		{"up: fall in a row", Up, false, 2, 3, "--+---", "UUUUUD"},
		{"down: rise in a row", Down, false, 2, 3, "+-++", "DDDU"},
		{"thresholds of one", Up, false, 1, 1, "-+-+", "DUDU"},
		{"thresholds below one are one", Up, false, 0, -3, "-+", "DU"},
		{"the streak restarts after a change", Up, false, 3, 2, "--++-+++", "UDDDDDDU"},
	}
	letters := map[State]byte{Unknown: 'u', Up: 'U', Down: 'D'}
	for _, tt := range tests {
		g := newRiseFall(tt.start, tt.known, tt.rise, tt.fall)
		var got []byte
		for _, r := range tt.results {
			g.observe(r == '+')
			got = append(got, letters[g.state])
		}
		if string(got) != tt.want {
			t.Errorf("%s: %s gives %s, want %s", tt.name, tt.results, got, tt.want)
		}
	}
}

// reference computes the state from all results so far.
func reference(v State, known bool, rise, fall int, all []bool) State {
	last := func(n int, ok bool) bool {
		if len(all) < n {
			return false
		}
		for _, r := range all[len(all)-n:] {
			if r != ok {
				return false
			}
		}
		return true
	}
	switch {
	case v == Unknown && !known && last(1, false):
		return Down
	case v == Unknown && last(1, true):
		return Up
	case v != Down && last(fall, false):
		return Down
	case v == Down && last(rise, true):
		return Up
	}
	return v
}

func TestGaugeAgainstReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		start := State(r.IntN(3))
		known := r.IntN(2) == 0
		rise, fall := 1+r.IntN(5), 1+r.IntN(5)
		g := newRiseFall(start, known, rise, fall)
		want := start
		var all []bool
		bias := r.Float64()
		for i := range 60 {
			if r.IntN(20) == 0 {
				rise, fall = 1+r.IntN(5), 1+r.IntN(5)
				g.rethreshold(rise, fall)
			}
			ok := r.Float64() < bias
			all = append(all, ok)
			before := g.state
			settled := g.observe(ok)
			want = reference(want, known, rise, fall, all)
			if g.state != want {
				t.Fatalf("start %v known %v rise %d fall %d after %v: %v, want %v", start, known, rise, fall, all, g.state, want)
			}
			if (settled > 0) != (g.state != before) {
				t.Fatalf("observe returned %d for %v to %v", settled, before, g.state)
			}
			if settled > 0 && before != Unknown {
				need := rise
				if g.state == Down {
					need = fall
				}
				for _, past := range all[i+1-need:] {
					if past != ok {
						t.Fatalf("changed to %v although not %d in a row: %v", g.state, need, all)
					}
				}
			}
			if g.changing() != (g.state == Unknown || before == g.state && g.streak > 0) {
				t.Fatalf("changing %v with streak %d at %v", g.changing(), g.streak, g.state)
			}
			if g.streak >= g.needed() && settled == 0 && i > 0 && all[i] != (g.state == Up) {
				t.Fatalf("streak %d of %d did not settle", g.streak, g.needed())
			}
		}
	}
}

func TestAggregate(t *testing.T) {
	for _, tt := range []struct{ a, b, want State }{
		{Up, Up, Up}, {Up, Down, Down}, {Down, Up, Down}, {Up, Unknown, Unknown}, {Unknown, Down, Down}, {Unknown, Unknown, Unknown},
	} {
		if got := aggregate(tt.a, tt.b); got != tt.want {
			t.Errorf("%v and %v make %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

func BenchmarkGauge(b *testing.B) {
	g := newRiseFall(Unknown, false, 2, 3)
	for i := 0; b.Loop(); i++ {
		g.observe(i%7 < 3)
	}
}
