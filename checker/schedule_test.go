package checker

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestNext(t *testing.T) {
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	grid := timing{origin: at(300), interval: time.Second}
	fast := timing{origin: at(300), interval: time.Second, fast: 200 * time.Millisecond}
	slow := timing{origin: at(300), interval: time.Second, fast: 3 * time.Second}
	tests := []struct {
		name     string
		t        timing
		due, now int
		changing bool
		want     int
	}{
		{"the first probe is followed at its phase", grid, 0, 1, false, 300},
		{"the first is followed before the grid's origin", grid, -900, -890, false, -700},
		{"on the grid: one interval", grid, 300, 310, false, 1300},
		{"the duration does not matter", grid, 300, 1299, false, 1300},
		{"the first outlasts its phase, but not the interval", grid, 0, 400, false, 1000},
		{"ended exactly when due again", grid, 300, 1300, false, 1300},
		{"an overrun leaves points out", grid, 300, 2500, false, 3300},
		{"fast while changing", fast, 300, 310, true, 500},
		{"fast goes on from where it was", fast, 500, 510, true, 700},
		{"fast overrun", fast, 300, 1010, true, 1100},
		{"back on the grid", fast, 700, 710, false, 1300},
		{"a fast interval that is slower is none", slow, 300, 310, true, 1300},
	}
	for _, tt := range tests {
		if got := tt.t.next(at(tt.due), at(tt.now), tt.changing); !got.Equal(at(tt.want)) {
			t.Errorf("%s: got %v, want %v", tt.name, got.Sub(epoch), at(tt.want).Sub(epoch))
		}
	}
}

// Whatever the durations and the states: probes never overlap, follow each other within
// an interval when they end within it, and keep to the grid while the state is stable.
func TestNextProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		interval := time.Duration(1 + r.Int64N(int64(10*time.Second)))
		tm := timing{interval: interval, fast: time.Duration(r.Int64N(int64(interval) * 2)),
			origin: epoch.Add(phases(r, 1, interval)[0])}
		due := epoch
		for range 50 {
			took := time.Duration(r.ExpFloat64() * float64(interval) / 2)
			changing := r.IntN(3) == 0
			end := due.Add(took)
			next := tm.next(due, end, changing)
			if !next.After(due) || next.Before(end) {
				t.Fatalf("due %v, took %v: next %v", due.Sub(epoch), took, next.Sub(epoch))
			}
			if gap := next.Sub(due); took <= interval && gap > interval || gap > took+interval {
				t.Fatalf("a gap of %v after %v, interval %v", gap, took, interval)
			}
			if onGrid := next.Sub(tm.origin)%interval == 0; !changing && !onGrid && next.Sub(due) != interval {
				t.Fatalf("%v is not on the grid of %v from %v", next.Sub(epoch), interval, tm.origin.Sub(epoch))
			}
			due = next
		}
	}
}

func TestPhases(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 2, 7, 1000} {
		const interval = 2 * time.Second
		all := phases(r, n, interval)
		slices.Sort(all)
		for _, p := range all {
			if p < 0 || p >= interval {
				t.Fatalf("phase %v outside the interval", p)
			}
		}
		// Each n-th part of the turned circle holds exactly one, so a gap is
		// less than two parts.
		for i := 1; i < n; i++ {
			if gap := all[i] - all[i-1]; gap > 2*interval/time.Duration(n)+1 {
				t.Errorf("%d phases leave a gap of %v", n, gap)
			}
		}
	}
	if got := phases(r, 5, 1); !slices.Equal(got, make([]time.Duration, 5)) {
		t.Errorf("an interval of 1 ns has the phases %v", got)
	}
}

func TestAgenda(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 300 {
		var a dueQueue
		var want []time.Time
		for range r.IntN(60) {
			p := &probeState{due: epoch.Add(time.Duration(r.IntN(40))), removed: r.IntN(4) == 0}
			a.push(p)
			if !p.removed {
				want = append(want, p.due)
			}
		}
		a.dropRemoved()
		slices.SortFunc(want, time.Time.Compare)
		var got []time.Time
		for a.first() != nil {
			if a.first() != a[0] {
				t.Fatal("first is not the first")
			}
			got = append(got, a.pop().due)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("taken %v, want %v", got, want)
		}
	}
}

func TestRaster(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		n        int
		want     time.Duration
	}{
		{time.Second, 1, rasterMost}, {time.Second, 500, rasterMost}, {time.Second, 1000, 16 * time.Millisecond},
		{time.Second, 10000, 1600 * time.Microsecond}, {100 * time.Millisecond, 10, 3125 * time.Microsecond}, {1, 10000, 0},
	} {
		step := rasterStep(tt.interval, tt.n)
		if step != tt.want {
			t.Errorf("%d checks each %v have a raster of %v, want %v", tt.n, tt.interval, step, tt.want)
		}
		r := rand.New(rand.NewPCG(uint64(tt.n), 1))
		for range 100 {
			at := epoch.Add(time.Duration(r.Int64N(int64(time.Hour))))
			on := onRaster(at, epoch, step)
			if back := at.Sub(on); back < 0 || back > 0 && back >= step || step > 0 && on.Sub(epoch)%step != 0 {
				t.Errorf("%v became %v on a raster of %v", at, on, step)
			}
		}
	}
}
