// Package director is the one loop that decides. It reads levels (the health that the
// checker found, the kernel's table, the state of the VRRP instances), asks package
// decision for the weights that follow, and hands the desired table to the IPVS
// reconciler. It starts and ends the VRRP instances as the configuration says.
//
//	config.Config ──┐      ┌─────────────────────┐  desired table  ┌─────────────────┐
//	checker.Health ─┼─wake►│ decision.Decide     ├────────────────►│ ipvs reconciler │
//	kernel's table ─┤      │  + readiness        │  levels         └─────────────────┘
//	VRRP status ────┘      │  + standby          ├────────────────► instances.Set
//	commands ─inLoop──────►└─────────────────────┘  events, views ► log, status, metrics
//
// No VRRP instance waits for the loop, and the loop waits neither for the network, nor
// for the kernel, nor for a disk. It never writes the kernel itself.
package director
