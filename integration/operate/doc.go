// Package operate tests what an operator does with lvsd and meets while doing it:
// commands, reloads, events, the exchange between directors, imports from other
// tools, full disks, crashes, secrets and rights.
package operate
