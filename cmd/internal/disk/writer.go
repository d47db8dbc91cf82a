package disk

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Writer writes the newest of the values that it is given, one at a time, in a
// goroutine that ends when there is nothing to write.
type Writer[T any] struct {
	Write func(T) error // nil: every value is accepted and forgotten

	mu      sync.Mutex
	next    T
	waiters []chan<- error // of next
	writing bool
	begin   time.Time // of the write in progress
	err     error     // of the last write, whose value next still is
}

// Save writes a value, or what replaces it before its turn comes. It does not wait:
// the channel gets the result, which need not be received.
func (w *Writer[T]) Save(next T) <-chan error {
	done := make(chan error, 1)
	if w.Write == nil {
		done <- nil
		return done
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next, w.waiters = next, append(w.waiters, done)
	w.start()
	return done
}

// start makes sure that a goroutine writes. The lock is held.
func (w *Writer[T]) start() {
	if !w.writing {
		w.writing, w.begin = true, time.Now()
		go w.run()
	}
}

// Retry writes the newest value again if its write failed.
func (w *Writer[T]) Retry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil && !w.writing {
		w.waiters = append(w.waiters, make(chan error, 1))
		w.start()
	}
}

// Problem returns why the newest value is not on disk: its write failed, or has been
// in progress for longer than the deadline.
func (w *Writer[T]) Problem() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := time.Since(w.begin); w.writing && took > Deadline {
		return fmt.Errorf("%w, for %v so far", ErrHangs, took.Round(time.Second))
	}
	return w.err
}

func (w *Writer[T]) run() {
	for {
		w.mu.Lock()
		next, waiters := w.next, w.waiters
		w.waiters = nil
		w.writing = len(waiters) > 0
		w.begin = time.Now()
		w.mu.Unlock()
		if len(waiters) == 0 {
			return
		}
		err := w.Write(next)
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
		for _, done := range waiters {
			done <- err
		}
	}
}

// Await waits for a result of Save, for a limited time. A disk that takes longer is an
// error that wraps ErrHangs; the write continues.
func Await(ctx context.Context, saved <-chan error, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-saved:
		return err
	case <-timer.C:
		return fmt.Errorf("%w within %v", ErrHangs, limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}
