package netpoll

import (
	"lvsd/checker/outcome"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller is the loop's interface to the kernel. Only Wait waits, and only Wake may be
// called from another goroutine.
type Poller interface {
	Open() error                                       // before all other methods except Wake
	Connect(d *Dialer) (fd int, err error)             // starts a handshake
	ConnectError(fd int) (established bool, err error) // what broke a connection; nil: nothing did
	Read(fd int, b []byte) (int, error)                // EAGAIN: no data yet
	Write(fd int, b []byte) (int, error)               // EAGAIN: the send buffer is full
	LocalAddr(fd int) (netip.AddrPort, error)          // the local address of a connection
	Release(d *Dialer, fd int, closed bool)            // ends a connection; closed: the server closed it first
	Watch(fd int) error                                // adds a socket that is not a connection
	Wait(until time.Time, poll bool) (all []Event)     // until an event, a Wake, or the time; poll: does not wait
	Wake()                                             // ends a Wait
	Close()
}

// Event is a change of a socket; it may be spurious.
type Event struct {
	FD                         int
	Readable, Writable, Broken bool
}

// maxIdleSockets bounds the sockets that are kept for reuse; others are closed.
const maxIdleSockets = 256

// epollPoller is the Poller of Linux, over epoll(7).
type epollPoller struct {
	epoll     *os.File // registered with Go's own poller, so that waiting holds no thread
	raw       syscall.RawConn
	fd        int
	events    [256]unix.EpollEvent
	events_   []Event
	used      []bool // by descriptor; events of others are stale
	idle      map[sockOpts][]int
	idleCount int

	timer  int       // a timerfd: Go's timers read the clock four times per wait
	until  time.Time // what the timer is set to; zero: not armed
	base   time.Time
	mono   int64 // CLOCK_MONOTONIC at base, ns
	woken  atomic.Bool
	opened atomic.Bool
}

// sockOpts are the options that a socket keeps; sockets of equal ones are reused for
// each other.
type sockOpts struct {
	v6   bool
	from netip.Addr
	mark uint32
	dev  string
}

// NewPoller returns the Poller of this kernel, not open yet.
func NewPoller() Poller { return &epollPoller{idle: map[sockOpts][]int{}} }

func (s *epollPoller) Open() (err error) {
	s.used, s.until = nil, time.Time{}
	if s.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create", err)
	}
	if err = unix.SetNonblock(s.fd, true); err != nil { // so that NewFile registers it with the poller
		unix.Close(s.fd)
		return os.NewSyscallError("fcntl", err)
	}
	s.epoll = os.NewFile(uintptr(s.fd), "epoll")
	if s.raw, err = s.epoll.SyscallConn(); err == nil {
		err = s.epoll.SetReadDeadline(time.Time{}) // fails unless Go's poller has it
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

// Connect takes an idle socket, and a new one where connect(2) on that fails.
func (s *epollPoller) Connect(d *Dialer) (int, error) {
	name, err := d.rawSockaddr()
	if err != nil {
		return -1, err
	}
	b := sockOptsOf(d)
	if idle := s.idle[b]; len(idle) > 0 {
		fd := idle[len(idle)-1]
		s.idle[b] = idle[:len(idle)-1]
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
		if err = s.Watch(fd); err != nil {
			err = &outcome.LocalError{Err: err}
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockOptsOf(d *Dialer) sockOpts {
	return sockOpts{d.To.Addr().Is6(), d.From, d.Mark, d.Interface}
}

// Watch reports each change of a socket once (edge-triggered). An unconnected TCP
// socket would report one at once: call it after connect(2).
func (s *epollPoller) Watch(fd int) error {
	for len(s.used) <= fd {
		s.used = append(s.used, false)
	}
	s.used[fd] = true
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &e))
}

// ConnectError asks the socket itself: an error event may stem from the socket's
// former use.
func (s *epollPoller) ConnectError(fd int) (established bool, err error) {
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
		return false, unix.ECONNRESET // SO_ERROR was read before
	}
	return info.State != tcpSynSent, nil
}

// TCP states, from include/net/tcp_states.h.
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

// Release ends a connection, without a TIME_WAIT on this machine unless d says FIN (see
// Conn.Close). The socket of a connection that the server closed is closed instead of
// reset.
func (s *epollPoller) Release(d *Dialer, fd int, closed bool) {
	s.used[fd] = false
	closed = closed || d.FIN
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

// Wait polls at least once; with poll set, only once.
func (s *epollPoller) Wait(until time.Time, pollOnly bool) []Event {
	if !pollOnly && !s.woken.Swap(false) {
		if s.setTimer(until); s.raw.Read(func(uintptr) bool { return s.poll() }) == nil {
			return s.events_
		}
		s.epoll.SetReadDeadline(time.Time{}) // ended by Wake
		s.woken.Store(false)
	}
	s.poll()
	return s.events_
}

// setTimer sets the timer unless it is set to that time already.
func (s *epollPoller) setTimer(until time.Time) {
	if until.Equal(s.until) {
		return
	}
	s.until = until
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(s.mono + int64(until.Sub(s.base)))}
	if err := unix.TimerfdSettime(s.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic("timerfd_settime: " + err.Error()) // possible with invalid arguments only
	}
}

// poll collects the events of sockets that are in use, and reports whether a wait
// ends.
func (s *epollPoller) poll() bool {
	s.events_ = s.events_[:0]
	n, err := rawEvents(s.fd, s.events[:])
	if err != nil {
		return err == unix.EINTR // interrupted: poll again
	}
	expired := false
	for _, e := range s.events[:n] {
		fd := int(e.Fd)
		if fd == s.timer {
			expired, s.until = true, time.Time{}
			continue
		}
		if !s.used[fd] {
			continue
		}
		const ends = unix.EPOLLERR | unix.EPOLLHUP
		s.events_ = append(s.events_, Event{FD: fd, Readable: e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|ends) != 0,
			Writable: e.Events&(unix.EPOLLOUT|ends) != 0, Broken: e.Events&ends != 0})
	}
	return expired || len(s.events_) > 0 || n == len(s.events)
}

func (s *epollPoller) Wake() {
	if !s.woken.Swap(true) && s.opened.Load() {
		s.epoll.SetReadDeadline(time.Unix(1, 0))
	}
}
