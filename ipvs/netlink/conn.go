// One generic netlink socket with a deadline for each request. It knows nothing of IPVS.

package netlink

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errNoReply means that a reply is outstanding. The socket must be closed: a late reply
// would be taken for that of the next request.
var errNoReply = errors.New("the kernel did not reply in time")

// conn is not safe for concurrent use.
type conn struct {
	fd      int
	seq     uint32
	port    uint32
	timeout time.Duration
	buf     []byte
}

// dialNetlink opens a socket. A request ends within about twice the timeout after the
// last message of its reply.
func dialNetlink(timeout time.Duration) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &conn{fd: fd, timeout: timeout, buf: make([]byte, 64<<10)}
	tv := unix.NsecToTimeval(int64(timeout))
	if err := errors.Join(
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv),
	); err != nil {
		c.close()
		return nil, fmt.Errorf("failed to set up a netlink socket: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		c.close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	c.port = name.(*unix.SockaddrNetlink).Pid
	return c, nil
}

func (c *conn) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// request sends one command and calls each for every message of the reply, which starts
// with the generic netlink header and is valid only during the call. An error of the
// kernel is returned as its errno. After errNoReply the socket must be closed.
func (c *conn) request(family uint16, cmd uint8, flags uint16, attrs []byte, each func([]byte) error) error {
	c.seq++
	if err := c.write(encodeMessage(family, cmd, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK, c.seq, c.port, attrs)); err != nil {
		return err
	}
	// The socket's timeout ends the wait. Signals, and messages that are not our reply,
	// start a deadline besides; the clock is not read before, because that can cost as
	// much as the request.
	var deadline time.Time
	late := func() bool {
		if deadline.IsZero() {
			deadline = time.Now().Add(c.timeout)
			return false
		}
		return time.Now().After(deadline)
	}
	var failed error
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR && !late():
			continue
		case err == unix.EAGAIN || err == unix.EINTR:
			return errNoReply
		case err != nil:
			return fmt.Errorf("%w: recvfrom: %v", errNoReply, err)
		case n > len(c.buf):
			return fmt.Errorf("%w: message of %d bytes", errNoReply, n)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not from the kernel
		}
		done, ours, err := c.messages(c.buf[:n], &failed, each)
		if done || err != nil {
			return errors.Join(err, failed)
		}
		if ours {
			deadline = time.Time{}
		} else if late() {
			return errNoReply
		}
	}
}

// messages parses one datagram. An error of each is kept in failed, and the rest of the
// reply is still read from the socket.
func (c *conn) messages(b []byte, failed *error, each func([]byte) error) (done, ours bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		n := int(native.Uint32(b))
		if n < unix.SizeofNlMsghdr || n > len(b) {
			return false, ours, fmt.Errorf("%w: malformed message", errNoReply)
		}
		typ, seq, port := native.Uint16(b[4:]), native.Uint32(b[8:]), native.Uint32(b[12:])
		payload := b[unix.SizeofNlMsghdr:n]
		b = b[min(align(n), len(b)):]
		if seq != c.seq || port != c.port {
			continue // reply to an earlier request
		}
		ours = true
		switch typ {
		case unix.NLMSG_NOOP:
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if len(payload) >= 4 {
				if errno := int32(native.Uint32(payload)); errno != 0 {
					return true, ours, unix.Errno(-errno)
				}
			}
			return true, ours, nil
		default:
			if *failed == nil && each != nil {
				*failed = each(payload)
			}
		}
	}
	return false, ours, nil
}

func (c *conn) write(b []byte) error {
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		}
		return fmt.Errorf("%w: sendto: %v", errNoReply, err)
	}
}

// familyID returns the number of a generic netlink family, ENOENT if no module has
// registered it.
func (c *conn) familyID(name string) (uint16, error) {
	var id uint16
	err := c.request(ctrlFamily, ctrlGetFamily, 0, appendString(nil, ctrlFamilyName, name), func(msg []byte) error {
		top, err := decodeTop(msg)
		id = uint16(top[ctrlFamilyID])
		return err
	})
	if err == nil && id == 0 {
		err = unix.ENOENT
	}
	return id, err
}

// encodeMessage returns the netlink and generic netlink headers followed by attrs.
func encodeMessage(family uint16, cmd uint8, flags uint16, seq, port uint32, attrs []byte) []byte {
	n := unix.SizeofNlMsghdr + genlHeader + len(attrs)
	b := make([]byte, 0, n)
	b = native.AppendUint32(b, uint32(n))
	b = native.AppendUint16(b, family)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, seq)
	b = native.AppendUint32(b, port)
	b = append(b, cmd, genlVersion, 0, 0)
	return append(b, attrs...)
}
