// Package logging writes log lines without blocking the caller: neither a VRRP
// instance nor the director's loop may be late because a terminal or a journal does
// not read.
//
//	slog ─▶ queue of 4096 lines ─▶ one goroutine ─▶ stderr
//	           └ full: dropped and counted
package logging
