// Package announce keeps the routes by which a routing daemon announces this director's
// addresses: it brings the kernel's routing tables to a desired state, and repairs what
// other processes change there.
//
//	director ─ Desired ─▶ Manager ─▶ table local: the addresses, always
//	                        ▲   └──▶ a table of its own: the announcements ─▶ BIRD or FRR ─▶ routers
//	                        └─ notifications of the kernel, and a comparison every few seconds
//
// Routes are marked with a protocol number, and only marked ones are ever removed: a
// crashed run's are found by it, without a record on disk.
package announce
