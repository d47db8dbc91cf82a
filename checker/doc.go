// Package checker probes real servers and decides which are up.
//
// An Engine is given targets (a real server of a service and its checks). It starts
// each probe when it is due, counts results by rise and fall, and publishes the
// health of every target. It decides no weight and writes nothing to the kernel.
//
//	Set ──► targets, checks ──► schedule ──► probes due
//	                                            │
//	            netpoll.Loop (one goroutine) ◄──┴──► one goroutine per probe
//	             connect, syn, tcp, http             TLS, udp, dns, exec, …
//	                          └───────┬────────────────────┘
//	                                  ▼
//	         outcome.Result ──► rise/fall ──► Health, Change, Wake
//
// Checks that differ in nothing but Rise and Fall share one probe. A result that
// says nothing about the server (outcome.Local, outcome.DNS) changes no health.
//
// Package probe has the protocols, package netpoll the sockets and the loop.
package checker
