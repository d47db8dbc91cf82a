// Package values parses the values inside strings: addresses, prefixes, netmasks,
// durations, names and paths. Functions return a value, or a problem that says what
// to write instead and completes a sentence about the key. Names are not looked up.
package values
