// This file replaces the text of the configuration file.

package configfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lvsd/config/include"
)

// Change is a file of the configuration with another text.
type Change struct {
	Path          string
	Before, After string
}

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
			if strings.TrimSuffix(strings.TrimPrefix(string(text), "\ufeff"), "\n") != strings.TrimSuffix(c.Before, "\n") {
				return nil, fmt.Errorf("%s: %w", c.Path, ErrChanged)
			}
			c.Before = string(text)
		}
		all = append(all, c)
	}
	return all, nil
}

// Write replaces the text of the file, at once and for good: whoever reads it finds the
// one or the other, also after a crash. Its owner and mode stay, and a link to it stays a
// link. A file that no longer has the text before is refused.
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
