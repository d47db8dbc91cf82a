package configfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnlyRegularFilesAreRead: a path that is not a file, or never ends, is refused at
// once.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	folder := t.TempDir()
	fifo, large := filepath.Join(folder, "fifo"), filepath.Join(folder, "large")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(sizeLimit + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for path, want := range map[string]string{fifo: "not a regular file", "/dev/zero": "not a regular file", folder: "not a regular file", large: "MiB"} {
		for _, read := range []func() error{
			func() error { _, err := Read(path); return err },
			func() error { _, err := (&Source{Path: path}).Text(); return err },
		} {
			if err := read(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if s := (&Source{Path: fifo}); s.StateDir() == "" {
		t.Error("no default for state_dir")
	}
}
