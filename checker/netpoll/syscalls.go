package netpoll

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of this file bypass the scheduler (RawSyscall). They never block,
// as the sockets do not, yet connect(2) or a reset runs through the whole network
// stack, and through that of the server where it is on the same kernel. If such a call
// lasts longer than 20 µs, the scheduler takes it for blocked and starts another
// thread, which costs more than the call.
//
// rawSockaddr is a struct sockaddr_in or sockaddr_in6; its zero value is AF_UNSPEC.
type rawSockaddr struct {
	b [unix.SizeofSockaddrInet6]byte
	n uint32
}

// disconnected dissolves a connection (connect(2), AF_UNSPEC).
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

// clearPort sets the port to 0.
func (n *rawSockaddr) clearPort() { n.b[2], n.b[3] = 0, 0 }

// addrPort returns an address that the kernel wrote, without a zone.
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

// rawWrite is send(2) with MSG_NOSIGNAL.
func rawWrite(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return counted(n, errno)
		}
	}
}

// rawEvents is epoll_pwait(2) with a timeout of 0.
func rawEvents(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	return counted(n, errno)
}

// rawMessage is a struct mmsghdr.
type rawMessage struct {
	unix.Msghdr
	n uint32 // bytes that were sent or received
}

// rawSend is sendmmsg(2); it returns how many messages were sent.
func rawSend(fd int, all []rawMessage) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(all))), uintptr(len(all)), unix.MSG_NOSIGNAL, 0, 0)
	return counted(n, errno)
}

// rawReceive is recvmmsg(2); it returns how many messages were received.
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
