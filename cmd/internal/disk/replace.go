package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeDir is os.MkdirAll with the disk's own error where it fails at what is there:
// MkdirAll then says "file exists".
func MakeDir(path string, mode fs.FileMode) error {
	err := os.MkdirAll(path, mode)
	if errors.Is(err, fs.ErrExist) {
		_, err = os.Stat(path)
	}
	return err
}

// ReplaceFile writes beside the file and renames over it, so that a crash leaves the old
// text or the new one. The data is synced before the rename, the folder after it. An
// error names the file, which then has its old text.
func ReplaceFile(path string, text []byte, mode fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("failed to write %s: %w", path, err)
		}
	}()
	beside := path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(beside)
		return err
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
