// Package cli is the command line of lvsd, one file a command. Commands that need the
// daemon ask it over the control socket; the others work on files and this host.
package cli
