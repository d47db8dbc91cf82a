// Package ipvstest provides an IPVS kernel in memory for tests.
//
//	Reconciler ─► Kernel (table, daemons, settings) ─► the kernel's errors
//	                 ▲
//	                 └─ FailNth, LoseReply, Refuse, SetDown, Change
//
// Kernel checks operations in the order of net/netfilter/ipvs/ip_vs_ctl.c and
// returns its errors. The integration tests apply the same random operations to
// it and to a real kernel and compare the results.
package ipvstest
