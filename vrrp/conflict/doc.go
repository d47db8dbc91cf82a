// Package conflict keeps which of our addresses have another holder. It reads no clock:
// callers give the time and call Tick at the Deadline.
//
//	another host uses one ──► Saw ──────┐
//	another interface has it ──► SetLocal ──► a moment later: Holders ──► status, metric, event
//
// The moment is for holders on their way out: the former master, or another instance
// of this host that gives the address to this one.
package conflict
