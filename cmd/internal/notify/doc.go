// Package notify sends events to programs, to a webhook, and by mail.
//
//	event.Follower ─▶ queue of a target ─▶ its task ─▶ program, webhook or mail server
//	               └▶ groups: states of the sync groups
//
// Programs get each event as JSON on standard input; those of a state (notify_master …)
// get arguments as keepalived appends them, those of a service (quorum_up …) none. Each target gets its events in order, one
// message at a time. What finds no room in a queue, or fails for too long, is dropped,
// counted and logged once.
package notify
