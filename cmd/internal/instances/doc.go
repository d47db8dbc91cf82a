// Package instances starts, updates and ends one VRRP engine for each configured
// instance, and keeps the levels that the director sets for them: what an instance
// waits for before it preempts a live master, standby after a handover, and the
// priority changed by tracked services.
//
//	configuration ──► Prepare ──► commit ──► Start ──► engine.Run   (a goroutine each)
//	decision      ──► ApplyTracking ────┐
//	readiness     ──► SetWaits ─────────┼──► engine.Update, engine.SetTracked
//	handover      ──► SetStandby ───────┘
//
// The director's loop alone changes a Set. An engine runs in a goroutine of its own
// and waits for nothing here.
package instances
