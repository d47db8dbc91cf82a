// This file is ICMP's echo on the wire (RFC 792, RFC 4443 §4). It never opens a
// socket.
//
// PURE.
package checker

import "encoding/binary"

// echo is one request and what its answer must have: the payload is random, so
// that nobody else's answer is taken for ours. The kernel sets the identifier of
// a datagram socket, and of IPv6 the checksum.
type echo struct {
	v6       bool
	sequence uint16
	payload  [16]byte
}

// request is the message. The identifier is the payload's beginning, where the
// kernel does not set it.
func (e *echo) request() []byte {
	b := make([]byte, 8, 8+len(e.payload))
	b[0] = 8
	if e.v6 {
		b[0] = 128
	}
	copy(b[4:], e.payload[:2])
	binary.BigEndian.PutUint16(b[6:], e.sequence)
	b = append(b, e.payload[:]...)
	if !e.v6 {
		binary.BigEndian.PutUint16(b[2:], internetChecksum(b))
	}
	return b
}

// answeredBy says whether a message is the answer to this or an earlier request.
// With an IPv4 header in front of it (a raw socket) it may be given as it came.
func (e *echo) answeredBy(b []byte, header bool) bool {
	if header {
		if len(b) < 20 || b[0]>>4 != 4 || int(b[0]&15)*4 > len(b) {
			return false
		}
		b = b[int(b[0]&15)*4:]
	}
	kind := byte(0)
	if e.v6 {
		kind = 129
	}
	return len(b) == 8+len(e.payload) && b[0] == kind && b[1] == 0 &&
		binary.BigEndian.Uint16(b[6:]) <= e.sequence && [16]byte(b[8:]) == e.payload
}

// internetChecksum is RFC 1071's.
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
