// Package observe has the commands that show a running director and change nothing:
// status, watch, why, events, probe.
package observe
