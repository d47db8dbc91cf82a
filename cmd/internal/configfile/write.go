// This file replaces the text of the configuration file.

package configfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Change is a file of the configuration with another text.
type Change struct {
	Path          string
	Before, After string
}

// Changes returns the files that differ between two texts of the configuration.
func (s *Source) Changes(before, after string) []Change {
	if before == after {
		return nil
	}
	return []Change{{s.Path, before, after}}
}

// Write replaces the text of the file, at once and for good: whoever reads it finds the
// one or the other, also after a crash. Its owner and mode stay, and a link to it stays a
// link. A file that no longer has the text before is refused.
func (c Change) Write() error { return replace(c.Path, c.Before, c.After) }

// Undo writes the text before.
func (c Change) Undo() error { return replace(c.Path, c.After, c.Before) }

// ErrChanged: the file is not what it was when it was read.
var ErrChanged = errors.New("the file was changed meanwhile")

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
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
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
	if err := os.Rename(f.Name(), real); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(real))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
