// This file holds what a mistake looks like: a place, a path and a message
// that names the remedy. It never decides what is a mistake.

package reader

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lvsd/config/tomlpos"
)

// Error is one mistake, or one warning.
type Error struct {
	File string
	tomlpos.Position
	Path    string // such as virtual_service[0].real_servers[1].weight; "" = the file as a whole
	Message string
}

// Error gives "file:line:col: path: message", or without the path when it
// concerns the file as a whole.
func (e Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Col, e.Path, e.Message)
}

// Errors is every mistake of a file, sorted by position. Parse returns it as
// its error; errors.As finds it.
type Errors []Error

// Error gives one line a mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sortErrors puts mistakes into the order of the file, each of them once: what is
// wrong for two directors is one mistake.
func sortErrors(e []Error) []Error {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(e)
}
