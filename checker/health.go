// What the engine tells: snapshots of verdicts and of the results behind them.
// A snapshot is never changed after it was handed out.

package checker

import (
	"net/netip"
	"time"
)

// Health is the state of one target: down when any of its checks is down, else
// unknown when any is unknown, else up.
type Health struct {
	Verdict Verdict
	Since   time.Time // when Verdict last changed, or the target was set
	// Reason and Detail explain Verdict: of the first check that is down, its
	// latest failure; else of the first check. Reason is "" while Unknown
	// without any result.
	Reason Reason
	Detail string
	// Cause is what made Verdict what it is: "http refused, 3 of 3".
	Cause string
	// InARow results in a row speak against the verdict of that check, and
	// Needed of them change it. InARow is 0 while nothing is changing.
	InARow, Needed int
	Checks         []CheckHealth
}

// CheckHealth is the state of one check of a target. Last, Totals and History
// belong to the probe, which other targets may share.
type CheckHealth struct {
	Type           string
	Address        netip.AddrPort
	Verdict        Verdict
	Last           Result
	Cause          string
	InARow, Needed int
	Totals         Totals
	History        []Result // up to 32, oldest first; only Explain fills it
}

// Change is a change of one target's verdict.
type Change struct {
	ID       ID
	From, To Verdict
	At       time.Time
	Cause    string // "http refused, 3 of 3"
}
