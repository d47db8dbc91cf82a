package filewatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"lvsd/cmd/internal/disk"
)

// Debounce is how long nothing must happen before a change is reported: an editor
// writes in several steps, and a half-written file must not be loaded.
const Debounce = 500 * time.Millisecond

// retryHanging is how long after a folder whose disk hangs is watched again.
const retryHanging = time.Second

// Files calls changed whenever something happened in the folders of the files and nothing
// more for quiet, and once at the start, for changes before the watch. paths is asked again
// after each change: the first path is of a file that must be watched, the others may be
// patterns whose folders do not exist yet. Files returns when the context ends, or when it
// cannot watch at all; a disk that hangs is waited for no longer than [disk.Within] does.
func Files(ctx context.Context, paths func() []string, quiet time.Duration, changed func()) error {
	w, err := fsnotify.NewWatcher()
	all := paths()
	if err != nil {
		return fmt.Errorf("failed to watch %s: %w (fs.inotify.max_user_instances may be too small)", all[0], err)
	}
	defer func() { go w.Close() }() // it waits for a folder that is being added
	watch := func(path string) error {
		_, err := disk.Within(path, func() (struct{}, error) { return struct{}{}, watchFolders(w, path) })
		return err
	}
	if err := watch(all[0]); err != nil && !errors.Is(err, disk.ErrHangs) {
		return fmt.Errorf("failed to watch the folder of %s: %w", all[0], err)
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if e.Op == fsnotify.Chmod {
				continue // access times and modes do not change the content
			}
			timer.Reset(quiet)
		case <-w.Errors: // events were lost: assume a change
			timer.Reset(quiet)
		case <-timer.C:
			for _, path := range paths() { // also of the start; a link may have changed
				if errors.Is(watch(path), disk.ErrHangs) {
					timer.Reset(retryHanging) // until it replies nothing else reports a change
				}
			}
			changed()
		}
	}
}

// watchFolders watches the folder of the file's name, and the one that links lead to.
func watchFolders(w *fsnotify.Watcher, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var failed error
	add := func(folder string) {
		if err := w.Add(folder); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	add(filepath.Dir(path))
	if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
		add(filepath.Dir(real))
	}
	return failed
}
