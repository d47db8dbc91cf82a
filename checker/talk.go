// This file lets a talk with a server be written as one thing after the other,
// though it runs in a loop that must never wait: a talk is a coroutine, which gives
// its turn back where it would wait and is resumed when there is news. Switching is
// a few hundred instructions and no business of the scheduler's. It never decides
// what is said.

package checker

import (
	"io"
	"iter"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// talker is one coroutine, which has one talk after the other; it is the peer of
// each.
type talker struct {
	kernel kernel
	next   func() (over bool, alive bool)
	stop   func()
	yield  func(over bool) bool

	fd       int
	talk     func(peer) outcome
	out      outcome
	readable bool // as far as is known
	late     bool // the deadline is over
	closed   bool // the server closed its side
}

func newTalker(k kernel) *talker {
	t := &talker{kernel: k}
	t.next, t.stop = iter.Pull(func(yield func(bool) bool) {
		t.yield = yield
		for {
			t.out = t.talk(t)
			if !yield(true) {
				return
			}
		}
	})
	return t
}

// spareMost is how many coroutines are kept for later: each holds a stack.
const spareMost = 64

// talkerFor finds a coroutine for a flight. It begins to talk when it is resumed.
func (l *loop) talkerFor(f *flight) (t *talker) {
	if n := len(l.spare); n > 0 {
		t, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		t = newTalker(l.kernel)
	}
	t.fd, t.talk, t.out, t.readable, t.late, t.closed = f.fd, f.light.talk, outcome{}, false, false, false
	return t
}

// resume lets the talk go on until it is over or waits.
func (t *talker) resume() (over bool) {
	over, alive := t.next()
	return over || !alive
}

// rest keeps a coroutine whose talk is over.
func (t *talker) rest(spare []*talker) []*talker {
	t.talk, t.out = nil, outcome{}
	if len(spare) >= spareMost {
		t.stop()
		return spare
	}
	return append(spare, t)
}

// wait gives the turn back until there is news.
func (t *talker) wait() error {
	if t.late {
		return os.ErrDeadlineExceeded
	}
	if !t.yield(false) {
		return os.ErrClosed // nobody reads the outcome any more
	}
	return nil
}

// Read waits first where it knows that nothing is there: a server does not answer
// before it was asked.
func (t *talker) Read(b []byte) (int, error) {
	for {
		for !t.readable {
			if err := t.wait(); err != nil {
				return 0, err
			}
			if t.late && !t.readable {
				return 0, os.ErrDeadlineExceeded
			}
		}
		n, err := t.kernel.read(t.fd, b)
		switch {
		case err == unix.EAGAIN:
			t.readable = false
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			t.closed = true
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write sends all of it.
func (t *talker) Write(b []byte) (sent int, err error) {
	for sent < len(b) {
		n, err := t.kernel.write(t.fd, b[sent:])
		sent += n
		if err == unix.EAGAIN {
			err = t.wait()
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

func (t *talker) local() (netip.AddrPort, error) { return t.kernel.local(t.fd) }
