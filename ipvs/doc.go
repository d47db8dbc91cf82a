// Package ipvs keeps the kernel's IP virtual server table at a wanted one.
//
// Diff (pure) says which writes lead from one table to another, Kernel is the
// edge to IPVS with its fake beside it, and Reconciler is the one writer: it
// takes wishes, writes the difference, compares in full again and again, and
// repairs and names what others changed. The package never decides what is
// wanted, and never touches a service that was not wished for.
package ipvs
