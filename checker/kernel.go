// This file is the loop's edge to the kernel: sockets that do not block, known by
// their descriptors, and one place where news of all of them come in. It never
// decides what news mean.
//
// A socket is used again: after a probe it is disconnected, which resets the
// connection and leaves a socket that may connect anew, from another port. So it
// is made, told to the kernel's poller and given its options once, and a connect
// probe is two system calls of its own. docs/decisions/ has the reasons.

package checker

import (
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernel is what the loop asks of the kernel. No method but wait waits, and only
// kick may be called from beside the loop.
type kernel interface {
	open() error                                  // before all others but kick
	connect(d *dialer) (fd int, err error)        // begins a handshake
	failure(fd int) (stands bool, err error)      // what broke a connection; nil: nothing did
	read(fd int, b []byte) (int, error)           // EAGAIN: there is nothing yet
	write(fd int, b []byte) (int, error)          // likewise
	local(fd int) (netip.AddrPort, error)         // our own address of a connection
	release(d *dialer, fd int, closed bool)       // ends a connection; closed: the server did already
	watch(fd int) error                           // another socket, of which there is to be news
	wait(until time.Time, look bool) (all []news) // until there is news, or a kick, or it is time
	kick()                                        // ends a wait
	close()
}

// news is what happened to a socket: it may have been nothing.
type news struct {
	fd                         int
	readable, writable, broken bool
}

// idleMost is how many sockets wait for their next use; the others are closed.
const idleMost = 256

// system is the kernel that there is.
type system struct {
	epoll  *os.File // Go's own poller looks after it: waiting holds no thread
	raw    syscall.RawConn
	fd     int
	events [256]unix.EpollEvent
	found  []news
	used   []bool // by descriptor: news of others are left-overs
	idle   map[bond][]int
	idling int

	timer  int       // a timerfd: Go's own timers read the clock four times for each wait
	until  time.Time // what it is set to; zero: it may not ring
	base   time.Time
	mono   int64 // CLOCK_MONOTONIC at base, ns
	kicked atomic.Bool
	opened atomic.Bool
}

// bond is what a socket is bound to for good.
type bond struct {
	v6   bool
	from netip.Addr
	mark uint32
}

func newSystem() *system { return &system{idle: map[bond][]int{}} }

func (s *system) open() (err error) {
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

func (s *system) openTimer() (err error) {
	if s.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	var now unix.Timespec
	if err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		s.base, s.mono = time.Now(), now.Nano()
		err = s.watch(s.timer)
	}
	if err != nil {
		unix.Close(s.timer)
	}
	return err
}

func (s *system) close() {
	for _, all := range s.idle {
		for _, fd := range all {
			unix.Close(fd)
		}
	}
	s.idle, s.idling = map[bond][]int{}, 0
	s.opened.Store(false)
	unix.Close(s.timer)
	s.epoll.Close()
}

// connect begins with a used socket; what that one refuses is asked of a new one.
func (s *system) connect(d *dialer) (int, error) {
	name, err := d.name()
	if err != nil {
		return -1, err
	}
	b := bondOf(d)
	if free := s.idle[b]; len(free) > 0 {
		fd := free[len(free)-1]
		s.idle[b] = free[:len(free)-1]
		s.idling--
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
		err = s.watch(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func bondOf(d *dialer) bond { return bond{d.to.Addr().Is6(), d.from, d.mark} }

// watch asks for news of each change once. Of a TCP socket that is not connected
// there would be one at once: watch comes after connect.
func (s *system) watch(fd int) error {
	for len(s.used) <= fd {
		s.used = append(s.used, false)
	}
	s.used[fd] = true
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, fd, &e))
}

// failure asks the socket itself: news of an error may be of its former use, which
// ended in one, and say nothing of the connection that it makes now.
func (s *system) failure(fd int) (stands bool, err error) {
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

func (s *system) read(fd int, b []byte) (int, error)  { return rawRead(fd, b) }
func (s *system) write(fd int, b []byte) (int, error) { return rawWrite(fd, b) }

func (s *system) local(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	return addrPort(sa), err
}

// release ends a connection without a trace on this machine: see conn.Close. A
// connection that the server closed is closed too, and not reset.
func (s *system) release(d *dialer, fd int, closed bool) {
	s.used[fd] = false
	if closed || s.idling >= idleMost || rawConnect(fd, &disconnected) != nil {
		if !closed {
			unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		unix.Close(fd)
		return
	}
	b := bondOf(d)
	s.idle[b] = append(s.idle[b], fd)
	s.idling++
}

// wait looks once at least; with look, no more than that.
func (s *system) wait(until time.Time, look bool) []news {
	if !look && !s.kicked.Swap(false) {
		if s.set(until); s.raw.Read(func(uintptr) bool { return s.look() }) == nil {
			return s.found
		}
		s.epoll.SetReadDeadline(time.Time{}) // it was a kick
		s.kicked.Store(false)
	}
	s.look()
	return s.found
}

// set sets the timer, where it is not set already.
func (s *system) set(until time.Time) {
	if until.Equal(s.until) {
		return
	}
	s.until = until
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(s.mono + int64(until.Sub(s.base)))}
	if err := unix.TimerfdSettime(s.timer, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		panic("timerfd_settime: " + err.Error()) // the kernel knows no reason
	}
}

// look gathers the news of sockets that are in use, and says whether there is a
// reason to end a wait.
func (s *system) look() bool {
	s.found = s.found[:0]
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
		s.found = append(s.found, news{fd: fd, readable: e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|ends) != 0,
			writable: e.Events&(unix.EPOLLOUT|ends) != 0, broken: e.Events&ends != 0})
	}
	return rang || len(s.found) > 0 || n == len(s.events)
}

func (s *system) kick() {
	if !s.kicked.Swap(true) && s.opened.Load() {
		s.epoll.SetReadDeadline(time.Unix(1, 0))
	}
}
