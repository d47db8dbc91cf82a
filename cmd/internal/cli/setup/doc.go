// Package setup has the commands that work on the file and on this host, without a daemon:
// check, host, realserver, convert, alerts, schema.
package setup
