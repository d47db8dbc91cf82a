// Another writer that fights back: which places it keeps changing, and when they
// may be repaired again. It reads no clock and writes nothing.
//
// PURE.

package ipvs

import "time"

// Fight is a place that somebody else changes again and again after our
// repairs. While it lasts, it is repaired once a resync interval.
type Fight struct {
	Entry Entry  // zero for a setting or the synchronisation
	What  string // the kind of drift, or the setting's name
	Since time.Time
	// Repairs is how often it was repaired since.
	Repairs int
}
