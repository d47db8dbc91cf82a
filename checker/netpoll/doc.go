// Package netpoll has the sockets of probes: connections with one deadline, and a
// loop that makes thousands of short probes in one goroutine.
//
//	Start(probe) ─► Poller.Connect ─► epoll ─► Process(events)
//	                    │                          │ connected
//	   SYN probes ─► send batch (sendmmsg)         ▼
//	                    │                     coroutine runs Session(Stream)
//	                    └── raw socket (recvmmsg)  │ would block: yields
//	                              └──────► Finished ◄┘
//
// The loop reads the clock once per wake-up, and no probe in it has a goroutine or a
// timer of its own. A socket is used again after its connection was dissolved
// (connect(2) with AF_UNSPEC), so that a connect probe costs two system calls.
// docs/decisions/0009-the-probes-loop.md has the reasons and the figures.
//
// The loop does not decide when a probe is due or what its outcome means.
package netpoll
