// Captures of a host's device: the frames that the host sends and receives, for
// assertions on adverts and gratuitous ARP.

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// captureLimit bounds a capture; later frames are counted in Dropped.
const captureLimit = 100_000

// Frame is one Ethernet frame as the host's device saw it.
type Frame struct {
	At       time.Time // when the kernel saw it
	Outgoing bool      // the host sent it
	Src, Dst net.HardwareAddr
	Type     uint16 // EtherType
	Payload  []byte // after the Ethernet header
}

// ARP is the content of an ARP packet for IPv4 over Ethernet.
type ARP struct {
	Op                 uint16 // 1 request, 2 reply
	SenderMAC, Target  net.HardwareAddr
	SenderIP, TargetIP netip.Addr
}

// ARP reads the frame as ARP.
func (f Frame) ARP() (ARP, bool) {
	b := f.Payload
	if f.Type != unix.ETH_P_ARP || len(b) < 28 || binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP {
		return ARP{}, false
	}
	return ARP{
		Op:        binary.BigEndian.Uint16(b[6:]),
		SenderMAC: net.HardwareAddr(b[8:14]),
		SenderIP:  netip.AddrFrom4([4]byte(b[14:18])),
		Target:    net.HardwareAddr(b[18:24]),
		TargetIP:  netip.AddrFrom4([4]byte(b[24:28])),
	}, true
}

// GratuitousARP reports whether the frame announces addr as its sender's own.
func (f Frame) GratuitousARP(addr netip.Addr) bool {
	a, ok := f.ARP()
	return ok && a.SenderIP == addr && a.TargetIP == addr
}

// IP is the content of an IPv4 or IPv6 packet, as far as assertions need it.
type IP struct {
	Src, Dst netip.Addr
	Protocol uint8 // for IPv6 the first next header
	TTL      uint8
	Payload  []byte
}

// IP reads the frame as IPv4 or IPv6.
func (f Frame) IP() (IP, bool) {
	b := f.Payload
	switch {
	case f.Type == unix.ETH_P_IP && len(b) >= 20:
		head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if head < 20 || total < head || total > len(b) {
			return IP{}, false
		}
		return IP{
			Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20])),
			Protocol: b[9], TTL: b[8], Payload: b[head:total],
		}, true
	case f.Type == unix.ETH_P_IPV6 && len(b) >= 40:
		total := 40 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return IP{}, false
		}
		return IP{
			Src: netip.AddrFrom16([16]byte(b[8:24])), Dst: netip.AddrFrom16([16]byte(b[24:40])),
			Protocol: b[6], TTL: b[7], Payload: b[40:total],
		}, true
	}
	return IP{}, false
}

// VRRP reports whether the frame is a VRRP advert, and returns its packet.
func (f Frame) VRRP() (IP, bool) {
	ip, ok := f.IP()
	return ip, ok && ip.Protocol == 112
}

// Capture collects frames until Stop.
type Capture struct {
	filter func(Frame) bool
	file   *os.File
	done   chan struct{}

	mu      sync.Mutex
	frames  []Frame
	dropped int
}

// Capture starts listening on a device of the host; the filter (nil for all)
// chooses what is kept, up to 100,000 frames. It ends with Stop or with the lab.
func (h *Host) Capture(dev string, filter func(Frame) bool) *Capture {
	h.lab.tb.Helper()
	c := &Capture{filter: filter, done: make(chan struct{})}
	var fd int
	err := h.ns.do(func() (err error) {
		ifi, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		// Protocol 0 first: nothing is received before the socket is bound to its device.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index})
	})
	if err != nil && fd > 0 {
		unix.Close(fd)
	}
	h.lab.must(err, "listen on %s of %s", dev, h.Name)
	c.file = os.NewFile(uintptr(fd), fmt.Sprintf("capture on %s of %s", dev, h.Name))
	go c.read()
	h.lab.onClose(func() { c.Stop() })
	return c
}

func (c *Capture) read() {
	defer close(c.done)
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	buf, control := make([]byte, 1<<16), make([]byte, 64)
	for {
		var n, cn int
		var from unix.Sockaddr
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			n, cn, _, from, rerr = unix.Recvmsg(int(fd), buf, control, 0)
			return !errors.Is(rerr, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if rerr != nil || !ok || n < 14 {
			if errors.Is(rerr, unix.ENETDOWN) || rerr == nil || errors.Is(rerr, unix.EINTR) {
				continue
			}
			return
		}
		b := append([]byte(nil), buf[:n]...)
		f := Frame{
			At: stamp(control[:cn]), Outgoing: ll.Pkttype == unix.PACKET_OUTGOING,
			Dst: b[0:6], Src: b[6:12], Type: binary.BigEndian.Uint16(b[12:]), Payload: b[14:],
		}
		if c.filter != nil && !c.filter(f) {
			continue
		}
		c.mu.Lock()
		if len(c.frames) < captureLimit {
			c.frames = append(c.frames, f)
		} else {
			c.dropped++
		}
		c.mu.Unlock()
	}
}

// stamp is the kernel's time of a frame: this process may read it much later.
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	for _, m := range messages {
		if err == nil && m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
		}
	}
	return time.Now()
}

// Frames are those kept so far.
func (c *Capture) Frames() []Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Frame(nil), c.frames...)
}

// Count is the number of frames kept so far for which match holds (nil: all).
func (c *Capture) Count(match func(Frame) bool) int {
	n := 0
	for _, f := range c.Frames() {
		if match == nil || match(f) {
			n++
		}
	}
	return n
}

// Dropped counts frames that came after the capture was full.
func (c *Capture) Dropped() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Stop ends the capture and returns its frames; it may be called twice.
func (c *Capture) Stop() []Frame {
	c.file.Close()
	<-c.done
	return c.Frames()
}
