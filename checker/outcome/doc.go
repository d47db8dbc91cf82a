// Package outcome describes how a probe ended: one typed reason, the phase in which
// it ended, and a detail for people. It also maps errors of the kernel and
// of the TLS library to reasons, and parses what an agent reports about weight and
// maintenance.
//
//	error ──► FromError ──► Outcome ──► Result ──► Totals, History
package outcome
