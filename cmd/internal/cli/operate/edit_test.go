package operate

import (
	"testing"
	"time"
)

func TestEndOfDrain(t *testing.T) {
	now := time.Date(2026, 12, 1, 4, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{"": {}, "2h": now.Add(2 * time.Hour), "2026-12-01T07:00:00+01:00": now.Add(2 * time.Hour)} {
		if got, err := endOfDrain(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
}
