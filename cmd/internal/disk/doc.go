// Package disk keeps loops from waiting for a disk. Reads have a deadline and a bound
// of their size; writes have a goroutine of their own, in which the newest value wins.
//
//	Save(1) ─┐
//	Save(2) ─┼► newest ──► Write(3) ──► one result for all three
//	Save(3) ─┘
package disk
