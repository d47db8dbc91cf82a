// Package timer provides one-shot timers with microsecond resolution.
//
// The Go runtime waits in whole milliseconds, but the skew of a VRRP backup may
// be 39 µs (RFC 9568 §6.1: priority 255, interval 10 ms). [New] therefore uses a
// timerfd, CLOCK_MONOTONIC.
package timer
