// Package link manages one network interface for a VRRP instance: its state, the
// virtual addresses, routes and rules on it, its virtual MAC address, and the
// gratuitous ARP and neighbour advertisements for the addresses.
//
//	interface worker ──► Port ──┬── SetAddresses, SetRoutes ──► netlink, sysctl
//	                            ├── Announce ──► packet socket
//	                            └── State ◄── addrCache ◄── rtnetlink notifications
//
// The package carries out requests and decides nothing. Close removes the virtual MAC
// interface and restores sysctls; addresses stay until SetAddresses removes them, and
// the run after a crash recognises what was left.
package link
