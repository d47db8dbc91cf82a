package asynclog

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// queueLen is the number of records that wait for the writer at most.
	queueLen = 256
	// FlushLimit is how long to wait at most for Run to end: its handler may block
	// for ever.
	FlushLimit = time.Second
)

// record is a log record with the handler it belongs to.
type record struct {
	handler slog.Handler
	record  slog.Record
}

// Writer writes the records of its loggers.
type Writer struct {
	queue   chan record
	dropped atomic.Uint64
}

// New returns a Writer. Records wait in the queue until Run is called.
func New() *Writer { return &Writer{queue: make(chan record, queueLen)} }

// Run writes records until stop is closed, then those still queued.
func (w *Writer) Run(stop <-chan struct{}) {
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

func (w *Writer) write(r record) {
	if n := w.dropped.Swap(0); n > 0 {
		r.record.AddAttrs(slog.Uint64("records_dropped", n))
	}
	_ = r.handler.Handle(context.Background(), r.record) // there is nowhere else to log the error
}

// Logger returns a logger that queues its records for w and passes them to the
// handler of l.
func (w *Writer) Logger(l *slog.Logger) *slog.Logger {
	return slog.New(queued{handler: l.Handler(), w: w})
}

// queued is a handler that never blocks.
type queued struct {
	handler slog.Handler
	w       *Writer
}

func (q queued) Enabled(ctx context.Context, l slog.Level) bool { return q.handler.Enabled(ctx, l) }

func (q queued) Handle(_ context.Context, r slog.Record) error {
	select {
	case q.w.queue <- record{q.handler, r.Clone()}:
	default:
		q.w.dropped.Add(1)
	}
	return nil
}

func (q queued) WithAttrs(a []slog.Attr) slog.Handler {
	return queued{handler: q.handler.WithAttrs(a), w: q.w}
}

func (q queued) WithGroup(name string) slog.Handler {
	return queued{handler: q.handler.WithGroup(name), w: q.w}
}
