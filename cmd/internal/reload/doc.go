// Package reload has the two phases of a reload: every participant validates the next
// configuration, and all of them commit or all abort.
//
//	next ──► read   the files that it names, before the loop
//	     ──► prepare ──► accepted ─┐
//	     ──► prepare ──► accepted ─┼─ all ──► commit, commit, commit
//	     ──► prepare ──► refused  ─┘ one ───► abort, abort; the error joins all reasons
package reload
