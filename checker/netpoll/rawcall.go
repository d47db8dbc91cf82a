// This file makes the system calls of the loop's sockets without telling Go's
// scheduler. They never wait (the sockets do not block), yet a connect or a reset
// goes through the whole network stack, and where the server is a neighbour on the
// same kernel, through the server's too. Of a call that it was told of and that
// lasts longer than 20 µs, the scheduler thinks that it blocks, and wakes another
// thread, which costs more than the call.

package netpoll

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSockaddr is a struct sockaddr_in or sockaddr_in6; its zero value is of no family.
type rawSockaddr struct {
	b [unix.SizeofSockaddrInet6]byte
	n uint32
}

// disconnected disconnects what is connected to it (connect(2), AF_UNSPEC).
var disconnected = rawSockaddr{n: unix.SizeofSockaddrInet4}

func newRawSockaddr(ap netip.AddrPort, zone uint32) (name rawSockaddr) {
	b := &name.b
	binary.BigEndian.PutUint16(b[2:], ap.Port())
	if a := ap.Addr(); a.Is4() {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET)
		*(*[4]byte)(b[4:]) = a.As4()
		name.n = unix.SizeofSockaddrInet4
	} else {
		binary.NativeEndian.PutUint16(b[:], unix.AF_INET6)
		*(*[16]byte)(b[8:]) = a.As16()
		binary.NativeEndian.PutUint32(b[24:], zone)
		name.n = unix.SizeofSockaddrInet6
	}
	return name
}

// clearPort leaves the port out.
func (n *rawSockaddr) clearPort() { n.b[2], n.b[3] = 0, 0 }

// addrPort is the address in a name that the kernel wrote, without a zone.
func (n *rawSockaddr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(n.b[2:])
	switch binary.NativeEndian.Uint16(n.b[:]) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n.b[4:8])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(n.b[8:24])), port)
	}
	return netip.AddrPort{}
}

// rawConnect is connect(2).
func rawConnect(fd int, to *rawSockaddr) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&to.b)), uintptr(to.n))
	return errorOf(errno)
}

// rawRead is read(2).
func rawRead(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != unix.EINTR {
			return counted(n, errno)
		}
	}
}

// rawWrite is send(2) without a signal.
func rawWrite(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return counted(n, errno)
		}
	}
}

// rawEvents is epoll_pwait(2) that does not wait.
func rawEvents(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return counted(n, errno)
}

// rawMessage is a struct mmsghdr.
type rawMessage struct {
	unix.Msghdr
	n uint32 // bytes that were sent or received
}

// rawSend is sendmmsg(2); it says how many messages were sent.
func rawSend(fd int, all []rawMessage) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(all))), uintptr(len(all)), unix.MSG_NOSIGNAL, 0, 0)
	return counted(n, errno)
}

// rawReceive is recvmmsg(2); it says how many messages came.
func rawReceive(fd int, all []rawMessage) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(all))), uintptr(len(all)), unix.MSG_DONTWAIT, 0, 0)
	return counted(n, errno)
}

func counted(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func errorOf(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}
