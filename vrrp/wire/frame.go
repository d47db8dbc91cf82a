// Adverts from a virtual MAC address: complete Ethernet frames to the multicast
// group, which needs no neighbour resolution.

package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"

	"lvsd/vrrp/checksum"

	"golang.org/x/sys/unix"
)

// framer sends frames from one MAC and one IP address.
type framer struct {
	file   *os.File
	raw    rawConn
	mac    net.HardwareAddr
	source netip.Addr
	index  int
	frame  []byte // reused
}

// openFramer opens a packet socket for sending; protocol 0 receives nothing.
func openFramer(name string, index int, source netip.Addr, mac net.HardwareAddr) (*framer, error) {
	if len(mac) != 6 {
		return nil, fmt.Errorf("failed to open the VRRP socket on %s: %v is not a MAC address to send from", name, mac)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, openError(name, "packet socket", err)
	}
	file := os.NewFile(uintptr(fd), "vrrp-frames:"+name)
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, openError(name, "poll", err)
	}
	return &framer{file: file, raw: raw, mac: mac, source: source, index: index}, nil
}

// send is [Conn.Send] for the multicast group.
func (f *framer) send(to netip.Addr, message []byte) error {
	f.frame = appendFrame(f.frame[:0], f.mac, f.source, to, message)
	address := &unix.SockaddrLinklayer{Ifindex: f.index, Halen: 6}
	var failed error
	err := f.raw.Control(func(fd uintptr) {
		failed = unix.Sendto(int(fd), f.frame, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, address)
	})
	if err != nil {
		return err
	}
	return failed
}

// appendFrame appends an Ethernet frame with a message to a multicast group.
func appendFrame(b []byte, mac net.HardwareAddr, from, to netip.Addr, message []byte) []byte {
	if from.Is6() {
		all := to.As16()
		b = append(b, 0x33, 0x33, all[12], all[13], all[14], all[15]) // RFC 2464 §7
		b = append(b, mac...)
		b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
		b = append(b, 0x60|trafficClass>>4, trafficClass<<4&0xff, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(len(message)))
		b = append(b, Protocol, 255)
		source := from.As16()
		b = append(append(b, source[:]...), all[:]...)
		return append(b, message...)
	}
	group := to.As4()
	b = append(b, 0x01, 0x00, 0x5e, group[1]&0x7f, group[2], group[3]) // RFC 1112 §6.4
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	header := len(b)
	b = append(b, 0x45, trafficClass)
	b = binary.BigEndian.AppendUint16(b, uint16(20+len(message)))
	b = append(b, 0, 0, 0x40, 0, 255, Protocol, 0, 0) // not fragmented, so the identification is 0: RFC 6864 §4.1
	source := from.As4()
	b = append(append(b, source[:]...), group[:]...)
	binary.BigEndian.PutUint16(b[header+10:], ^checksum.Fold(checksum.Add(0, b[header:])))
	return append(b, message...)
}
