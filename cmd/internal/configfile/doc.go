// Package configfile finds and loads the configuration for the daemon and for the
// commands: the file of -c, and in it the director of --director or, by default, of
// the host name.
package configfile
