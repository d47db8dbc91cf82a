package lab

import (
	"testing"
	"time"
)

func TestStalledCountsWhatTouchesTheTime(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	seen := []stall{{at(0), at(100)}, {at(200), at(250)}, {at(400), at(500)}}
	for _, c := range []struct{ from, to, want int }{
		{0, 1000, 250}, {100, 200, 0}, {50, 220, 70}, {420, 450, 30}, {600, 700, 0},
	} {
		if got := stalledIn(seen, at(c.from), at(c.to)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("between %d and %d: %v, want %d ms", c.from, c.to, got, c.want)
		}
	}
}

func TestAtMostKnowsOfStalls(t *testing.T) {
	l := &Lab{tb: t}
	// A time far away, with which no real stall of this process overlaps.
	from := time.Now().Add(-24 * time.Hour)
	to := from.Add(time.Second)
	stalls.mu.Lock()
	stalls.seen = append([]stall{
		{from.Add(100 * time.Millisecond), from.Add(400 * time.Millisecond)},
		{from.Add(time.Hour), from.Add(time.Hour + 10*time.Second)},
	}, stalls.seen...)
	stalls.mu.Unlock()
	for _, c := range []struct {
		took time.Duration
		ok   bool
	}{{time.Second, true}, {1200 * time.Millisecond, true}, {1400 * time.Millisecond, false}} {
		if err := l.AtMost("it", c.took, time.Second, from, to); (err == nil) != c.ok {
			t.Errorf("%v of 1s, with 300ms of standing still: %v", c.took, err)
		}
	}
	later := from.Add(time.Hour)
	if err := l.AtMost("it", 9*time.Second, time.Second, later, later.Add(9*time.Second)); err == nil {
		t.Error("nine times the limit is excused, because the machine stood still all the time")
	}
}
