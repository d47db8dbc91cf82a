package configfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWrite: the file keeps its mode and stays a link, and one that was changed meanwhile
// is left alone.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	file, link := filepath.Join(folder, "lvsd.toml"), filepath.Join(folder, "link.toml")
	if err := os.WriteFile(file, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	c := Change{link, "before", "after"}
	if err := c.Write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if info, _ := os.Lstat(link); err != nil || string(text) != "after" || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v: %s, %v", err, text, info)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if err := c.Write(); !errors.Is(err, ErrChanged) {
		t.Errorf("written again: %v", err)
	}
	if err := c.Undo(); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "before" {
		t.Errorf("undone: %s", text)
	}
	if all, _ := os.ReadDir(folder); len(all) != 2 {
		t.Errorf("left behind: %v", all)
	}
}

// TestWriteKeepsAccess: an access control list by which the daemon reads the file survives.
func TestWriteKeepsAccess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lvsd.toml")
	if err := os.WriteFile(file, []byte("before"), 0o640); err != nil {
		t.Fatal(err)
	}
	// linux/posix_acl_xattr.h: the version, then tag, rights and number of user, a named user,
	// group, mask and others.
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{0x01, 6, ^uint32(0)}, {0x02, 4, 4711}, {0x04, 0, ^uint32(0)}, {0x10, 4, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint16(list, uint16(e[0]))
		list = binary.LittleEndian.AppendUint16(list, uint16(e[1]))
		list = binary.LittleEndian.AppendUint32(list, e[2])
	}
	const name = "system.posix_acl_access"
	if err := unix.Setxattr(file, name, list, 0); err != nil {
		t.Fatal(err)
	}
	if err := (Change{file, "before", "after"}).Write(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1000)
	if n, err := unix.Getxattr(file, name, got); err != nil || !bytes.Equal(got[:max(n, 0)], list) {
		t.Errorf("%v: %x, want %x", err, got[:max(n, 0)], list)
	}
}

// TestLock: one edit at a time, by whatever name the file is called.
func TestLock(t *testing.T) {
	folder := t.TempDir()
	file, link := filepath.Join(folder, "lvsd.toml"), filepath.Join(t.TempDir(), "link.toml")
	if err := errors.Join(os.WriteFile(file, nil, 0o640), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	unlock, err := (&Source{Path: link}).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Source{Path: file}).Lock(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("locked twice: %v", err)
	}
	locked := make(chan error)
	go func() {
		again, err := (&Source{Path: file}).Lock(t.Context())
		if err == nil {
			again()
		}
		locked <- err
	}()
	unlock()
	if err := <-locked; err != nil {
		t.Error(err)
	}
	if _, err := (&Source{Path: filepath.Join(folder, "none.toml")}).Lock(t.Context()); err == nil || !strings.Contains(err.Error(), "-c") {
		t.Errorf("a file that is missing: %v", err)
	}
}
