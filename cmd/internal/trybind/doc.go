// Package trybind tests whether a port is free without listening on it: a check of the
// configuration must not take the port from a daemon that starts at the same moment.
package trybind
