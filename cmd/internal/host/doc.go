// Package host inspects and prepares the machine that a configuration runs on: its
// interfaces, its kernel modules and sysctls, the rights of this process.
//
//	check --host ─┐              ┌─ modules.go   built in, loaded, loadable, blocked, absent
//	              ├─► Findings ──┤
//	              │              ├─ routing.go   BIRD or FRR, for announcements
//	host check ───┘              └─ sysctls, interfaces, rights
//	host prepare ───► Prepare: applies what Findings reports, as far as it can
//
// Check and Findings change nothing, except that a missing ip_vs module is loaded,
// as a start of the daemon would do.
package host
