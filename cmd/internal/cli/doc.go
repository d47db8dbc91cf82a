// Package cli is the command line of lvsd. The groups of `lvsd --help` are its folders,
// with one file a command; the commands of the daemon itself are here.
//
//	command/            flags, exit codes and printing, which all share
//	observe/ status/    status, watch, why, events, probe / the page that the first two draw
//	operate/            plan, reload, drain, undrain, weight, drained, handover, zero
//	setup/              check, host, realserver, convert, alerts, schema
//	table/              tables that fit a terminal
//
// Commands that need the daemon call it over the control socket.
package cli
