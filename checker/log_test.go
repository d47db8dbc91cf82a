package checker

import (
	"bytes"
	"log/slog"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) with(part string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return found
}

// A failure of this machine affects all probes at once: one warning from time to time
// reports it.
func TestLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log lines
		r := newRig(t)
		r.Engine.o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		var targets []Target
		for i := range 100 {
			r.net.set(checktest.Addr(i), outcome.Local)
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		wait(time.Second)
		if warned := log.with("level=WARN"); len(warned) != 1 || !strings.Contains(warned[0], `reason="local it is"`) {
			t.Errorf("a hundred probes without a socket: %q", warned)
		}
		wait(20 * time.Second)
		if warned := log.with("level=WARN"); len(warned) < 2 || len(warned) > 3 || !strings.Contains(warned[1], "others_unlogged=") {
			t.Errorf("after 20 s: %q", warned)
		}
		if n := len(log.with("level=DEBUG")); n < 1000 {
			t.Errorf("%d probes in the log", n)
		}
		if other := log.with("level=INFO"); len(other) > 0 {
			t.Errorf("logged %q", other)
		}
	})
}

// Several checks of one address differ by their names in the log, also after a reload that
// changes nothing else.
func TestLogNamesTheCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log lines
		r := newRig(t)
		r.Engine.o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		both := func(names ...string) Target {
			a := one(1)
			b := a.Checks[0]
			b.Path = "/b"
			a.Checks = append(a.Checks, b)
			for i, name := range names {
				a.Checks[i].Name = name
			}
			return a
		}
		r.set(t, both("http /a", "http /b"))
		r.start(t)
		wait(5 * time.Second)
		r.set(t, both("front", "http /b"))
		wait(5 * time.Second)
		for _, name := range []string{`check="http /a"`, `check="http /b"`, "check=front"} {
			if len(log.with(name)) == 0 {
				t.Errorf("no %s in\n%s", name, strings.Join(log.with(""), ""))
			}
		}
	})
}
