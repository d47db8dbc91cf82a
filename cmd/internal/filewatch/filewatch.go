package filewatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Debounce is how long nothing must happen before a change is reported: an editor
// writes in several steps, and a half-written file must not be loaded.
const Debounce = 500 * time.Millisecond

// Files calls changed whenever something happened in the folders of the files and nothing
// more for quiet, and once at the start, for changes before the watch. paths is asked again
// after each change: the first path is of a file that must be watched, the others may be
// patterns whose folders do not exist yet. Files returns when the context ends, or when it
// cannot watch at all.
func Files(ctx context.Context, paths func() []string, quiet time.Duration, changed func()) error {
	w, err := fsnotify.NewWatcher()
	all := paths()
	if err != nil {
		return fmt.Errorf("failed to watch %s: %w (fs.inotify.max_user_instances may be too small)", all[0], err)
	}
	defer w.Close()
	if err := watchFolders(w, all[0]); err != nil {
		return fmt.Errorf("failed to watch the folder of %s: %w", all[0], err)
	}
	for _, path := range all[1:] {
		_ = watchFolders(w, path)
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
			for _, path := range paths() {
				_ = watchFolders(w, path) // a link may have changed
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
