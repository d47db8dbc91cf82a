package measure

import (
	"bytes"
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

const served = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

// Serve replies to each request of HTTP on a listener until the other descriptor is readable
// or closed; -1: for ever. It is one loop with as few system calls as possible, so that it
// is not the bottleneck: what is measured shares the processor with it.
func Serve(l, until int) error {
	runtime.LockOSThread()
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	for _, fd := range []int{l, until} {
		if fd < 0 {
			continue
		}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, 512)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); fd {
			case until:
				return nil
			case l:
				accept(epoll, l)
			default:
				answer(fd)
			}
		}
	}
}

// Listen returns a TCP listener on all addresses of IPv4; port 0: any.
func Listen(at int) (fd, port int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0); err != nil {
		return 0, 0, err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Port: at}); err != nil {
		return 0, 0, err
	}
	if err = unix.Listen(fd, 4096); err != nil {
		return 0, 0, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, 0, err
	}
	return fd, bound.(*unix.SockaddrInet4).Port, nil
}

func accept(epoll, l int) {
	for {
		fd, _, err := unix.Accept4(l, unix.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		if answer(fd) { // no data yet
			unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)})
		}
	}
}

// answer responds to a request and closes the connection. It returns true if there is no
// request yet.
func answer(fd int) (waits bool) {
	var request [1024]byte
	n, err := unix.Read(fd, request[:])
	if errors.Is(err, unix.EAGAIN) {
		return true
	}
	if n > 0 && bytes.HasPrefix(request[:n], []byte("GET /hang")) {
		return true
	}
	if n > 0 {
		unix.Write(fd, []byte(served))
	}
	unix.Close(fd)
	return false
}
