// Package connhandover keeps young connections alive while VIPs move from one director
// to another. The kernel synchronises a connection only after some packets and in
// batches, so that the successor does not know the connections of the last moments. A
// packet of such a connection would be answered with a reset by the successor's own
// TCP. The director that leaves sends them, and the one that takes over suppresses the
// reset meanwhile.
//
//	leaving director           time        taking over
//	────────────────           ────        ───────────
//	                            │          RST guard on: it is a backup
//	SendBefore: all             │ ──────►  connections known
//	resigns (priority 0)        │ ──────►  master, gratuitous ARP
//	new connections still       │
//	arrive here; each 50 ms:    │
//	send what is new            │ ──────►  connections known
//	addresses removed           │          first packets of clients: forwarded, or
//	                            │          dropped without a reset and sent again
//	                            │ 3 s      RST guard off
//
// A peer that died sends nothing: then there is no guard, and clients are reset at
// once and reconnect.
//
// The guard is a set of routing rules that blackhole what this host itself sends from
// the service's address and port. What IPVS forwards is not affected. Routing rules
// and not a packet filter: every kernel that balances has them, and no filter of the
// operator is changed.
package connhandover
