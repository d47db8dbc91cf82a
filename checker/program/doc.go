// Package program runs the external programs of checks, tracked scripts and
// notifications, without a shell. A program is a process group of its
// own, which ends as a whole with it or at its deadline. It has no ambient
// capabilities and no real-time policy, and a bounded part of its output is kept.
//
//	Program.Run(ctx) ──► process group ──► exit, signal or deadline ──► Ending
package program
