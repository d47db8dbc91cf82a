// A capture of messages that go to another group, port or interface than the configured
// one: no socket of this host receives those. It lasts a few seconds and is repeated
// while no message arrives as configured.

package connsync

import (
	"encoding/binary"
	"errors"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// capture is an open packet socket.
type capture struct{ fd int }

// multicastUDP passes UDP over IPv4 to multicast groups, cut to readSize.
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

// openCapture captures on all interfaces. The configured one receives all multicast
// groups as long as the socket is open.
func openCapture(device string) (*capture, error) {
	code, err := bpf.Assemble(multicastUDP)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	// Bound to a protocol only after the filter is attached.
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

func (c *capture) close() { unix.Close(c.fd) }

// read returns the messages since the last call, from at most 64 packets.
func (c *capture) read() (all []Misdirected) {
	b := make([]byte, readSize)
	for range 64 {
		n, from, err := unix.Recvfrom(c.fd, b, 0)
		if err != nil {
			return all
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		s, ok := parseMisdirected(b[:n])
		if !ok {
			continue
		}
		if i, err := net.InterfaceByIndex(link.Ifindex); err == nil {
			s.Interface = i.Name
		}
		all = append(all, s)
	}
	return all
}
