// Package trace records what one probe sends and receives, for `lvsd probe`. The
// engine's probes have no tracer: all methods of a nil *Tracer do nothing.
package trace
