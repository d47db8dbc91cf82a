// Package connsync sends and receives the messages of the connection
// synchronisation of IPVS beside the kernel's own daemons.
//
//	/proc/net/ip_vs_conn_sync ─► Sender ──┐
//	kernel's sync master ─────────────────┴─► multicast group ─┬─► peer's sync backup
//	                                                           └─► peer's Receiver (samples)
//
// The kernel's daemons are started and stopped by the reconciler of package ipvs.
// The Sender announces connections that the kernel has not announced yet, before
// the virtual addresses move to the peer. The Receiver reads samples of the peer's
// messages and reports messages that the kernel ignores: of another identifier, or
// to another group, port or interface.
package connsync
