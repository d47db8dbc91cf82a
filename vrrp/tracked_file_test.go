package vrrp

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestFileNumbers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "number")
	for text, want := range map[string]int{"7": 7, " -12\n": -12, "0": 0, "+3": 3} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readNumber(path); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "x", "1.5", "1 2", strings.Repeat("0", 100)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readNumber(path); err == nil || got != 0 {
			t.Errorf("%q: %d, %v", bad, got, err)
		}
	}
	pipe := filepath.Join(dir, "pipe") // it has no writer, and must not be waited for
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, none := range []string{pipe, dir, filepath.Join(dir, "none")} {
		if got, err := readNumber(none); err == nil || got != 0 {
			t.Errorf("%s: %d, %v", none, got, err)
		}
	}
}

func TestFileEffects(t *testing.T) {
	for _, tt := range []struct {
		weight, number int
		want           Tracked
	}{
		{1, 0, Tracked{}},
		{1, -20, Tracked{Delta: -20}},
		{-2, 30, Tracked{Delta: -60}},
		{253, 1 << 60, Tracked{Delta: 253 * 254}},
		{0, 0, Tracked{}},
		{0, -1, Tracked{Fault: true}},
	} {
		f := TrackedFile{"/run/prefer", tt.weight}
		tt.want.Name = "file /run/prefer"
		if got := f.effect(tt.number); got != tt.want {
			t.Errorf("%d times %d: %+v", tt.weight, tt.number, got)
		}
	}
}

// With the real clock: a file that is created, changed and removed.
func TestFilesAreFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prefer")
	tr := newTracking(slog.New(slog.DiscardHandler), nil)
	tr.configure(config(func(c *Config) { c.TrackFiles = []TrackedFile{{path, 2}} }))
	defer func() { tr.stop(); tr.tasks.Wait() }()
	delta := func() int { d, _ := sum(tr.all()); return d }
	for _, step := range []struct {
		text string
		want int
	}{{"-10", -20}, {"5", 10}, {"nothing", 0}, {"1", 2}} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, step.text, func() bool { return delta() == step.want })
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a file that went", func() bool { return delta() == 0 })
}

// TestTrackedFileOnAHangingDisk: an instance ends although the file cannot be read.
func TestTrackedFileOnAHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracking := newTracking(slog.New(slog.DiscardHandler), nil)
		reply := make(chan int)
		tracking.readFile = func(string) (int, error) { return <-reply, nil }
		tracking.configure(Config{TrackFiles: []TrackedFile{{"/mnt/prefer", 1}}})
		reply <- 7
		time.Sleep(2 * filePollInterval)
		synctest.Wait()
		if got := tracking.all(); len(got) != 1 || got[0].Delta != 7 {
			t.Errorf("while the disk hangs: %+v", got)
		}
		tracking.stop()
		tracking.tasks.Wait() // the bubble would be stuck here
		reply <- 0
	})
}
