package fusedisk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDisk: files are written, read, replaced and listed as on another disk; while it
// hangs a program waits for it, and its errors are the program's.
func TestDisk(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "disk")
	d := New(t, folder)
	name := filepath.Join(folder, "sub", "name")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(want string) {
		t.Helper()
		if text, err := os.ReadFile(name); err != nil || string(text) != want {
			t.Errorf("read %q, %v, want %q", text, err, want)
		}
	}
	must(os.Mkdir(filepath.Dir(name), 0o700))
	must(os.WriteFile(name, []byte("a long text"), 0o600))
	must(os.WriteFile(name, []byte("one"), 0o600))
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	must(err)
	must(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	_, err = f.WriteString(", two")
	must(err)
	must(f.Sync())
	must(f.Close())
	read("one, two")
	must(os.WriteFile(name+".new", []byte("three"), 0o600))
	must(os.Rename(name+".new", name))
	must(os.Chmod(name, 0o640))
	read("three")
	entries, err := os.ReadDir(filepath.Dir(name))
	must(err)
	if !slices.EqualFunc(entries, []string{"name"}, func(e os.DirEntry, name string) bool { return e.Name() == name }) {
		t.Errorf("entries: %v", entries)
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o640 || info.Size() != 5 {
		t.Errorf("%v, %v", info, err)
	}

	d.Hang()
	result := make(chan error)
	go func() {
		_, err := os.ReadFile(name)
		result <- err
	}()
	select {
	case err := <-result:
		t.Errorf("the disk replied while it hung: %v", err)
	case <-time.After(50 * time.Millisecond): // it can only pass too easily
	}
	d.Resume()
	must(<-result)

	d.Fail(unix.EIO)
	if _, err := os.ReadFile(name); !errors.Is(err, unix.EIO) {
		t.Errorf("a failing disk: %v", err)
	}
	d.Fail(unix.EROFS)
	if err := os.WriteFile(name, nil, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("a read-only disk: %v", err)
	}
	read("three")
	d.Fail(0)
	must(os.WriteFile(name, []byte("four"), 0))
	read("four")
	d.Hang()
	must(d.unmount())
	if _, err := os.ReadFile(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
}
