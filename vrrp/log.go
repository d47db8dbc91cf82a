// This file keeps the log from delaying an election: a record is queued, and a
// goroutine of its own writes it. When the writer is stuck, records are dropped
// and counted, never waited for.

package vrrp

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	logQueue = 256
	// logFlush bounds the wait for a stuck writer at the end.
	logFlush = time.Second
)

// record is a log record and the handler that it was made for.
type record struct {
	to slog.Handler
	r  slog.Record
}

// logWriter writes what the handlers queued.
type logWriter struct {
	queue   chan record
	dropped atomic.Uint64
}

func newLogWriter() *logWriter { return &logWriter{queue: make(chan record, logQueue)} }

// run writes until stop is closed, and then what is left.
func (w *logWriter) run(stop <-chan struct{}) {
	for {
		select {
		case r := <-w.queue:
			w.write(r)
		case <-stop:
			for {
				select {
				case r := <-w.queue:
					w.write(r)
				default:
					return
				}
			}
		}
	}
}

func (w *logWriter) write(r record) {
	if n := w.dropped.Swap(0); n > 0 {
		r.r.AddAttrs(slog.Uint64("records_dropped", n))
	}
	_ = r.to.Handle(context.Background(), r.r) // whoever owns the writer knows that it fails
}

// logger is l, written by w.
func (w *logWriter) logger(l *slog.Logger) *slog.Logger {
	return slog.New(queued{to: l.Handler(), w: w})
}

// queued is a handler that never waits.
type queued struct {
	to slog.Handler
	w  *logWriter
}

func (q queued) Enabled(ctx context.Context, l slog.Level) bool { return q.to.Enabled(ctx, l) }

func (q queued) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.w.queue <- record{q.to, r.Clone()}:
	default:
		q.w.dropped.Add(1)
	}
	return nil
}

func (q queued) WithAttrs(a []slog.Attr) slog.Handler {
	return queued{to: q.to.WithAttrs(a), w: q.w}
}

func (q queued) WithGroup(name string) slog.Handler {
	return queued{to: q.to.WithGroup(name), w: q.w}
}
