// Package command has what the commands of lvsd share: the global flags, the exit codes,
// how errors of the work differ from those of the command line, and where and how a
// command prints.
package command
