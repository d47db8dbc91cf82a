// Package vrrp implements the Virtual Router Redundancy Protocol, version 3
// (RFC 9568, and RFC 5798 on the wire) and version 2 (RFC 3768): it elects the one
// director of a LAN that holds a set of virtual addresses.
//
//	wire.Conn ──► rx (decode, verify, drop) ──► Engine.Run ◄── timer, Update, HandOver
//	    ▲                                        │     ▲ │
//	    │                                  input ▼     │ └──► Status, events, log
//	    └─────────── advert ◄─────────────── machine   │
//	                                      action │     │ report
//	                                             ▼     │
//	addresses, routes, GARP/NA ◄── link.Port ◄── interface worker
//
// [Open] checks the interface and opens the sockets, [Engine.Run] takes part in
// the election until its context ends, and [Engine.Status] returns the state. The
// machine decides and is a pure function of state, input and time; the event loop
// of Run performs its actions and never waits for the kernel or a script. Only a
// callback or a log handler that blocks can delay it, see [Options].
package vrrp
