// Package chaos runs a pair of directors under traffic with random faults, one or two at
// once, and checks after each that the invariants hold. A seed replays a run.
package chaos
