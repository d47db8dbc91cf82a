// Errors and warnings: a position, the path of the key, and a message that names the
// remedy.

package reader

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lvsd/config/tomlpos"
)

// Error is one error or warning of a file.
type Error struct {
	File string
	tomlpos.Position
	Path    string // such as virtual_service[0].real_servers[1].weight; "" = the file as a whole
	Message string
}

// Error returns "file:line:col: path: message", or without the path when it
// concerns the file as a whole.
func (e Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", e.File, e.Line, e.Col, e.Path, e.Message)
}

// Errors is every error of a file, sorted by position. Parse returns it as
// its error; errors.As finds it.
type Errors []Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// sortErrors sorts errors by position and removes duplicates: an error for two
// directors is reported once.
func sortErrors(e []Error) []Error {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(e)
}
