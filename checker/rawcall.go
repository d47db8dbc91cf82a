// This file makes the system calls of a probe's socket without telling Go's
// scheduler: they do not wait (the socket is nonblocking), yet a connect or a
// reset goes through the whole network stack, and on a slow machine, or where the
// server is a neighbour on the same kernel, the server's too. A call that lasts
// longer than 20 µs makes the scheduler give the processor to another thread, and
// that costs more than the call.

package checker

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSocket is socket(2).
func rawSocket(family, kind, protocol int) (int, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), uintptr(kind), uintptr(protocol))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// rawConnect is connect(2).
func rawConnect(fd int, to unix.Sockaddr) error {
	var b [unix.SizeofSockaddrInet6]byte
	n := encodeSockaddr(&b, to)
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&b)), uintptr(n))
	if errno != 0 {
		return errno
	}
	return nil
}

// rawRead is read(2).
func rawRead(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// rawWrite is send(2) without a signal.
func rawWrite(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// rawSend is sendmsg(2) of one datagram with control messages.
func rawSend(fd int, b, control []byte, to unix.Sockaddr) error {
	var name [unix.SizeofSockaddrInet6]byte
	part := unix.Iovec{Base: unsafe.SliceData(b)}
	part.SetLen(len(b))
	m := unix.Msghdr{Name: &name[0], Namelen: uint32(encodeSockaddr(&name, to)), Iov: &part, Control: unsafe.SliceData(control)}
	m.SetIovlen(1)
	m.SetControllen(len(control))
	if _, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&m)), 0); errno != 0 {
		return errno
	}
	return nil
}

// rawAbort is connect(2) to nowhere: a TCP connection is reset, and forgotten on
// this machine (tcp_disconnect in net/ipv4/tcp.c).
func rawAbort(fd int) {
	var nowhere [unix.SizeofSockaddrInet6]byte // of family AF_UNSPEC
	unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nowhere)), uintptr(len(nowhere)))
}

// encodeSockaddr writes struct sockaddr_in or sockaddr_in6, and says its length.
func encodeSockaddr(b *[unix.SizeofSockaddrInet6]byte, to unix.Sockaddr) int {
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
		binary.BigEndian.PutUint16(b[2:], uint16(to.Port))
		copy(b[4:], to.Addr[:])
		return unix.SizeofSockaddrInet4
	case *unix.SockaddrInet6:
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET6)
		binary.BigEndian.PutUint16(b[2:], uint16(to.Port))
		copy(b[8:], to.Addr[:])
		binary.NativeEndian.PutUint32(b[24:], to.ZoneId)
		return unix.SizeofSockaddrInet6
	}
	return 0
}
