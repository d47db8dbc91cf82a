// This file replaces the text of the configuration file.

package configfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/config/include"
)

// Change is a file of the configuration with another text.
type Change struct {
	Path          string
	Before, After string
}

const byteOrderMark = "\ufeff"

// Changes returns the files that differ between two texts of the configuration. The error
// says that they are not of the same files.
func (s *Source) Changes(before, after string) ([]Change, error) {
	was, is := include.Split(before), include.Split(after)
	if len(was) != len(is) {
		return nil, errors.New("the texts are not of the same files")
	}
	var all []Change
	for i := range was {
		if was[i].Name != is[i].Name {
			return nil, errors.New("the texts are not of the same files")
		}
		if was[i].Text == is[i].Text {
			continue
		}
		c := Change{include.Path(s.Path, was[i].Name), was[i].Text, is[i].Text}
		if len(was) > 1 {
			text, err := Read(c.Path)
			if err != nil {
				return nil, err
			}
			// In the joined text it may have lost its byte order mark and got an end of its
			// last line.
			bom, end := "", "\n"
			if strings.HasPrefix(string(text), byteOrderMark) {
				bom = byteOrderMark
			}
			if !strings.HasSuffix(string(text), "\n") {
				end = ""
			}
			own := func(part string) string {
				return bom + strings.TrimSuffix(strings.TrimPrefix(part, byteOrderMark), "\n") + end
			}
			if own(c.Before) != string(text) {
				return nil, fmt.Errorf("%s: %w", c.Path, ErrChanged)
			}
			c.Before, c.After = own(c.Before), own(c.After)
		}
		all = append(all, c)
	}
	return all, nil
}

// Write replaces the text of the file, at once and for good: whoever reads it finds the
// one or the other, also after a crash. Its owner, mode and access control list stay, and a
// link to it stays a link. A file that no longer has the text before is refused.
func (c Change) Write() error { return replace(c.Path, c.Before, c.After) }

// Undo writes the text before.
func (c Change) Undo() error { return replace(c.Path, c.After, c.Before) }

// WriteAll writes all changes, or none.
func WriteAll(changes []Change) error {
	for i, c := range changes {
		if err := c.Write(); err != nil {
			return errors.Join(err, UndoAll(changes[:i]))
		}
	}
	return nil
}

// UndoAll writes the texts before.
func UndoAll(changes []Change) error {
	var failed error
	for _, c := range changes {
		failed = errors.Join(failed, c.Undo())
	}
	return failed
}

// ErrChanged: the file is not what it was when it was read.
var ErrChanged = errors.New("the file was modified in the meantime")

func replace(path, before, after string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("failed to write %s: %w", path, err)
		}
	}()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(real), "."+filepath.Base(real)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(after)
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
		err = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	err = errors.Join(err, f.Chmod(info.Mode().Perm()))
	if err == nil {
		err = copyAttributes(real, f)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	now, err := Read(real)
	if err != nil {
		return err
	}
	if string(now) != before {
		return ErrChanged
	}
	switch err := os.Rename(f.Name(), real); {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: it is mounted by itself and cannot be replaced; mount its folder instead", err)
	case err != nil:
		return err
	}
	folder, err := os.Open(filepath.Dir(real))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// copyAttributes copies the extended attributes of a file, which hold its access control
// list and its label of SELinux. A label that this process may not set is left to the system.
func copyAttributes(path string, to *os.File) error {
	names := make([]byte, 64<<10) // XATTR_LIST_MAX of linux/limits.h
	n, err := unix.Listxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return err
	}
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		n, err := unix.Getxattr(path, name, value)
		if err == nil {
			err = unix.Fsetxattr(int(to.Fd()), name, value[:n], 0)
		}
		if err != nil && !strings.HasPrefix(name, "security.") {
			return fmt.Errorf("its attribute %s: %w", name, err)
		}
	}
	return nil
}

// lockInterval is how often a lock that another process has is tried again.
const lockInterval = 50 * time.Millisecond

// Lock keeps other edits of the configuration away until unlock is called: from reading the
// text until it runs. It waits for an edit in progress. Editors know nothing of it.
func (s *Source) Lock(ctx context.Context) (unlock func(), err error) {
	real, err := filepath.EvalSymlinks(s.Path)
	if err != nil {
		return nil, readError(err)
	}
	folder, err := os.Open(filepath.Dir(real)) // the file itself is replaced
	if err != nil {
		return nil, readError(err)
	}
	for {
		if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			// Some network file systems have no locks for folders: then Write alone notices.
			return func() { _ = folder.Close() }, nil
		}
		select {
		case <-ctx.Done():
			_ = folder.Close()
			return nil, fmt.Errorf("another command edits %s: %w", s.Path, ctx.Err())
		case <-time.After(lockInterval):
		}
	}
}
