// Package probe makes one probe of one server: what is to be probed is a Check, and
// each protocol is one file, named after it; connect and syn are in tcp.go, https in
// http.go, grpc in http2.go, file in exec.go.
//
//	Check ──► NewProber ──► Prober.Probe(ctx, deadline) ──► outcome.Outcome
//	                           │
//	                           └─ LoopProber: the same probe for netpoll.Loop
//
// A probe ends at its deadline at the latest, in exactly one outcome. It reads a
// bounded number of bytes. Once runs a check with a trace, for people.
package probe
