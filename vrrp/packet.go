// Encoding and decoding of VRRP messages: version 3 over IPv4 and IPv6, version 2
// over IPv4, and the reasons to drop one.

package vrrp

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/checksum"
)

const (
	protocol  = 112 // IP protocol number, RFC 9568 §5.1.1.4
	hopLimit  = 255 // proves that the sender is on this link, §5.1.1.3
	advertise = 1   // the only type, §5.2.2
	headerLen = 8
	authLen   = 8 // after the addresses in version 2, RFC 3768 §5.3.10
)

// maxIntervalRatio bounds the advert interval that is learnt from another director,
// by the ratio to our own: a backup waits for three of them.
const maxIntervalRatio = 16

// Destinations of adverts, RFC 9568 §5.1.1.2 and §5.1.2.2.
var (
	multicastIPv4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	multicastIPv6 = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
)

// Types of authentication in version 2, RFC 3768 §5.3.6 and RFC 2338 §5.3.6.
const (
	authNone = 0
	authPass = 1
)

// Header has the fields of the IP header that matter to VRRP.
type Header struct {
	Source, Destination netip.Addr
	TTL                 uint8 // or hop limit
}

// Rules are the settings that a received message is compared with.
type Rules struct {
	VRID     uint8
	Version  uint8          // 2 or 3
	Interval time.Duration  // own advert interval; version 2: required advert interval
	Password *auth.Password // version 2: nil: no authentication
	Source   netip.Addr     // this director's source address
	Peers    []netip.Addr   // unicast: accepted senders; nil: multicast, any sender
	Hops     uint8          // unicast: how many routers adverts may pass
	Empty    bool           // our own adverts have no addresses, and others need have none
}

// Advert is an ADVERTISEMENT, RFC 9568 §5.2.
type Advert struct {
	VRID      uint8
	Priority  uint8         // 0: the master resigns
	Interval  time.Duration // of the sender: 10 ms to 40.95 s; version 2: 1 s to 255 s
	Addresses []netip.Addr
	Checksum  Checksum // version 3 over IPv4: the form found, or to be sent
}

// Decode checks a message. If it returns DropNone, a has the content, otherwise a
// is undefined. The slice of a's addresses is reused.
func Decode(h Header, message []byte, r *Rules, a *Advert) DropReason {
	if h.TTL < hopLimit-r.Hops {
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
	// The RFC requires a complete message. Extra octets are refused too: they
	// would be covered by the checksum but have no meaning.
	size := h.Source.BitLen() / 8
	if len(message) < headerLen {
		return DropLength
	}
	whole := headerLen + size*int(message[3]) + r.trailing()
	if len(message) != whole && !(r.Version == 3 && auth.HasTrailer(message, whole)) {
		return DropLength
	}
	message = message[:whole] // the HMAC trailer is verified separately and is not in the checksum
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
	case r.Version == 2 && a.Interval != r.Interval,
		r.Version == 3 && r.Interval > 0 && (a.Interval > maxIntervalRatio*r.Interval || a.Interval < r.Interval/maxIntervalRatio):
		return DropIntervalDiffers
	case message[3] == 0 && !r.Empty:
		return DropCount
	}
	if d := r.checkRoute(h); d != DropNone {
		return d
	}
	a.VRID, a.Priority, a.Checksum = message[1], message[2], form
	a.Addresses = slices.Grow(a.Addresses[:0], int(message[3]))
	for b := message[headerLen : len(message)-r.trailing()]; len(b) > 0; b = b[size:] {
		ip, _ := netip.AddrFromSlice(b[:size])
		a.Addresses = append(a.Addresses, ip)
	}
	return DropNone
}

// trailing returns the number of octets after the addresses.
func (r *Rules) trailing() int {
	if r.Version == 2 {
		return authLen // also without authentication, RFC 3768 §5.1
	}
	return 0
}

// checkV2 checks the authentication of version 2, RFC 3768 §7.1.
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

// checkRoute checks source and destination of the message.
func (r *Rules) checkRoute(h Header) DropReason {
	switch {
	case r.Source.IsValid() && h.Source == r.Source:
		return DropOwn
	case r.Peers == nil && h.Destination != groupAddress(h.Source):
		return DropDestination
	case r.Peers != nil && h.Destination != r.Source:
		return DropDestination
	case r.Peers != nil && !slices.Contains(r.Peers, h.Source):
		return DropPeer
	}
	return DropNone
}

// groupAddress returns the multicast destination for the family of a.
func groupAddress(a netip.Addr) netip.Addr { return group(a.Is6()) }

func group(v6 bool) netip.Addr {
	if v6 {
		return multicastIPv6
	}
	return multicastIPv4
}

// decodeInterval returns the advert interval of a message of at least headerLen
// octets.
func decodeInterval(message []byte, version uint8) time.Duration {
	if version == 2 {
		return time.Duration(message[5]) * time.Second
	}
	return time.Duration(binary.BigEndian.Uint16(message[4:])&0xfff) * centisecond // the other bits are reserved, §5.2.6
}

// Append appends a version 3 message to b. The RFC 5798 checksum includes source
// and destination, so they must be those of the IP packet. The advert must be
// valid for [Decode]: at most 255 addresses of the family of source, and an
// interval within the range of the field.
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

// AppendV2 appends a version 2 message to b, RFC 3768 §5.1. The interval must be
// 1 to 255 whole seconds. A nil password means no authentication.
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

// checksumForm returns the form in which the checksum is correct. Over IPv6 it
// always includes the pseudo-header (RFC 9568 §5.2.8), in version 2 never.
func checksumForm(h Header, message []byte, version uint8) (Checksum, bool) {
	sum := checksum.Add(0, message)
	if version == 3 && checksum.Fold(addPseudoHeader(sum, h.Source, h.Destination, len(message))) == 0xffff {
		return RFC5798, true
	}
	return RFC9568, h.Source.Is4() && checksum.Fold(sum) == 0xffff
}

// addPseudoHeader adds the pseudo-header of RFC 5798 §5.2.8 or, for IPv6, RFC
// 8200 §8.1.
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

// DropReason is why a message was dropped. Its String is a bounded set, used as a
// metric label.
type DropReason uint8

// In the order of the receive checks of RFC 9568 §7.1 and RFC 3768 §7.1; the
// first that applies counts.
const (
	DropNone            DropReason = iota
	DropTTL                        // not 255: forwarded by a router, or forged
	DropVersion                    // another version
	DropType                       // not an ADVERTISEMENT, the only type (§5.2.2)
	DropLength                     // length does not match the address count
	DropChecksum                   // wrong in every form
	DropVRID                       // another virtual router
	DropAuthType                   // version 2: another authentication type
	DropAuth                       // wrong password or HMAC
	DropInterval                   // 0, so there would be no down interval (erratum 8301)
	DropIntervalDiffers            // version 2: not our interval; version 3: far from ours
	DropCount                      // no addresses (§5.2.5)
	DropDestination                // multicast to a unicast instance, or the reverse
	DropPeer                       // unicast from an address that is not a configured peer
	DropUnauthenticated            // no HMAC trailer
	DropKey                        // signed with a key that is not in our key file
	DropClock                      // the sender's clock differs too much from ours, or an old advert
	DropReplay                     // already received
	DropOwn                        // from our own address: a loop, or a duplicate address
	dropReasons                    // number of reasons
)

var dropNames = [dropReasons]string{
	"none", "ttl", "version", "type", "length", "checksum", "vrid", "auth_type", "auth",
	"interval", "interval_differs", "count", "destination", "peer",
	"unauthenticated", "auth_key", "clock", "replay", "own",
}

// String returns the reason's name in metrics and logs.
func (d DropReason) String() string {
	if d < dropReasons {
		return dropNames[d]
	}
	return "unknown"
}

// concerns reports whether a dropped message was meant for the instance vrid, so
// that its sender is a peer with a wrong configuration.
func concerns(d DropReason, message []byte, vrid uint8) bool {
	return d != DropVRID && d != DropOwn && d != DropPeer && len(message) >= 2 && message[1] == vrid
}

// explain describes the difference: the field, its value and ours.
func explain(d DropReason, h Header, message []byte, r *Rules) string {
	at := func(i int) int {
		if i < len(message) {
			return int(message[i])
		}
		return -1
	}
	switch d {
	case DropTTL:
		if r.Peers != nil {
			return fmt.Sprintf("TTL is %d, must be at least %d: see unicast_hops if there are routers between the directors", h.TTL, hopLimit-r.Hops)
		}
		return fmt.Sprintf("TTL is %d, must be %d", h.TTL, hopLimit)
	case DropVersion:
		return fmt.Sprintf("version is %d, ours is %d", at(0)>>4, r.Version)
	case DropType:
		return fmt.Sprintf("type is %d, must be %d", at(0)&0xf, advertise)
	case DropLength:
		return fmt.Sprintf("length is %d octets with an address count of %d", len(message), at(3))
	case DropChecksum:
		if h.Source.Is4() && r.Version == 3 {
			return "the checksum is wrong with and without the pseudo-header"
		}
		return "the checksum is wrong"
	case DropVRID:
		return fmt.Sprintf("virtual router ID is %d, ours is %d", at(1), r.VRID)
	case DropAuthType:
		return fmt.Sprintf("authentication type is %d, ours is %d", at(4), r.authType())
	case DropAuth:
		if r.Version == 3 {
			return "its HMAC is invalid: a different key with the same number, a different instance name (both directors must use the same), or a forged advert"
		}
		return "the password differs"
	case DropInterval:
		return "the advert interval is 0"
	case DropIntervalDiffers:
		if r.Version == 3 {
			return fmt.Sprintf("advert interval is %v, ours is %v: they may differ by a factor of at most %d", decodeInterval(message, 3), r.Interval, maxIntervalRatio)
		}
		return fmt.Sprintf("advert interval is %d s, ours is %v: version 2 requires them to be equal", at(5), r.Interval)
	case DropCount:
		return "it has no address"
	case DropDestination:
		if r.Peers != nil {
			return fmt.Sprintf("sent to %v, must be %v, because this instance is unicast", h.Destination, r.Source)
		}
		return fmt.Sprintf("sent to %v, must be %v", h.Destination, groupAddress(h.Source))
	case DropPeer:
		return fmt.Sprintf("%v is not a peer of this instance", h.Source)
	case DropUnauthenticated:
		return "it is not authenticated, ours are"
	case DropKey:
		if v := auth.TrailerVersion(message); v != auth.Version {
			return fmt.Sprintf("its HMAC trailer has version %d, ours version %d: upgrade both directors with authentication in permissive mode (docs/vrrp-authentication.md)", v, auth.Version)
		}
		return fmt.Sprintf("it is authenticated by key %d, which is not in our key file", auth.KeyNumber(message))
	case DropClock:
		return fmt.Sprintf("it is the first advert from this peer or after its restart, and its time, %s, differs from our clock by more than %v: synchronise the clocks; if they agree, it is a replayed advert",
			auth.SentAt(message).Format(time.DateTime), auth.MaxClockError)
	case DropReplay:
		return "it is a replay of an earlier advert, or the peer restarted with its clock set back, which is accepted after two intervals"
	case DropOwn:
		return fmt.Sprintf("it comes from our own address %v: a loop, or a duplicate address", h.Source)
	}
	return d.String()
}
