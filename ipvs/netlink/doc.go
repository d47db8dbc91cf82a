// Package netlink reads and writes the IPVS of the kernel by generic netlink.
//
//	ipvs.Op ──► codec ─► conn ─────────────────────────► ip_vs
//	       └──► moby/ipvs (services by address) ────────► ip_vs
//	ipvs.Reading ◄─ codec ◄─ dump of the services, then of the destinations of each
//
// Open returns the ipvs.Kernel of the process's network namespace.
//
// moby/ipvs adds, edits and deletes services by address, and sets the timeouts. The rest
// is our own codec. The library has no sync daemons, zeroing, 64-bit counters, persistent
// connections or tunnel attributes; it does not read a service's persistence engine and
// does not send a destination's address family. Its edits reset a tunnel to ipip, and it
// allocates 64 KiB for each request.
//
// The transport is our own, too. Against mdlayher/genetlink v1.4.0, a request allocates
// 0.3 KB in 5 pieces instead of 6 KB in 43, and 20 dumps of a small table 3 KB instead of
// 180 KB: it passes each message to the codec in the read buffer, where genetlink copies
// a dump into memory before it returns it. Times differ by less than their noise.
package netlink
