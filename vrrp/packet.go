// This file turns a VRRP message (version 3 over IPv4 and IPv6, version 2 over
// IPv4) into an Advert and back, and says exactly why a message is refused. It
// never reads a socket or a clock and never decides what an advert means for the
// election.
//
// PURE.
package vrrp

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"lvsd/internal/checksum"
	"lvsd/vrrp/auth"
)

const (
	protocol  = 112 // IP protocol number, RFC 9568 §5.1.1.4
	hopLimit  = 255 // the only TTL that proves a sender on this link, §5.1.1.3
	advertise = 1   // the only type, §5.2.2
	headerLen = 8
	authLen   = 8 // behind the addresses of version 2, RFC 3768 §5.3.10
)

// Where adverts go, RFC 9568 §5.1.1.2 and §5.1.2.2.
var (
	multicastIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	multicastIPv6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// Types of authentication in version 2, RFC 3768 §5.3.6 and RFC 2338 §5.3.6.
const (
	authNone = 0
	authPass = 1
)

// Header is what the IP header says of a message.
type Header struct {
	Source, Destination netip.Addr
	TTL                 uint8 // or hop limit
}

// Rules are the settings of an election that a message is held against.
type Rules struct {
	VRID     uint8
	Version  uint8          // 2 or 3
	Interval time.Duration  // version 2: what the message must say
	Password *auth.Password // version 2: of authentication by it; nil: none
	Own      netip.Addr     // what this director sends from
	Peers    []netip.Addr   // whom it hears by unicast; nil: everybody, by multicast
}

// Advert is an ADVERTISEMENT, RFC 9568 §5.2.
type Advert struct {
	VRID      uint8
	Priority  uint8         // 0: the master leaves
	Interval  time.Duration // the sender's: 10 ms to 40.95 s; version 2: 1 s to 255 s
	Addresses []netip.Addr
	Checksum  Checksum // of version 3 over IPv4: the form that the sum was found in, or is to be sent in
}

// Decode checks a message and, when it returns DropNone, fills a with it. The
// slice of a's addresses is used again. After any other answer the content of a
// is undefined.
func Decode(h Header, message []byte, r *Rules, a *Advert) DropReason {
	// A unicast peer may be beyond a router; it is known by its address.
	if h.TTL != hopLimit && r.Peers == nil {
		return DropTTL
	}
	if len(message) == 0 {
		return DropLength
	}
	if message[0]>>4 != r.Version {
		return DropVersion
	}
	if message[0]&0xf != advertise {
		return DropType
	}
	// The RFC asks for a complete message; octets beyond it are refused too, as
	// they would be summed but mean nothing.
	size := h.Source.BitLen() / 8
	if len(message) < headerLen {
		return DropLength
	}
	whole := headerLen + size*int(message[3]) + r.trailing()
	if len(message) != whole && !(r.Version == 3 && auth.HasTrailer(message, whole)) {
		return DropLength
	}
	message = message[:whole] // a proof is judged apart, and not summed
	form, ok := checksumForm(h, message, r.Version)
	if !ok {
		return DropChecksum
	}
	if message[1] != r.VRID {
		return DropVRID
	}
	if d := r.checkV2(message); d != DropNone {
		return d
	}
	a.Interval = decodeInterval(message, r.Version)
	switch {
	case a.Interval == 0:
		return DropInterval
	case r.Version == 2 && a.Interval != r.Interval:
		return DropIntervalDiffers
	case message[3] == 0:
		return DropCount
	}
	if d := r.checkRoute(h); d != DropNone {
		return d
	}
	a.VRID, a.Priority, a.Checksum = message[1], message[2], form
	a.Addresses = a.Addresses[:0]
	for b := message[headerLen : len(message)-r.trailing()]; len(b) > 0; b = b[size:] {
		ip, _ := netip.AddrFromSlice(b[:size])
		a.Addresses = append(a.Addresses, ip)
	}
	return DropNone
}

// trailing is how many octets follow the addresses.
func (r *Rules) trailing() int {
	if r.Version == 2 {
		return authLen // also without authentication, RFC 3768 §5.1
	}
	return 0
}

// checkV2 checks the authentication, RFC 3768 §7.1.
func (r *Rules) checkV2(message []byte) DropReason {
	if r.Version != 2 {
		return DropNone
	}
	if message[4] != r.authType() {
		return DropAuthType
	}
	if r.Password != nil && subtle.ConstantTimeCompare(message[len(message)-authLen:], r.Password[:]) != 1 {
		return DropAuth
	}
	return DropNone
}

func (r *Rules) authType() uint8 {
	if r.Password != nil {
		return authPass
	}
	return authNone
}

// checkRoute checks where the message comes from and what it was sent to.
func (r *Rules) checkRoute(h Header) DropReason {
	switch {
	case r.Own.IsValid() && h.Source == r.Own:
		return DropOwn
	case r.Peers == nil && h.Destination != groupAddress(h.Source):
		return DropDestination
	case r.Peers != nil && h.Destination != r.Own:
		return DropDestination
	case r.Peers != nil && !slices.Contains(r.Peers, h.Source):
		return DropPeer
	}
	return DropNone
}

// groupAddress is where the adverts of a family go.
func groupAddress(a netip.Addr) netip.Addr {
	if a.Is6() {
		return multicastIPv6
	}
	return multicastIPv4
}

// decodeInterval reads the advert interval of a message of at least headerLen octets.
func decodeInterval(message []byte, version uint8) time.Duration {
	if version == 2 {
		return time.Duration(message[5]) * time.Second
	}
	return time.Duration(binary.BigEndian.Uint16(message[4:])&0xfff) * centisecond // the rest is reserved, §5.2.6
}

// Append appends a message of version 3 to b. Source and destination are summed
// in the form of RFC 5798, so they must be those that the packet really leaves
// with. The advert must be one that [Decode] would accept: at most 255 addresses,
// all of the family of source, and an interval that the field can hold.
func (a Advert) Append(b []byte, source, destination netip.Addr) []byte {
	start := len(b)
	b = append(b, 3<<4|advertise, a.VRID, a.Priority, uint8(len(a.Addresses)))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Interval/centisecond)&0xfff)
	b = a.appendAddresses(append(b, 0, 0))
	message := b[start:]
	sum := checksum.Add(0, message)
	if source.Is6() || a.Checksum == RFC5798 {
		sum = addPseudoHeader(sum, source, destination, len(message))
	}
	binary.BigEndian.PutUint16(message[6:], ^checksum.Fold(sum))
	return b
}

// AppendV2 appends a message of version 2 to b, RFC 3768 §5.1. The interval must
// be 1 to 255 whole seconds; without a password there is no authentication.
func (a Advert) AppendV2(b []byte, password *auth.Password) []byte {
	start := len(b)
	b = append(b, 2<<4|advertise, a.VRID, a.Priority, uint8(len(a.Addresses)))
	b = a.appendAddresses(append(b, authNone, uint8(a.Interval/time.Second), 0, 0))
	message := b[start:]
	if password != nil {
		message[4] = authPass
		b = append(b, password[:]...)
	} else {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	message = b[start:]
	binary.BigEndian.PutUint16(message[6:], ^checksum.Fold(checksum.Add(0, message)))
	return b
}

func (a Advert) appendAddresses(b []byte) []byte {
	for _, ip := range a.Addresses {
		if ip.Is4() {
			four := ip.As4()
			b = append(b, four[:]...)
		} else {
			sixteen := ip.As16()
			b = append(b, sixteen[:]...)
		}
	}
	return b
}

// checksumForm finds the form in which the checksum is right. Over IPv6 there is only
// the one with the pseudo-header (RFC 9568 §5.2.8), in version 2 only the other.
func checksumForm(h Header, message []byte, version uint8) (Checksum, bool) {
	sum := checksum.Add(0, message)
	if version == 3 && checksum.Fold(addPseudoHeader(sum, h.Source, h.Destination, len(message))) == 0xffff {
		return RFC5798, true
	}
	return RFC9568, h.Source.Is4() && checksum.Fold(sum) == 0xffff
}

// addPseudoHeader adds the pseudo-header of RFC 5798 §5.2.8 or, for IPv6, of
// RFC 8200 §8.1: source, destination, zero, protocol, length.
func addPseudoHeader(sum uint32, source, destination netip.Addr, length int) uint32 {
	for _, a := range [2]netip.Addr{source, destination} {
		if a.Is4() {
			four := a.As4()
			sum = checksum.Add(sum, four[:])
		} else {
			sixteen := a.As16()
			sum = checksum.Add(sum, sixteen[:])
		}
	}
	return sum + protocol + uint32(length)
}
