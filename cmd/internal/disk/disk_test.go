package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestOnlyBoundedRegularFilesAreRead: a path that is not a file, never ends or is too
// large is refused at once.
func TestOnlyBoundedRegularFilesAreRead(t *testing.T) {
	folder := t.TempDir()
	fifo, large, small := filepath.Join(folder, "fifo"), filepath.Join(folder, "large"), filepath.Join(folder, "small")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{large: "12345", small: "1234"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{fifo, "/dev/zero", folder} {
		if _, err := Read(path, 4); !errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Read(large, 4); err == nil || !strings.Contains(err.Error(), "larger than 4 bytes") {
		t.Errorf("a large file: %v", err)
	}
	if text, err := Read(small, 4); err != nil || string(text) != "1234" {
		t.Errorf("a small file: %q, %v", text, err)
	}
	if text, err := Prefix(large, 2); err != nil || string(text) != "12" {
		t.Errorf("the first two bytes: %q, %v", text, err)
	}
	if _, err := Read(filepath.Join(folder, "none"), 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestHangingDisk: the caller gets an error at the deadline, further ones at once and
// without a goroutine of their own, and the path works again when the disk replies.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := make(chan struct{})
		var calls atomic.Int32
		read := func() (string, error) {
			return Within("/mnt/file", func() (string, error) {
				calls.Add(1)
				<-reply
				return "text", nil
			})
		}
		begin := time.Now()
		if _, err := read(); !errors.Is(err, ErrHangs) || time.Since(begin) != Deadline {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		begin = time.Now()
		for range 10 {
			if _, err := read(); !errors.Is(err, ErrHangs) || !strings.Contains(err.Error(), "/mnt/file") {
				t.Error(err)
			}
		}
		if calls.Load() != 1 || time.Since(begin) != 0 {
			t.Errorf("%d calls, %v", calls.Load(), time.Since(begin))
		}
		if text, err := Within("/mnt/other", func() (string, error) { return "other", nil }); text != "other" || err != nil {
			t.Errorf("another path: %q, %v", text, err)
		}
		close(reply)
		synctest.Wait()
		if text, err := read(); text != "text" || err != nil {
			t.Errorf("afterwards: %q, %v", text, err)
		}
	})
}

// TestHangingFolder: while a call for a folder hangs nothing waits for a file in it: a start
// that reads five records would wait five times.
func TestHangingFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reply := make(chan struct{})
		if _, err := Within("/mnt/state", func() (int, error) { <-reply; return 0, nil }); !errors.Is(err, ErrHangs) {
			t.Errorf("the folder: %v", err)
		}
		read := func(path string) error {
			_, err := Within(path, func() (int, error) { return 0, nil })
			return err
		}
		begin := time.Now()
		for _, path := range []string{"/mnt/state/decision", "/mnt/state/a/b"} {
			if err := read(path); !errors.Is(err, ErrHangs) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", path, err)
			}
		}
		for _, path := range []string{"/mnt/states", "/mnt", "/", "file", ""} {
			if err := read(path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
		close(reply)
		synctest.Wait()
		if err := read("/mnt/state/decision"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestWriterTakesTheNewest: nothing waits for a write that hangs, values that were
// replaced are not written, and a failure is kept until a retry succeeds.
func TestWriterTakesTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []int
		results := make(chan error)
		w := Writer[int]{Write: func(n int) error {
			written = append(written, n)
			return <-results
		}}
		first := w.Save(1)
		synctest.Wait()
		second, third := w.Save(2), w.Save(3)
		if err := Await(context.Background(), first, time.Second); !errors.Is(err, ErrHangs) {
			t.Errorf("a write that hangs: %v", err)
		}
		if err := w.Problem(); err != nil {
			t.Errorf("a problem after a second: %v", err)
		}
		time.Sleep(Deadline)
		if err := w.Problem(); !errors.Is(err, ErrHangs) {
			t.Errorf("no problem: %v", err)
		}
		results <- nil
		full := errors.New("no space left")
		results <- full
		synctest.Wait()
		if e1, e2, e3 := <-first, <-second, <-third; e1 != nil || e2 != full || e3 != full {
			t.Error(e1, e2, e3)
		}
		if err := w.Problem(); err != full {
			t.Errorf("problem: %v", err)
		}
		w.Retry()
		results <- nil
		synctest.Wait()
		w.Retry() // nothing is to do
		if err := w.Problem(); err != nil {
			t.Errorf("still a problem: %v", err)
		}
		if len(written) != 3 || written[1] != 3 || written[2] != 3 {
			t.Errorf("written: %v", written)
		}
	})
	var none Writer[int]
	if err := <-none.Save(1); err != nil {
		t.Error(err)
	}
}
