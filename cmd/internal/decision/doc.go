// Package decision computes the weights: a pure function from what is known
// (configuration, health, the kernel's table, the decision before) to the desired table of
// IPVS, with a reason for every weight.
//
//	health ─► guard ─► flap damping ─► panic mode ─► effective health ─┐
//	configured weight, drain ──────────────────────────────────────────┤
//	agent ─────────────────────────────────────────────────────────────┼─► lowest ─► weight
//	slow start ────────────────────────────────────────────────────────┤   cause
//	fallback, when the available weight is below the quorum ───────────┘
//
// A Decision also has when time alone changes it (Next), which services have lost their
// quorum (for tracking by VRRP instances), and what a director waits for before it
// preempts a live master. [Decision.Save] and [Restore] carry it over a restart. The
// package uses no clock, file, goroutine or log.
package decision
