package logging

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Log is a logger, its level, and the writer behind it.
type Log struct {
	*slog.Logger
	level  slog.LevelVar
	writer *writer
}

// closeLimit is how long the end waits for a reader of the last lines.
const closeLimit = time.Second

// queue is how many lines wait for a reader that is slow.
const queue = 4096

// New makes a logger that writes text or JSON lines to out. Close flushes it.
func New(out io.Writer, format string) *Log {
	l := &Log{writer: newWriter(out)}
	options := &slog.HandlerOptions{Level: &l.level}
	var handler slog.Handler = slog.NewTextHandler(l.writer, options)
	if format == "json" {
		handler = slog.NewJSONHandler(l.writer, options)
	}
	l.Logger = slog.New(handler)
	return l
}

// SetLevel takes one of the configuration's names: debug, info, warn, error.
func (l *Log) SetLevel(name string) error { return l.level.UnmarshalText([]byte(name)) }

// Close writes what waits, and ends the writer. Lines after it are lost.
func (l *Log) Close() { l.writer.close() }

// writer hands lines to a goroutine of its own.
type writer struct {
	out     io.Writer
	lines   chan []byte
	dropped atomic.Uint64
	done    chan struct{}

	mu     sync.RWMutex // closed: no line goes into a closed channel
	closed bool
}

func newWriter(out io.Writer) *writer {
	w := &writer{out: out, lines: make(chan []byte, queue), done: make(chan struct{})}
	go w.run()
	return w
}

// Write takes one line; slog's handlers write each line whole.
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
		if n := w.dropped.Swap(0); n > 0 {
			fmt.Fprintf(w.out, "level=WARN msg=\"log lines dropped, nobody read them in time\" count=%d\n", n)
		}
		// A log that cannot be written has nobody left to be told.
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
	case <-time.After(closeLimit): // nobody reads: the daemon ends all the same
	}
}
