// Package lab builds hosts of network namespaces inside the kernel it runs in: LANs
// (bridges), hosts with an eth0 each, real servers, clients, and the faults of a
// test, one call each. The hosts run real programs; the lab depends on none of them.
//
//	client ──┐
//	lb1 ─────┤ bridge (a LAN)        each host: a namespace, a veth, its processes
//	rs1 ─────┘
//
// It configures the network by netlink and runs no program for it: in User-Mode
// Linux a fork costs 25 ms.
package lab
