// Package ipvs keeps the kernel's IP virtual server table in a desired state.
//
//	Desired ─► Reconciler ─► drains.plan ─► Diff ─► applyBatch ─► Kernel ─► ip_vs
//	              ▲   │                      ▲          │
//	       Wake,  │   └─► Snapshot           └─ known ◄─┘ writes
//	       timers ┘                             table ◄── Read (each resync interval)
//
// Diff returns the writes that lead from one table to another. Kernel is the
// interface to IPVS: package netlink implements it, package ipvstest in memory. The
// Reconciler is the only writer. It compares the desired state with the kernel after
// each change and in each resync interval, repairs what other processes changed, and
// publishes a Snapshot after each pass.
//
// It owns three parts of the kernel's state: the table, the destinations that drain,
// and the two sync daemons. A ledger of what was written survives restarts, so that
// services of other processes are never changed or deleted.
package ipvs
