// This file has the logger, its queue and its writer.

package logging

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/printable"
)

// Log is a logger with its level and writer.
type Log struct {
	*slog.Logger
	level  slog.LevelVar
	writer *writer
}

// closeTimeout bounds how long Close waits for the last lines to be written.
const closeTimeout = time.Second

// queueLen is the number of lines that can wait for a slow reader.
const queueLen = 4096

// New makes a logger that writes text or JSON lines, without characters that a terminal
// obeys. Where the journal of systemd reads them, text lines have its priority instead of
// a level, and no time of their own. Close flushes it. From then on the process survives writing to a closed pipe.
func New(to io.Writer, format string) *Log {
	surviveClosedPipe()
	// A terminal may read the log; JSON leaves some characters that it obeys.
	out := printable.Writer{To: func() io.Writer { return to }}
	l := &Log{}
	options := &slog.HandlerOptions{Level: &l.level}
	inJournal := isJournal(to)
	handler := func(w io.Writer) slog.Handler {
		switch {
		case format == "json":
			return slog.NewJSONHandler(w, options)
		case inJournal:
			return newJournalHandler(w, &l.level)
		}
		return slog.NewTextHandler(w, options)
	}
	l.writer = newWriter(out, handler(out))
	l.Logger = slog.New(handler(l.writer))
	return l
}

// surviveClosedPipe keeps the Go runtime from ending the process by SIGPIPE when the
// reader of standard output or error is gone: neither the daemon nor its VRRP process
// may die of its log. The signal is not ignored, which child processes would inherit.
var surviveClosedPipe = sync.OnceFunc(func() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) })

// SetLevel sets one of the levels debug, info, warn and error.
func (l *Log) SetLevel(name string) error { return l.level.UnmarshalText([]byte(name)) }

// Close writes the queued lines and ends the writer. Later lines are dropped.
func (l *Log) Close() { l.writer.close() }

// writer passes lines to its own goroutine.
type writer struct {
	out     io.Writer
	direct  slog.Handler // writes to out without the queue, from run alone
	lines   chan []byte
	dropped atomic.Uint64
	done    chan struct{}

	mu     sync.RWMutex // protects closed: no line may go into a closed channel
	closed bool
}

func newWriter(out io.Writer, direct slog.Handler) *writer {
	w := &writer{out: out, direct: direct, lines: make(chan []byte, queueLen), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues one line. The handlers of slog write each line whole.
func (w *writer) Write(line []byte) (int, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return len(line), nil
	}
	select {
	case w.lines <- append([]byte(nil), line...):
	default:
		w.dropped.Add(1)
	}
	return len(line), nil
}

func (w *writer) run() {
	defer close(w.done)
	for line := range w.lines {
		// There is nowhere else to log that logging fails.
		if n := w.dropped.Swap(0); n > 0 {
			r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines were dropped because they were not read in time", 0)
			r.AddAttrs(slog.Uint64("count", n))
			_ = w.direct.Handle(context.Background(), r)
		}
		_, _ = w.out.Write(line)
	}
}

func (w *writer) close() {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	if !closed {
		close(w.lines)
	}
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(closeTimeout): // the reader is stuck; the daemon ends anyway
	}
}
