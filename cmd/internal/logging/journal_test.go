package logging

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestJournal: lines for the journal have its priority, and neither time nor level.
func TestJournal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isJournal(file) {
		t.Error("a file is taken for the journal")
	}
	var s unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", s.Dev, s.Ino))
	l := New(file, "text")
	if err := l.SetLevel("debug"); err != nil {
		t.Fatal(err)
	}
	log := l.With("vrrp", "web")
	log.Debug("probe")
	log.Info("lvsd started", "version", "1")
	log.WithGroup("g").Warn("alarm", slog.Int("time", 3))
	log.Error("failed")
	l.Close()
	got, err := os.ReadFile(file.Name())
	want := "<7>msg=probe vrrp=web\n<6>msg=\"lvsd started\" vrrp=web version=1\n<4>msg=alarm vrrp=web g.time=3\n<3>msg=failed vrrp=web\n"
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}
