// This file turns a VRRP version 3 message into an Advert and back, and says
// exactly why a message is refused. It never reads a socket or a clock and never
// decides what an advert means for the election.
//
// PURE.
package vrrp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

const (
	protocol    = 112 // IP protocol number, RFC 9568 §5.1.1.4
	hopLimit    = 255 // the only TTL that proves a sender on this link, §5.1.1.3
	versionByte = 0x31
	headerLen   = 8
)

// multicastIPv4 is where adverts go, RFC 9568 §5.1.1.2.
var multicastIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})

// Header is what the IPv4 header says of a message.
type Header struct {
	Source, Destination netip.Addr
	TTL                 uint8
}

// Advert is an ADVERTISEMENT, RFC 9568 §5.2.
type Advert struct {
	VRID      uint8
	Priority  uint8         // 0: the master leaves
	Interval  time.Duration // the sender's, 10 ms to 40.95 s
	Addresses []netip.Addr
	Checksum  Checksum // the form that the sum was found in, or is to be sent in
}

// Drop is why a message was refused. Its String is a bounded set, fit for a label.
type Drop uint8

// The receive checks in the order of RFC 9568 §7.1; a message has the first
// reason that fits.
const (
	DropNone        Drop = iota
	DropTTL              // it crossed a router, or was made to look so
	DropVersion          // not version 3
	DropType             // not an ADVERTISEMENT, the only type (§5.2.2)
	DropLength           // not exactly as long as its address count says
	DropChecksum         // wrong in both forms
	DropVRID             // another election's
	DropInterval         // 0, which would mean no down interval at all (erratum 8301)
	DropCount            // names no address (§5.2.5)
	DropDestination      // not sent to 224.0.0.18
	DropOwn              // from our own address: a loop, or an address used twice
	drops                // how many there are
)

var dropNames = [drops]string{
	"none", "ttl", "version", "type", "length", "checksum", "vrid", "interval", "count", "destination", "own",
}

// String is the reason's name in metrics and logs.
func (d Drop) String() string {
	if d < drops {
		return dropNames[d]
	}
	return "unknown"
}

// Decode checks a message for the election vrid and, when it returns DropNone,
// fills a with it. The slice of a's addresses is used again. After any other
// answer the content of a is undefined.
func Decode(h Header, message []byte, vrid uint8, a *Advert) Drop {
	if h.TTL != hopLimit {
		return DropTTL
	}
	if len(message) == 0 {
		return DropLength
	}
	if message[0]>>4 != versionByte>>4 {
		return DropVersion
	}
	if message[0]&0xf != versionByte&0xf {
		return DropType
	}
	// The RFC asks for a complete message; octets beyond it are refused too, as
	// they would be summed but mean nothing.
	if len(message) < headerLen || len(message) != headerLen+4*int(message[3]) {
		return DropLength
	}
	form, ok := verify(h, message)
	if !ok {
		return DropChecksum
	}
	if message[1] != vrid {
		return DropVRID
	}
	interval := binary.BigEndian.Uint16(message[4:]) & 0xfff // the rest is reserved, §5.2.6
	if interval == 0 {
		return DropInterval
	}
	if message[3] == 0 {
		return DropCount
	}
	if h.Destination != multicastIPv4 {
		return DropDestination
	}
	a.VRID, a.Priority, a.Checksum = message[1], message[2], form
	a.Interval = time.Duration(interval) * centisecond
	a.Addresses = a.Addresses[:0]
	for b := message[headerLen:]; len(b) > 0; b = b[4:] {
		a.Addresses = append(a.Addresses, netip.AddrFrom4([4]byte(b)))
	}
	return DropNone
}

// Append appends the message to b. Source and destination are summed in the
// form of RFC 5798, so they must be those that the packet really leaves with.
// The advert must be one that [Decode] would accept: at most 255 addresses, all
// IPv4, and an interval that the field can hold.
func (a Advert) Append(b []byte, source, destination netip.Addr) []byte {
	start := len(b)
	b = append(b, versionByte, a.VRID, a.Priority, uint8(len(a.Addresses)))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Interval/centisecond)&0xfff)
	b = append(b, 0, 0)
	for _, ip := range a.Addresses {
		four := ip.As4()
		b = append(b, four[:]...)
	}
	message := b[start:]
	sum := add(0, message)
	if a.Checksum == RFC5798 {
		sum = addPseudoHeader(sum, source, destination, len(message))
	}
	binary.BigEndian.PutUint16(message[6:], ^fold(sum))
	return b
}

// verify finds the form in which the checksum is right.
func verify(h Header, message []byte) (Checksum, bool) {
	sum := add(0, message)
	if fold(addPseudoHeader(sum, h.Source, h.Destination, len(message))) == 0xffff {
		return RFC5798, true
	}
	return RFC9568, fold(sum) == 0xffff
}

// add sums 16 bit words (RFC 1071). A message of at most 1,028 octets cannot
// overflow it.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

// addPseudoHeader adds the pseudo-header of RFC 5798 §5.2.8: source,
// destination, zero, protocol, length.
func addPseudoHeader(sum uint32, source, destination netip.Addr, length int) uint32 {
	s, d := source.As4(), destination.As4()
	return add(add(sum, s[:]), d[:]) + protocol + uint32(length)
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// concerns reports whether a refused message claims to be for the election vrid,
// so that its sender is a peer that is not understood rather than a stranger.
func concerns(d Drop, message []byte, vrid uint8) bool {
	return d != DropVRID && d != DropOwn && len(message) >= 2 && message[1] == vrid
}

// explain says for people what was wrong: the field, theirs and ours.
func explain(d Drop, h Header, message []byte, vrid uint8) string {
	at := func(i int) int {
		if i < len(message) {
			return int(message[i])
		}
		return -1
	}
	switch d {
	case DropTTL:
		return fmt.Sprintf("TTL is %d, must be %d", h.TTL, hopLimit)
	case DropVersion:
		return fmt.Sprintf("version is %d, ours is %d", at(0)>>4, versionByte>>4)
	case DropType:
		return fmt.Sprintf("type is %d, must be %d", at(0)&0xf, versionByte&0xf)
	case DropLength:
		return fmt.Sprintf("length is %d octets with an address count of %d", len(message), at(3))
	case DropChecksum:
		return "the checksum is wrong with and without the pseudo-header"
	case DropVRID:
		return fmt.Sprintf("virtual router ID is %d, ours is %d", at(1), vrid)
	case DropInterval:
		return "the advert interval is 0"
	case DropCount:
		return "it names no address"
	case DropDestination:
		return fmt.Sprintf("sent to %v, must be %v", h.Destination, multicastIPv4)
	case DropOwn:
		return fmt.Sprintf("it comes from our own address %v: a loop, or the address is used twice", h.Source)
	}
	return d.String()
}
