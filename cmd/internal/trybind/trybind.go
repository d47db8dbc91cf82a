package trybind

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// TCP returns the error that listening on an address would fail with, nil if it would
// succeed. The address is bound, without a listener, with SO_REUSEADDR as package net
// does: then another socket can be bound to it and listen (tcp(7), socket(7)).
func TCP(address string) error {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return err
	}
	fail := func(call string, err error) error {
		return &net.OpError{Op: "listen", Net: "tcp", Addr: a, Err: os.NewSyscallError(call, err)}
	}
	family, sa := unix.AF_INET, unix.Sockaddr(nil)
	ip4 := a.IP.To4()
	if ip4 != nil {
		sa = &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip4)}
	} else {
		v6 := &unix.SockaddrInet6{Port: a.Port}
		copy(v6.Addr[:], a.IP.To16())
		if a.Zone != "" {
			link, err := net.InterfaceByName(a.Zone)
			if err != nil {
				return err
			}
			v6.ZoneId = uint32(link.Index)
		}
		family, sa = unix.AF_INET6, v6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && a.IP == nil {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: a.Port}
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return fail("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail("setsockopt", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return fail("bind", err)
	}
	return nil
}
