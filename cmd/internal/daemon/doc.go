// Package daemon builds the parts of lvsd, runs them and ends them.
//
//	configfile ─▶ New ──▶ director ─▶ ipvs.Reconciler ─▶ kernel
//	                         ▲  ▲
//	          checker.Engine ┘  └ vrrpproc (child process)
//
// The package also has what belongs to none of the parts: signals, systemd's
// notifications and watchdog, the last good configuration, auto_reload, the record
// of the addresses that a crash would leave behind, and the bounds on memory.
package daemon
