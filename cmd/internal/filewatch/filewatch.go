package filewatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Quiet is how long nothing must happen before a change is told: an editor
// writes in several steps, and a file half written is nobody's wish.
const Quiet = 500 * time.Millisecond

// File calls changed whenever something happened around the file and it has been
// quiet since; at first once, for what happened before it looked. It returns when
// the context ends, or when it cannot watch at all.
func File(ctx context.Context, path string, quiet time.Duration, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("failed to watch %s: %w (fs.inotify.max_user_instances may be too small)", path, err)
	}
	defer w.Close()
	if err := follow(w, path); err != nil {
		return fmt.Errorf("failed to watch the folder of %s: %w", path, err)
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if e.Op == fsnotify.Chmod {
				continue // who reads it changes nothing of what it says
			}
			timer.Reset(quiet)
		case <-w.Errors: // events were lost: whatever they were, look
			timer.Reset(quiet)
		case <-timer.C:
			_ = follow(w, path) // a link may lead elsewhere now
			changed()
		}
	}
}

// follow watches the folder of the file's name, and the one that links lead to.
func follow(w *fsnotify.Watcher, path string) error {
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
