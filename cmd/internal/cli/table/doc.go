// Package table lays out text for terminals: tables that fit the width, long lines
// that wrap, and colours.
package table
