// Package vrrpproc runs the VRRP instances in a process of their own, so that nothing
// else in the daemon delays an advertisement: not its garbage collector, not ten thousand
// probes, not a reload. The process is this same program, under a real-time policy where
// it has the right to one.
//
//	daemon                                      child process (SCHED_RR)
//	──────                                      ────────────────────────
//	Instance.Update ─► orders ─► stdin  ──────► child.handle► vrrp.Engine
//	Instance.Status ◄─ reports◄─ stdout ◄────── report queue ◄─ events, status
//	                                            (telemetry may be dropped, replies never)
//	supervisor: starts the process again
//	after it ended, and reopens every
//	instance that is detached
//
// One supervisor owns the life of the instances: it is the only one that reopens them
// after the process ended, so that no instance is opened twice; and an instance that was
// closed or stopped meanwhile is not reopened. Addresses stay on their interfaces while
// there is no process, and an instance adopts the addresses that it finds.
package vrrpproc
