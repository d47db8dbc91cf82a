// Package table lays out text for terminals: tables that fit the width, long lines
// that wrap, and colours. Lists that are not fitted to a width, such as the probes of
// `lvsd why`, are written by text/tabwriter.
package table
