// Package chaos runs a pair of directors under traffic with random faults, one or two at
// once, and compares what must hold with what is, after each. A seed replays a run.
package chaos
