package checker

import (
	"lvsd/checker/checktest"
	"lvsd/checker/netpoll"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fakePoller waits by channels, as a bubble's clock wants it. Its servers complete each
// handshake after a time of their own, and send nothing.
type fakePoller struct {
	kicks chan struct{}
	// delay is how long a server's handshake takes, less than 0: never complete. refuse is
	// the error that it ends in.
	delay  map[netip.AddrPort]time.Duration
	refuse map[netip.AddrPort]error

	mu      sync.Mutex
	full    int // how many connections this machine may have open
	sockets map[int]*fakeSocket
	lastFD  int
}

type fakeSocket struct {
	to       netip.AddrPort
	done     time.Time // zero: never
	reported bool
}

func newFakePoller() *fakePoller {
	return &fakePoller{kicks: make(chan struct{}, 1), delay: map[netip.AddrPort]time.Duration{}, refuse: map[netip.AddrPort]error{},
		full: 1 << 20, sockets: map[int]*fakeSocket{}}
}

func (k *fakePoller) Open() error { return nil }
func (k *fakePoller) Close()      {}

func (k *fakePoller) Connect(d *netpoll.Dialer) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sockets) >= k.full {
		return -1, unix.EMFILE
	}
	k.lastFD++
	s := &fakeSocket{to: d.To}
	if delay := k.delay[d.To]; delay >= 0 {
		s.done = time.Now().Add(delay)
	}
	k.sockets[k.lastFD] = s
	return k.lastFD, nil
}

func (k *fakePoller) ConnectError(fd int) (bool, error)     { return false, k.refuse[k.sockets[fd].to] }
func (k *fakePoller) Read(int, []byte) (int, error)         { return 0, unix.EAGAIN }
func (k *fakePoller) Write(_ int, b []byte) (int, error)    { return len(b), nil }
func (k *fakePoller) LocalAddr(int) (netip.AddrPort, error) { return checktest.Addr(0), nil }
func (k *fakePoller) Release(_ *netpoll.Dialer, fd int, _ bool) {
	k.mu.Lock()
	delete(k.sockets, fd)
	k.mu.Unlock()
}

// limit sets how many connections may be open, and returns how many are.
func (k *fakePoller) limit(full int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.full = full
	return len(k.sockets)
}
func (k *fakePoller) Watch(int) error { return nil }

func (k *fakePoller) Wait(until time.Time, look bool) (all []netpoll.Event) {
	for {
		now := time.Now()
		next := until
		for fd, s := range k.sockets {
			switch {
			case s.reported || s.done.IsZero():
			case s.done.After(now):
				if s.done.Before(next) {
					next = s.done
				}
			default:
				s.reported = true
				all = append(all, netpoll.Event{FD: fd, Writable: true, Broken: k.refuse[s.to] != nil})
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

func (k *fakePoller) Wake() {
	select {
	case k.kicks <- struct{}{}:
	default:
	}
}
