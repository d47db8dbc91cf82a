// Package event has the history of state changes with their causes.
//
//	Record ─▶ ring in memory ─▶ Follower ─▶ Journal ─▶ state_dir/events-*.jsonl
//	                               └─────▶ notifications, /api/v1/events?follow=1
//
// Recording never blocks and never fails: the memory is bounded, and the oldest
// events are dropped first. No decision reads events.
package event
