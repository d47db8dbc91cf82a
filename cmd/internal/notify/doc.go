// Package notify sends events to programs, as JSON on standard input, and to a
// webhook, by POST.
//
//	event.Follower ─▶ queue of a target ─▶ its task ─▶ program or webhook
//
// Each target gets its events in order, one at a time. What finds no room in a queue,
// or fails for too long, is dropped, counted and logged once.
package notify
