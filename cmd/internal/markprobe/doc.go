// Package markprobe sends probes through the kernel's own forwarding: to a service's
// address, on one chosen real server. The probe's socket has a firewall mark, and an
// IPVS service of that mark has this one real server as its only destination.
//
//	probe ──► socket with mark m, to 10.0.0.88:80
//	             │ output hook
//	             ▼
//	          IPVS service "mark m" ──► real server 10.0.0.9   (dr or tun)
//	             answer from 10.0.0.88 ◄──┘
//
// A Set finds a route and a mark for each path, and hands the services to the
// decision: they are part of the desired table, and hidden from status. Writes
// remembers when such a service was written, so that [Writes.Fault] distinguishes a broken
// path, which is a fault of this host, from a server that does not answer.
package markprobe
