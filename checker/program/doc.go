// Package program runs external programs: of checks, of tracked scripts, of
// notifications. There is no shell in between. A program is a process group of its
// own, which ends as a whole with it or at its deadline. It has no ambient
// capabilities and no real-time policy, and a bounded part of its output is kept.
//
//	Program.Run(ctx) ──► process group ──► exit, signal or deadline ──► Ending
package program
