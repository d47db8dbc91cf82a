package outcome

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestHistory: the ring has the latest results as they were added, also when each has a
// text of its own, and keeps no more texts than results.
func TestHistory(t *testing.T) {
	for _, texts := range []int{1, 3, 40, 1000} {
		var h History
		var all []Result
		for i := range 300 {
			r := Result{At: time.Unix(1_700_000_000, int64(i)), Reason: Timeout, Phase: PhaseReceive, Took: time.Duration(i) * time.Microsecond}
			if n := rand.IntN(texts); n > 0 {
				r.Detail = fmt.Sprint("text ", n)
			}
			h.Add(r)
			all = append(all, r)
			if got, want := h.Results(), all[max(0, len(all)-HistoryLength):]; !slices.Equal(got, want) {
				t.Fatalf("%d texts, after %d results:\n%v, want\n%v", texts, i+1, got, want)
			}
		}
		if len(h.details) > min(HistoryLength, texts) {
			t.Errorf("%d texts are kept of %d", len(h.details), texts)
		}
	}
}
