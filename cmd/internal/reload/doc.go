// Package reload has the two phases of a reload: every participant validates the next
// configuration, and all of them commit or all abort.
//
//	next ──► prepare ──► accepted ─┐
//	     ──► prepare ──► accepted ─┼─ all ──► commit, commit, commit
//	     ──► prepare ──► refused  ─┘ one ───► abort, abort; the error joins all reasons
package reload
