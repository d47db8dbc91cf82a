package vrrpproc

import (
	"encoding/gob"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// pipe writes orders in a goroutine of its own, so that a process that does not read
// makes no caller wait.
type pipe struct {
	out io.WriteCloser

	mu     sync.Mutex
	more   sync.Cond
	queue  []command
	closed bool
}

func newPipe(out io.WriteCloser) *pipe {
	w := &pipe{out: out}
	w.more.L = &w.mu
	return w
}

func (w *pipe) put(o command) {
	w.mu.Lock()
	w.queue = append(w.queue, o)
	w.mu.Unlock()
	w.more.Signal()
}

// close writes what is queued, then ends the process by the end of its input.
func (w *pipe) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.more.Signal()
}

func (w *pipe) run() {
	defer w.out.Close()
	to := gob.NewEncoder(w.out)
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.more.Wait()
		}
		orders := w.queue
		w.queue = nil
		w.mu.Unlock()
		if len(orders) == 0 {
			return
		}
		for _, o := range orders {
			if err := to.Encode(o); err != nil {
				if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
					panic(err) // a value that gob cannot carry
				}
				return
			}
		}
	}
}
