// This file lets a talk with a server be written as one thing after the other,
// though it runs in a loop that must never wait: a talk is a coroutine, which gives
// its turn back where it would wait and is resumed when there is news. Switching is
// a few hundred instructions and no business of the scheduler's. It never decides
// what is said.

package netpoll

import (
	"io"
	"iter"
	"lvsd/checker/outcome"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// coro is one coroutine, which has one talk after the other; it is the peer of
// each.
type coro struct {
	poller Poller
	next   func() (over bool, alive bool)
	stop   func()
	yield  func(over bool) bool

	fd       int
	session  func(Stream) outcome.Outcome
	out      outcome.Outcome
	readable bool // as far as is known
	timedOut bool // the deadline is over
	closed   bool // the server closed its side
}

func newCoro(k Poller) *coro {
	t := &coro{poller: k}
	t.next, t.stop = iter.Pull(func(yield func(bool) bool) {
		t.yield = yield
		for {
			t.out = t.session(t)
			if !yield(true) {
				return
			}
		}
	})
	return t
}

// maxIdleCoros is how many coroutines are kept for later: each holds a stack.
const maxIdleCoros = 64

// coroFor finds a coroutine for a flight. It begins to talk when it is resumed.
func (l *Loop) coroFor(f *Inflight) (t *coro) {
	if n := len(l.idleCoros); n > 0 {
		t, l.idleCoros = l.idleCoros[n-1], l.idleCoros[:n-1]
	} else {
		t = newCoro(l.poller)
	}
	t.fd, t.session, t.out, t.readable, t.timedOut, t.closed = f.fd, f.Probe.Session, outcome.Outcome{}, false, false, false
	return t
}

// resume lets the talk go on until it is over or waits.
func (t *coro) resume() (over bool) {
	over, alive := t.next()
	return over || !alive
}

// recycle keeps a coroutine whose talk is over.
func (t *coro) recycle(spare []*coro) []*coro {
	t.session, t.out = nil, outcome.Outcome{}
	if len(spare) >= maxIdleCoros {
		t.stop()
		return spare
	}
	return append(spare, t)
}

// wait gives the turn back until there is news.
func (t *coro) wait() error {
	if t.timedOut {
		return os.ErrDeadlineExceeded
	}
	if !t.yield(false) {
		return os.ErrClosed // nobody reads the outcome any more
	}
	return nil
}

// Read waits first where it knows that nothing is there: a server does not answer
// before it was asked.
func (t *coro) Read(b []byte) (int, error) {
	for {
		for !t.readable {
			if err := t.wait(); err != nil {
				return 0, err
			}
			if t.timedOut && !t.readable {
				return 0, os.ErrDeadlineExceeded
			}
		}
		n, err := t.poller.Read(t.fd, b)
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
func (t *coro) Write(b []byte) (sent int, err error) {
	for sent < len(b) {
		n, err := t.poller.Write(t.fd, b[sent:])
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

func (t *coro) LocalAddrPort() (netip.AddrPort, error) { return t.poller.LocalAddr(t.fd) }
