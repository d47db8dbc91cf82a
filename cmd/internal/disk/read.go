package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Deadline is how long Read and Within wait. A disk that is only busy replies sooner.
const Deadline = 5 * time.Second

var (
	// ErrHangs is wrapped by the error of a disk that missed the deadline.
	ErrHangs = errors.New("the disk does not reply")
	// ErrNotRegular is wrapped by the error of a path that is not a regular file.
	ErrNotRegular = errors.New("not a regular file")
)

// Read reads a file of at most limit bytes, before the deadline. Anything but a regular
// file is refused without waiting for it: a FIFO would block forever, a device would
// never end.
func Read(path string, limit int64) ([]byte, error) {
	return Within(path, func() ([]byte, error) {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if info.Size() <= limit {
			text.Grow(int(info.Size()) + bytes.MinRead) // so that a large file is not copied
			_, err = text.ReadFrom(io.LimitReader(f, limit+1))
		}
		if info.Size() > limit || int64(text.Len()) > limit {
			return nil, fmt.Errorf("%s is larger than %s", path, size(limit))
		}
		return text.Bytes(), err
	})
}

// Prefix is Read of the first limit bytes of a file of any size.
func Prefix(path string, limit int64) ([]byte, error) {
	return Within(path, func() ([]byte, error) {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, limit))
	})
}

// open opens a regular file.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is %w", path, ErrNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// hanging are the paths of which a call missed the deadline and has not ended, with
// the time at which it began. Each has one goroutine, which no further call adds to.
var hanging = struct {
	sync.Mutex
	since map[string]time.Time
}{since: map[string]time.Time{}}

// Within returns the result of f, which uses a path, or an error that wraps ErrHangs after
// the deadline. f then continues, and until it ends, the path (and every path below a
// folder) is refused at once.
func Within[T any](path string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	begin := time.Now()
	if since, hangs := hangingSince(path); hangs {
		return none, hangError(path, since)
	}
	done := make(chan result, 1)
	ended := false // under the lock of hanging
	go func() {
		value, err := f()
		hanging.Lock()
		ended = true
		delete(hanging.since, path)
		hanging.Unlock()
		done <- result{value, err}
	}()
	timer := time.NewTimer(Deadline)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
	}
	hanging.Lock()
	defer hanging.Unlock()
	if ended {
		r := <-done
		return r.value, r.err
	}
	hanging.since[path] = begin
	return none, hangError(path, begin)
}

// hangingSince reports whether a call for a path or a folder above it hangs.
func hangingSince(path string) (since time.Time, hangs bool) {
	hanging.Lock()
	defer hanging.Unlock()
	for {
		if since, hangs = hanging.since[path]; hangs {
			return since, true
		}
		above := filepath.Dir(path)
		if above == path {
			return since, false
		}
		path = above
	}
}

func hangError(path string, since time.Time) error {
	return fmt.Errorf("%s: %w, for %v so far", path, ErrHangs, time.Since(since).Round(time.Second))
}
