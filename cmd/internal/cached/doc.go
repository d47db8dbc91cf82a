// Package cached has a value that many readers share for a while: however many they
// are, it is made once per period.
package cached
