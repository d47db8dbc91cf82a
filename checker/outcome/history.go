package outcome

import (
	"math"
	"slices"
	"time"
)

// HistoryLength is how many results of a probe are kept.
const HistoryLength = 32

// History is a ring of the latest results, in a third of a Result's size, as there may
// be ten thousand of them.
type History struct {
	ring  [HistoryLength]record
	count uint64 // of all results so far
}

type record struct {
	at            int64  // Unix time, ns
	took          uint32 // µs, at most 71 minutes
	reason, phase uint8
	detail        string
}

// phaseNames are the phases; a record stores the index.
var phaseNames = [...]string{"", PhaseConnect, PhaseTLS, PhaseSend, PhaseReceive, PhaseName, PhaseRun}

// Add appends a result and drops the oldest beyond HistoryLength.
func (h *History) Add(r Result) {
	h.ring[h.count%HistoryLength] = record{
		at: r.At.UnixNano(), took: uint32(min(r.Took.Microseconds(), math.MaxUint32)),
		reason: r.Reason.Code(), phase: uint8(max(slices.Index(phaseNames[:], r.Phase), 0)), detail: r.Detail,
	}
	h.count++
}

// Results returns the results, oldest first.
func (h *History) Results() []Result {
	n := min(h.count, HistoryLength)
	all := make([]Result, 0, n)
	for i := h.count - n; i < h.count; i++ {
		r := h.ring[i%HistoryLength]
		all = append(all, Result{At: time.Unix(0, r.at), Reason: reasons[r.reason], Phase: phaseNames[r.phase],
			Detail: r.detail, Took: time.Duration(r.took) * time.Microsecond})
	}
	return all
}
