// A look for messages of the connection synchronisation that come another way
// than the configured one: to another group or port, or by another interface.
// Nobody would ever hear them, the kernel's receiver as little as our own
// listener. It is a look of some seconds from time to time, while nothing arrives
// as it should; it sends nothing.

package connsync

import (
	"encoding/binary"
	"errors"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// capture is an open look.
type capture struct{ fd int }

// multicastUDP lets IPv4's UDP to multicast groups through, up to the bytes that
// are needed; all else ends in the kernel.
var multicastUDP = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 4},
	bpf.LoadAbsolute{Off: 16, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 224, SkipTrue: 2},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: 239, SkipTrue: 1},
	bpf.RetConstant{Val: readSize},
	bpf.RetConstant{Val: 0},
}

func hostToNetwork(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// openCapture listens on all interfaces. The one that is configured is told to
// take the messages of every group meanwhile.
func openCapture(device string) (*capture, error) {
	code, err := bpf.Assemble(multicastUDP)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	// Bound to a protocol only when the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, readSize*16),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: hostToNetwork(unix.ETH_P_IP)}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	if i, err := net.InterfaceByName(device); err == nil {
		_ = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_ALLMULTI})
	}
	return &capture{fd}, nil
}

func (l *capture) close() { unix.Close(l.fd) }

// heard answers the messages that came since it was asked last, of a bounded
// number of packets.
func (l *capture) heard() (all []Misdirected) {
	b := make([]byte, readSize)
	for range 64 {
		n, from, err := unix.Recvfrom(l.fd, b, 0)
		if err != nil {
			return all
		}
		way, ok := from.(*unix.SockaddrLinklayer)
		if !ok || way.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		s, ok := parseMisdirected(b[:n])
		if !ok {
			continue
		}
		if i, err := net.InterfaceByIndex(way.Ifindex); err == nil {
			s.Interface = i.Name
		}
		all = append(all, s)
	}
	return all
}
