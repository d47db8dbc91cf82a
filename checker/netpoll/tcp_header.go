// The part of TCP's header that a SYN scan needs (RFC 9293 §3.1).

package netpoll

import (
	"encoding/binary"
	"lvsd/checker/outcome"
	"net/netip"

	"lvsd/vrrp/checksum"
)

const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// appendSYN appends a SYN (RFC 9293 §3.1) with the usual maximum segment size. The
// checksum is computed for IPv4 only; the kernel computes that of IPv6.
func appendSYN(head []byte, from netip.Addr, port uint16, to netip.AddrPort, sequence uint32) []byte {
	all := append(head, make([]byte, 24)...)
	b := all[len(head):]
	binary.BigEndian.PutUint16(b, port)
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], sequence)
	b[12], b[13] = byte(len(b)/4)<<4, flagSYN
	binary.BigEndian.PutUint16(b[14:], 64240) // window
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
		binary.BigEndian.PutUint16(b[16:], ^checksum.Fold(checksum.Add(0, append(pseudo, b...))))
	}
	return all
}

// segment is the part of a TCP header that a SYN scan reads.
type segment struct {
	from, to uint16
	ack      uint32
	flags    byte
}

// parseSegment parses a TCP header; with ipHeader set, an IPv4 header precedes it.
func parseSegment(b []byte, ipHeader bool) (s segment, ok bool) {
	if ipHeader {
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

// reply returns what a segment means as the reply to a SYN with the sequence number:
// OK, Refused, or "" for a segment that is no such reply.
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
