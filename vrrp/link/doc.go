// Package link manages one network interface for a VRRP instance: its state, the
// virtual addresses, routes and rules on it, its virtual MAC address, and the
// gratuitous ARP and neighbour advertisements for the addresses.
//
//	interface worker ──► Port ──┬── SetAddresses, SetRoutes ──► netlink, sysctl
//	                            ├── Announce ──► packet socket
//	                            └── State ◄── addrCache ◄── rtnetlink notifications
//
// The package carries out requests and decides nothing. Everything it changes on a
// host is removed or restored by Close, or recognised by the run after a crash.
package link
