// Destinations that left the wanted table with connections: which are kept at
// weight 0, and until when. It reads no clock and writes nothing.
//
// PURE.

package ipvs

import "time"

// Draining is a destination that left the wanted table and still has
// connections, or may have.
type Draining struct {
	Entry
	Since, Deadline time.Time
	// Left are its connections when the kernel was last read: active, inactive
	// and persistent ones together. Counted is false until that was after its
	// weight went to 0.
	Left    int
	Counted bool
}
