package checker

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel waits by channels, as a bubble's clock wants it. Its servers complete
// each handshake after a time of theirs, and say nothing.
type fakeKernel struct {
	kicks chan struct{}
	// delay is how long a server's handshake takes, less than 0: for ever. refuse
	// is the error that it ends in.
	delay  map[netip.AddrPort]time.Duration
	refuse map[netip.AddrPort]error

	mu      sync.Mutex
	full    int // how many connections this machine may have open
	sockets map[int]*fakeSocket
	lastFD  int
}

type fakeSocket struct {
	to   netip.AddrPort
	done time.Time // zero: never
	told bool
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{kicks: make(chan struct{}, 1), delay: map[netip.AddrPort]time.Duration{}, refuse: map[netip.AddrPort]error{},
		full: 1 << 20, sockets: map[int]*fakeSocket{}}
}

func (k *fakeKernel) open() error { return nil }
func (k *fakeKernel) close()      {}

func (k *fakeKernel) connect(d *dialer) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sockets) >= k.full {
		return -1, unix.EMFILE
	}
	k.lastFD++
	s := &fakeSocket{to: d.to}
	if delay := k.delay[d.to]; delay >= 0 {
		s.done = time.Now().Add(delay)
	}
	k.sockets[k.lastFD] = s
	return k.lastFD, nil
}

func (k *fakeKernel) failure(fd int) (bool, error)       { return false, k.refuse[k.sockets[fd].to] }
func (k *fakeKernel) read(int, []byte) (int, error)      { return 0, unix.EAGAIN }
func (k *fakeKernel) write(_ int, b []byte) (int, error) { return len(b), nil }
func (k *fakeKernel) local(int) (netip.AddrPort, error)  { return addr(0), nil }
func (k *fakeKernel) release(_ *dialer, fd int, _ bool) {
	k.mu.Lock()
	delete(k.sockets, fd)
	k.mu.Unlock()
}

// limit sets how many connections may be open, and says how many are.
func (k *fakeKernel) limit(full int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.full = full
	return len(k.sockets)
}
func (k *fakeKernel) watch(int) error { return nil }

func (k *fakeKernel) wait(until time.Time, look bool) (all []news) {
	for {
		now := time.Now()
		next := until
		for fd, s := range k.sockets {
			switch {
			case s.told || s.done.IsZero():
			case s.done.After(now):
				if s.done.Before(next) {
					next = s.done
				}
			default:
				s.told = true
				all = append(all, news{fd: fd, writable: true, broken: k.refuse[s.to] != nil})
			}
		}
		if len(all) > 0 || look || !until.After(now) {
			return all
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-timer.C:
		case <-k.kicks:
			timer.Stop()
			return nil
		}
	}
}

func (k *fakeKernel) kick() {
	select {
	case k.kicks <- struct{}{}:
	default:
	}
}
