package lvsdtest

import (
	"os"
	"path/filepath"
	"testing"
)

// RepositoryFile returns the absolute path of a file of this repository, named from
// its top.
func RepositoryFile(tb testing.TB, elem ...string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(append([]string{dir}, elem...)...)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("no go.mod in the working directory or above it")
		}
		dir = parent
	}
}

// ReadRepositoryFile returns the text of a file of this repository.
func ReadRepositoryFile(tb testing.TB, elem ...string) string {
	tb.Helper()
	text, err := os.ReadFile(RepositoryFile(tb, elem...))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
