// Package probe makes one probe of one server: what is to be probed is a Check, and
// each protocol is one file.
//
//	Check ──► NewProber ──► Prober.Probe(ctx, deadline) ──► outcome.Outcome
//	                           │
//	                           └─ LoopProber: the same probe for netpoll.Loop
//
//	connect, syn, tcp   tcp.go      dns    dns.go     smtp   smtp.go
//	http, https         http.go     udp    udp.go     exec   exec.go
//	grpc                grpc.go     ping   ping.go    agent  agent.go
//
// A probe ends at its deadline at the latest, in exactly one outcome. It reads a
// bounded number of bytes. Once runs a check with a trace, for people.
package probe
