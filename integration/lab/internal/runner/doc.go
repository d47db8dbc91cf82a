// Package runner carries one command into a kernel of its own and its streams,
// signals and exit status out again. The programs uml and qemu share it: each
// knows how its kernel is started, and what the guest must do first.
//
//	uml or qemu ── Session ──┐                        ┌── Guest (process 1)
//	  stdin, signals         │ frames over one line   │     mounts, modules
//	  stdout, stderr, status └────────────────────────┘     └── COMMAND
//
// A kernel is started inside a process namespace (Cell), so that nothing of it is
// left, whoever dies first.
package runner
