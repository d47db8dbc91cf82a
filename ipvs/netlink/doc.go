// Package netlink reads and writes the IPVS of the kernel by generic netlink.
//
//	ipvs.Op ─► codec ─► client ─► one socket ─► ip_vs
//	                      │
//	                      └─ services by address ─► moby/ipvs ─► ip_vs
//	ipvs.Reading ◄─ codec ◄─ dump of services, then of each service's destinations
//
// Open returns the ipvs.Kernel of the network namespace of the process. The
// reconciler of package ipvs is the only writer.
package netlink
