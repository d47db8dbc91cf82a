// Package lvsdtest runs the built lvsd as a black box: on hosts made of network
// namespaces, on a kernel with a real IPVS, against real servers. Its tests see of
// lvsd what a user sees: files, commands, the HTTP port, the network and the
// kernel's own tools. The tests themselves are in the folders beside this one.
//
//	     client
//	       │
//	───────┴──┬─────────┬───────── LAN 10.77.0.0/24, VIP 10.77.0.100
//	          │         │      │
//	         lb1       lb2    rs1 …
//
// A Pair is that network, a Director one lvsd in it; a guide is a page of the
// documentation, whose files and commands run as they are written there.
package lvsdtest
