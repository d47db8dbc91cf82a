// This file is the loop's edge to the kernel: sockets that do not block, known by
// their descriptors, and one place where news of all of them come in. It never
// decides what news mean.
//
// A socket is used again: after a probe it is disconnected, which resets the
// connection and leaves a socket that may connect anew, from another port. So it
// is made, told to the kernel's poller and given its options once, and a connect
// probe is two system calls of its own. docs/decisions/ has the reasons.

package netpoll

import (
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller is what the loop asks of the kernel. No method but wait waits, and only
// kick may be called from beside the loop.
type Poller interface {
	Open() error                                   // before all others but kick
	Connect(d *Dialer) (fd int, err error)         // begins a handshake
	ConnectError(fd int) (stands bool, err error)  // what broke a connection; nil: nothing did
	Read(fd int, b []byte) (int, error)            // EAGAIN: there is nothing yet
	Write(fd int, b []byte) (int, error)           // likewise
	LocalAddr(fd int) (netip.AddrPort, error)      // our own address of a connection
	Release(d *Dialer, fd int, closed bool)        // ends a connection; closed: the server did already
	Watch(fd int) error                            // another socket, of which there is to be news
	Wait(until time.Time, look bool) (all []Event) // until there is news, or a kick, or it is time
	Wake()                                         // ends a wait
	Close()
}

// Event is what happened to a socket: it may have been nothing.
type Event struct {
	FD                         int
	Readable, Writable, Broken bool
}

// maxIdleSockets is how many sockets wait for their next use; the others are closed.
const maxIdleSockets = 256

// epollPoller is the kernel that there is.
type epollPoller struct {
	epoll     *os.File // Go's own poller looks after it: waiting holds no thread
	raw       syscall.RawConn
	fd        int
	events    [256]unix.EpollEvent
	events_   []Event
	used      []bool // by descriptor: news of others are left-overs
	idle      map[sockOpts][]int
	idleCount int

	timer  int       // a timerfd: Go's own timers read the clock four times for each wait
	until  time.Time // what it is set to; zero: it may not ring
	base   time.Time
	mono   int64 // CLOCK_MONOTONIC at base, ns
	woken  atomic.Bool
	opened atomic.Bool
}

// sockOpts is what a socket is bound to for good.
type sockOpts struct {
	v6   bool
	from netip.Addr
	mark uint32
}

func NewPoller() *epollPoller { return &epollPoller{idle: map[sockOpts][]int{}} }

func (s *epollPoller) Open() (err error) {
	s.used, s.until = nil, time.Time{}
	if s.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	if err = unix.SetNonblock(s.fd, true); err != nil { // so that NewFile takes it for pollable
		unix.Close(s.fd)
		return os.NewSyscallError("fcntl", err)
	}
	s.epoll = os.NewFile(uintptr(s.fd), "epoll")
	if s.raw, err = s.epoll.SyscallConn(); err == nil {
		err = s.epoll.SetReadDeadline(time.Time{}) // Go's poller took it
	}
	if err == nil {
		err = s.openTimer()
	}
	if err != nil {
		s.epoll.Close()
		return err
	}
	s.opened.Store(true)
	return nil
}

func (s *epollPoller) openTimer() (err error) {
	if s.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	var now unix.Timespec
	if err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		s.base, s.mono = time.Now(), now.Nano()
		err = s.Watch(s.timer)
	}
	if err != nil {
		unix.Close(s.timer)
	}
	return err
}

func (s *epollPoller) Close() {
	for _, all := range s.idle {
		for _, fd := range all {
			unix.Close(fd)
		}
	}
	s.idle, s.idleCount = map[sockOpts][]int{}, 0
	s.opened.Store(false)
	unix.Close(s.timer)
	s.epoll.Close()
}

// Connect begins with a used socket; what that one refuses is asked of a new one.
func (s *epollPoller) Connect(d *Dialer) (int, error) {
	name, err := d.rawSockaddr()
	if err != nil {
		return -1, err
	}
	b := sockOptsOf(d)
	if free := s.idle[b]; len(free) > 0 {
		fd := free[len(free)-1]
		s.idle[b] = free[:len(free)-1]
		s.idleCount--
		if err := rawConnect(fd, &name); err == nil || err == unix.EINPROGRESS {
			s.used[fd] = true
			return fd, nil
		}
		unix.Close(fd)
	}
	fd, _, err := d.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	if err = rawConnect(fd, &name); err == nil || err == unix.EINPROGRESS {
		err = s.Watch(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockOptsOf(d *Dialer) sockOpts { return sockOpts{d.To.Addr().Is6(), d.From, d.Mark} }

// Watch asks for news of each change once. Of a TCP socket that is not connected
// there would be one at once: watch comes after connect.
func (s *epollPoller) Watch(fd int) error {
	for len(s.used) <= fd {
		s.used = append(s.used, false)
	}
	s.used[fd] = true
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &e))
}

// ConnectError asks the socket itself: news of an error may be of its former use, which
// ended in one, and say nothing of the connection that it makes now.
func (s *epollPoller) ConnectError(fd int) (stands bool, err error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return false, err
	}
	if n != 0 {
		return false, unix.Errno(n)
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case err != nil:
		return false, err
	case info.State == tcpClose:
		return false, unix.ECONNRESET // and somebody was told why before us
	}
	return info.State != tcpSynSent, nil
}

// States of a connection, from the kernel's net/tcp_states.h.
const (
	tcpSynSent = 2
	tcpClose   = 7
)

func (s *epollPoller) Read(fd int, b []byte) (int, error)  { return rawRead(fd, b) }
func (s *epollPoller) Write(fd int, b []byte) (int, error) { return rawWrite(fd, b) }

func (s *epollPoller) LocalAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	return addrPort(sa), err
}

// Release ends a connection without a trace on this machine: see conn.Close. A
// connection that the server closed is closed too, and not reset.
func (s *epollPoller) Release(d *Dialer, fd int, closed bool) {
	s.used[fd] = false
	if closed || s.idleCount >= maxIdleSockets || rawConnect(fd, &disconnected) != nil {
		if !closed {
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		unix.Close(fd)
		return
	}
	b := sockOptsOf(d)
	s.idle[b] = append(s.idle[b], fd)
	s.idleCount++
}

// Wait looks once at least; with look, no more than that.
func (s *epollPoller) Wait(until time.Time, look bool) []Event {
	if !look && !s.woken.Swap(false) {
		if s.setTimer(until); s.raw.Read(func(uintptr) bool { return s.poll() }) == nil {
			return s.events_
		}
		s.epoll.SetReadDeadline(time.Time{}) // it was a kick
		s.woken.Store(false)
	}
	s.poll()
	return s.events_
}

// setTimer sets the timer, where it is not set already.
func (s *epollPoller) setTimer(until time.Time) {
	if until.Equal(s.until) {
		return
	}
	s.until = until
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(s.mono + int64(until.Sub(s.base)))}
	if err := unix.TimerfdSettime(s.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic("timerfd_settime: " + err.Error()) // the kernel knows no reason
	}
}

// poll gathers the news of sockets that are in use, and says whether there is a
// reason to end a wait.
func (s *epollPoller) poll() bool {
	s.events_ = s.events_[:0]
	n, err := rawEvents(s.fd, s.events[:])
	if err != nil {
		return err == unix.EINTR // it is not told what happened: look again
	}
	rang := false
	for _, e := range s.events[:n] {
		fd := int(e.Fd)
		if fd == s.timer {
			rang, s.until = true, time.Time{}
			continue
		}
		if !s.used[fd] {
			continue
		}
		const ends = unix.EPOLLERR | unix.EPOLLHUP
		s.events_ = append(s.events_, Event{FD: fd, Readable: e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|ends) != 0,
			Writable: e.Events&(unix.EPOLLOUT|ends) != 0, Broken: e.Events&ends != 0})
	}
	return rang || len(s.events_) > 0 || n == len(s.events)
}

func (s *epollPoller) Wake() {
	if !s.woken.Swap(true) && s.opened.Load() {
		s.epoll.SetReadDeadline(time.Unix(1, 0))
	}
}
