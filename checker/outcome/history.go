package outcome

import (
	"math"
	"slices"
	"time"
)

// HistoryLength is how many results of a probe are kept.
const HistoryLength = 32

// History is a ring of the latest results, in a sixth of their size, as there may be ten
// thousand of them. It grows with the results.
type History struct {
	ring  []record
	count uint64 // of all results so far
	// details are the texts of the records in the ring: mostly one or two. One that no
	// record has any more is replaced.
	details []string
}

type record struct {
	at                    int64  // Unix time, ns
	took                  uint32 // µs, at most 71 minutes
	reason, phase, detail uint8  // detail is an index of details
}

// phaseNames are the phases; a record stores the index.
var phaseNames = [...]string{"", PhaseConnect, PhaseTLS, PhaseSend, PhaseReceive, PhaseName, PhaseRun}

// Add appends a result and drops the oldest beyond HistoryLength.
func (h *History) Add(r Result) {
	next := record{
		at: r.At.UnixNano(), took: uint32(min(r.Took.Microseconds(), math.MaxUint32)),
		reason: r.Reason.Code(), phase: uint8(max(slices.Index(phaseNames[:], r.Phase), 0)),
	}
	if len(h.ring) < HistoryLength {
		next.detail = h.detail(r.Detail)
		h.ring = append(h.ring, next)
	} else {
		oldest := &h.ring[h.count%HistoryLength]
		*oldest = record{} // its text may be replaced
		next.detail = h.detail(r.Detail)
		*oldest = next
	}
	h.count++
}

// detail returns the index of a text plus one; 0 is the empty one. At most HistoryLength
// texts are kept.
func (h *History) detail(text string) uint8 {
	if text == "" {
		return 0
	}
	i := slices.Index(h.details, text)
	if i < 0 {
		i = slices.IndexFunc(h.details, func(old string) bool {
			return !slices.ContainsFunc(h.ring, func(r record) bool { return h.text(r) == old })
		})
		if i < 0 {
			h.details, i = append(h.details, ""), len(h.details)
		}
		h.details[i] = text
	}
	return uint8(i + 1)
}

func (h *History) text(r record) string {
	if r.detail == 0 {
		return ""
	}
	return h.details[r.detail-1]
}

// Results returns the results, oldest first.
func (h *History) Results() []Result {
	n := min(h.count, HistoryLength)
	all := make([]Result, 0, n)
	for i := h.count - n; i < h.count; i++ {
		r := h.ring[i%HistoryLength]
		all = append(all, Result{At: time.Unix(0, r.at), Reason: reasons[r.reason], Phase: phaseNames[r.phase],
			Detail: h.text(r), Took: time.Duration(r.took) * time.Microsecond})
	}
	return all
}
