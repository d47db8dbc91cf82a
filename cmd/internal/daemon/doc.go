// Package daemon builds, runs and stops the parts of lvsd.
//
//	configfile ─▶ New ──▶ director ─▶ ipvs.Reconciler ─▶ kernel
//	                         ▲  ▲
//	          checker.Engine ┘  └ vrrpproc (child process)
//
// Also here: SIGHUP (SIGTERM and SIGINT end the context, see package cli), systemd's
// notifications and watchdog, the last good configuration, auto_reload, the record
// of the addresses that a crash would leave behind, and the bounds on memory.
package daemon
