package netpoll

import (
	"io"
	"iter"
	"lvsd/checker/outcome"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// coro is a coroutine that runs sessions, one after the other, and is the Stream of
// each. A session is written as sequential code; where Read or Write would block, it
// yields to the loop and is resumed at the next event. A switch costs a few hundred
// instructions and does not involve the scheduler.
type coro struct {
	poller Poller
	next   func() (over bool, alive bool)
	stop   func()
	yield  func(over bool) bool

	fd       int
	session  func(Stream) outcome.Outcome
	out      outcome.Outcome
	readable bool // assumed until read returns EAGAIN
	timedOut bool // the deadline has passed
	closed   bool // the server closed its side
	closing  bool // it is waited for
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

// maxIdleCoros bounds the coroutines that are kept for reuse: each holds a stack.
const maxIdleCoros = 64

// coroFor returns a coroutine for a probe. The session starts when it is resumed.
func (l *Loop) coroFor(f *Inflight) (t *coro) {
	if n := len(l.idleCoros); n > 0 {
		t, l.idleCoros = l.idleCoros[n-1], l.idleCoros[:n-1]
	} else {
		t = newCoro(l.poller)
	}
	t.fd, t.session, t.out = f.fd, f.Probe.Session, outcome.Outcome{}
	t.readable, t.timedOut, t.closed, t.closing = false, false, false, false
	return t
}

// resume runs the session until it ends or yields, and reports whether it ended.
func (t *coro) resume() (over bool) {
	over, alive := t.next()
	return over || !alive
}

// recycle keeps a coroutine whose session ended for reuse, up to maxIdleCoros.
func (t *coro) recycle(spare []*coro) []*coro {
	t.session, t.out = nil, outcome.Outcome{}
	if len(spare) >= maxIdleCoros {
		t.stop()
		return spare
	}
	return append(spare, t)
}

// wait yields until the next event.
func (t *coro) wait() error {
	if t.timedOut {
		return os.ErrDeadlineExceeded
	}
	if !t.yield(false) {
		return os.ErrClosed // the loop was closed
	}
	return nil
}

// Read waits before it reads unless data is known to be there: a server rarely
// answers before it was asked, and a read that fails is a system call for nothing.
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

// Write sends all of b.
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

// AwaitClose reads what is left until the server closes. The loop shortens the wait.
func (t *coro) AwaitClose() {
	t.closing = true
	_, _ = io.Copy(io.Discard, io.LimitReader(t, maxTrailing)) // whatever ends it
}

func (t *coro) LocalAddrPort() (netip.AddrPort, error) { return t.poller.LocalAddr(t.fd) }
