package netpoll

import (
	"context"
	"fmt"
	"io"
	"lvsd/checker/outcome"
	"lvsd/checker/trace"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Dialer opens connections to one address, with one deadline for all that is done on
// them. It uses system calls directly: net.Dialer spends four more per connection
// (broadcast, no delay, both names), and system calls are most of a probe's cost.
type Dialer struct {
	To   netip.AddrPort
	From netip.Addr // source address; invalid: the kernel chooses
	Mark uint32     // SO_MARK; 0: none
	// Interface is bound to (SO_BINDTODEVICE), such as a VRF device; "": none. The raw
	// socket of a SYN scan is not.
	Interface string
	FIN       bool // connections are closed, not reset
}

// UnmappedWithZone returns an IPv4-mapped address as IPv4, with its port and zone.
func UnmappedWithZone(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Conn is a connected socket. It is a net.Conn for the TLS library.
type Conn struct {
	*os.File
	deadline  time.Time
	tracer    *trace.Tracer // records what is sent and received; nil: nothing is
	fin       bool
	stopWatch func() bool // ends the watch on the context
	eof       atomic.Bool // the server closed its side; atomic, as an HTTP/2 client reads in a goroutine of its own
}

// Connect connects by TCP. A nil Conn comes with the outcome.
func (d *Dialer) Connect(ctx context.Context, deadline time.Time) (*Conn, outcome.Outcome) {
	fd, connected, err := d.startConnect()
	if err != nil {
		return nil, outcome.FromError(outcome.PhaseConnect, err, "")
	}
	c := newConn(ctx, fd, deadline) // after connect(2): epoll reports an unconnected socket as ready
	c.fin = d.FIN
	if !connected {
		err = d.awaitConnect(c)
	}
	if err != nil {
		c.stopWatch()
		c.File.Close()
		return nil, outcome.FromError(outcome.PhaseConnect, err, "")
	}
	c.traceOpen(d.To)
	return c, outcome.Outcome{}
}

// ConnectDatagram opens a connected datagram or raw socket, which receives from the
// server only and reports ICMP errors. A datagram of length 0 is read as io.EOF.
func (d *Dialer) ConnectDatagram(ctx context.Context, deadline time.Time, kind, protocol int) (*Conn, outcome.Outcome) {
	fd, to, err := d.socket(kind, protocol)
	if err == nil && kind == unix.SOCK_DGRAM && protocol == 0 {
		if err = d.reportErrors(fd); err != nil {
			unix.Close(fd)
		}
	}
	if err == nil {
		if err = unix.Connect(fd, to); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, outcome.FromError(outcome.PhaseConnect, err, "")
	}
	c := newConn(ctx, fd, deadline)
	c.traceOpen(d.To)
	c.eof.Store(true) // Close sends no reset
	return c, outcome.Outcome{}
}

// reportErrors makes a UDP socket report every ICMP error, also that a host is
// unreachable, which the kernel takes for transient otherwise (udp_err, net/ipv4/udp.c).
func (d *Dialer) reportErrors(fd int) error {
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if d.To.Addr().Is6() {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return &outcome.LocalError{Err: fmt.Errorf("failed to receive ICMP errors: %w", err)}
	}
	return nil
}

// Detach leaves the socket open without deadline and context, for PendingError. Close
// still closes it; so does the garbage collector.
func (c *Conn) Detach() {
	c.stopWatch()
	c.SetDeadline(time.Time{})
}

// PendingError returns and clears the error that arrived for a datagram socket since it
// was last used; nil if none did.
func (c *Conn) PendingError() error {
	raw, err := c.File.SyscallConn()
	if err != nil {
		return err
	}
	pending := 0
	if e := raw.Control(func(fd uintptr) { pending, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) }); e != nil {
		return e
	}
	if err == nil && pending != 0 {
		err = unix.Errno(pending)
	}
	return err
}

// newConn returns a Conn that ends at the deadline and with ctx.
func newConn(ctx context.Context, fd int, deadline time.Time) *Conn {
	c := &Conn{File: os.NewFile(uintptr(fd), "probe"), deadline: deadline, tracer: trace.TracerOf(ctx)}
	c.SetDeadline(deadline)
	c.stopWatch = context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	return c
}

// startConnect opens a socket and sends the SYN.
func (d *Dialer) startConnect() (fd int, connected bool, err error) {
	fd, to, err := d.socket(unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, false, err
	}
	switch err = unix.Connect(fd, to); err {
	case nil:
		return fd, true, nil
	case unix.EINPROGRESS, unix.EINTR:
		return fd, false, nil
	}
	unix.Close(fd)
	return -1, false, err
}

// rawSockaddr returns the server's address for connect(2).
func (d *Dialer) rawSockaddr() (name rawSockaddr, err error) {
	zone := uint32(0)
	if d.To.Addr().Zone() != "" {
		if zone, err = zoneOf(d.To.Addr()); err != nil {
			return name, err
		}
	}
	return newRawSockaddr(d.To, zone), nil
}

// socket opens a socket with the options of the check.
func (d *Dialer) socket(kind, protocol int) (fd int, to unix.Sockaddr, err error) {
	if to, err = sockaddr(d.To); err != nil {
		return -1, nil, err
	}
	family := unix.AF_INET
	if d.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, nil, &outcome.LocalError{Err: err}
	}
	if err = d.setOptions(fd, kind); err != nil {
		unix.Close(fd)
		return -1, nil, &outcome.LocalError{Err: err}
	}
	return fd, to, nil
}

// setOptions sets the interface, the mark and the source address.
func (d *Dialer) setOptions(fd, kind int) error {
	if d.Interface != "" { // before bind(2): the source address is one of its VRF
		if err := unix.BindToDevice(fd, d.Interface); err != nil {
			return fmt.Errorf("failed to bind to interface %s: %w", d.Interface, err)
		}
	}
	if d.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(d.Mark)); err != nil {
			return fmt.Errorf("failed to set the firewall mark: %w", err)
		}
	}
	if !d.From.IsValid() {
		return nil
	}
	// Let connect(2) choose the port, not bind(2), so that a source address has all
	// its ports for each server.
	// A raw socket has no port, and one of IPv6 not even the option.
	if kind != unix.SOCK_RAW {
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fmt.Errorf("failed to set IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
	}
	from, err := sockaddr(netip.AddrPortFrom(d.From, 0))
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, from); err != nil {
		return fmt.Errorf("failed to bind to %v: %w", d.From, err)
	}
	return nil
}

// awaitConnect waits for the handshake. A second connect(2) returns what SO_ERROR would,
// and EALREADY after a spurious wake-up. The first one must come before the wait:
// Write discards earlier readiness, so a handshake that is complete by then would be
// waited for until the deadline.
func (d *Dialer) awaitConnect(c *Conn) error {
	raw, err := c.File.SyscallConn()
	if err != nil {
		return err
	}
	to, err := sockaddr(d.To)
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		result = unix.Connect(int(fd), to)
		return result != unix.EALREADY && result != unix.EINPROGRESS && result != unix.EINTR
	})
	if err != nil {
		return err
	}
	if result == unix.EISCONN {
		return nil
	}
	return result
}

// LocalAddrPort returns the local address of the connection.
func (c *Conn) LocalAddrPort() (from netip.AddrPort, err error) {
	raw, err := c.File.SyscallConn()
	if err != nil {
		return from, err
	}
	var sa unix.Sockaddr
	if e := raw.Control(func(fd uintptr) { sa, err = unix.Getsockname(int(fd)) }); e != nil {
		err = e
	}
	return addrPort(sa), err
}

// addrPort converts a socket address, without its zone.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// SetReadLimit moves the deadline, unless ctx has ended: that set one in the past.
func (c *Conn) SetReadLimit(ctx context.Context, t time.Time) {
	c.SetDeadline(t)
	if ctx.Err() != nil {
		c.SetDeadline(time.Unix(1, 0))
	}
}

// SendDatagram sends one datagram, which may be empty: File.Write would send none.
func (c *Conn) SendDatagram(b []byte) error {
	if len(b) > 0 {
		_, err := c.Write(b)
		return err
	}
	raw, err := c.File.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = unix.Send(int(fd), nil, 0) }); e != nil {
		return e
	}
	return err
}

// Read records the data, and whether the server closed its side.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.File.Read(b)
	c.tracer.Bytes(outcome.PhaseReceive, b[:max(n, 0)])
	if err == io.EOF {
		c.eof.Store(true)
	}
	return n, err
}

// Write records the data.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.File.Write(b)
	c.tracer.Bytes(outcome.PhaseSend, b[:max(n, 0)])
	return n, err
}

// traceOpen records the addresses of the connection.
func (c *Conn) traceOpen(to netip.AddrPort) {
	if c.tracer == nil {
		return
	}
	from, _ := c.LocalAddrPort()
	c.tracer.Note(outcome.PhaseConnect, "%v to %v", from, to)
}

// AwaitClose waits at most CloseDelay for the server to close its side.
func (c *Conn) AwaitClose() { c.AwaitEnd(c) }

// AwaitEnd reads from r, which is c or TLS on it, until the server closes its side, at
// most for CloseDelay.
func (c *Conn) AwaitEnd(r io.Reader) {
	if limit := time.Now().Add(CloseDelay); limit.Before(c.deadline) {
		c.SetReadDeadline(limit)
	}
	for _, r := range []io.Reader{r, c} { // TLS ends before its connection
		_, _ = io.Copy(io.Discard, io.LimitReader(r, maxTrailing)) // whatever ends it
	}
}

// Close ends the connection. One that the server has not closed is reset unless the Dialer
// says FIN: an ordinary close leaves a TIME_WAIT on this machine for a minute, sixty
// thousand of them at a thousand probes a second, against a limit (tcp_max_tw_buckets)
// that is shared. The price is that a server's log may report a reset instead of a client
// that went away.
func (c *Conn) Close() error {
	c.stopWatch()
	if !c.eof.Load() && !c.fin {
		if raw, err := c.File.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) {
				unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			})
		}
	}
	return c.File.Close()
}

// LocalAddr exists for net.Conn only.
func (c *Conn) LocalAddr() net.Addr { return noAddr }

// RemoteAddr exists for net.Conn only.
func (c *Conn) RemoteAddr() net.Addr { return noAddr }

var noAddr net.Addr = &net.TCPAddr{}

// sockaddr converts an address for connect(2) and bind(2). The zone of a link-local
// address is looked up each time, as interfaces come and go.
func sockaddr(ap netip.AddrPort) (unix.Sockaddr, error) {
	a := ap.Addr()
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: a.As4()}, nil
	}
	zone, err := zoneOf(a)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: a.As16(), ZoneId: zone}, nil
}

// zoneOf returns the interface index of a link-local address, 0 if it has no zone.
func zoneOf(a netip.Addr) (uint32, error) {
	zone := a.Zone()
	if zone == "" {
		return 0, nil
	}
	if index, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(index), nil
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", zone, unix.ENODEV)
	}
	return uint32(ifi.Index), nil
}

// DetachTracer ends the tracing of c and returns its tracer, nil if it had none: the
// records of TLS are of no use to a reader, the plain text is traced above them.
func (c *Conn) DetachTracer() *trace.Tracer {
	t := c.tracer
	c.tracer = nil
	return t
}
