// This file is TCP's header on the wire (RFC 9293 §3.1), as far as half a
// handshake needs it. It never opens a socket.
//
// PURE.
package netpoll

import (
	"encoding/binary"
	"lvsd/checker/outcome"
	"net/netip"
)

const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// appendSYN appends a SYN with the usual maximum segment size. The checksum is
// there for IPv4 alone: of IPv6 the kernel makes it.
func appendSYN(head []byte, from netip.Addr, port uint16, to netip.AddrPort, sequence uint32) []byte {
	all := append(head, make([]byte, 24)...)
	b := all[len(head):]
	binary.BigEndian.PutUint16(b, port)
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], sequence)
	b[12], b[13] = byte(len(b)/4)<<4, flagSYN
	binary.BigEndian.PutUint16(b[14:], 64240) // the window
	mss := uint16(1460)
	if to.Addr().Is6() {
		mss = 1440
	}
	b[20], b[21] = 2, 4
	binary.BigEndian.PutUint16(b[22:], mss)
	if to.Addr().Is4() {
		source, destination := from.As4(), to.Addr().As4()
		pseudo := append(make([]byte, 0, 36), source[:]...)
		pseudo = append(append(pseudo, destination[:]...), 0, 6, 0, byte(len(b)))
		binary.BigEndian.PutUint16(b[16:], internetChecksum(append(pseudo, b...)))
	}
	return all
}

// segment is what is read of a TCP header.
type segment struct {
	from, to uint16
	ack      uint32
	flags    byte
}

// parseSegment takes a header apart; with an IPv4 header in front of it, that is
// passed over.
func parseSegment(b []byte, header bool) (s segment, ok bool) {
	if header {
		if len(b) < 20 || b[0]>>4 != 4 || int(b[0]&15) < 5 || int(b[0]&15)*4 > len(b) {
			return s, false
		}
		b = b[int(b[0]&15)*4:]
	}
	if len(b) < 20 {
		return s, false
	}
	return segment{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:]), b[13]}, true
}

// reply says what a segment answers to a SYN: OK, Refused, or nothing ("").
func (s segment) reply(sequence uint32) outcome.Reason {
	switch {
	case s.ack != sequence+1 || s.flags&flagACK == 0:
		return ""
	case s.flags&flagRST != 0:
		return outcome.Refused
	case s.flags&flagSYN != 0:
		return outcome.OK
	}
	return ""
}

// internetChecksum is the checksum of RFC 1071.
func internetChecksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
