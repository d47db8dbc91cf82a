// Reasons to drop a received message, and their text.

package vrrp

import (
	"fmt"

	"lvsd/vrrp/auth"
)

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
			return "its proof is wrong: another key of the same number, another instance name (both directors must use the same), or a forged advert"
		}
		return "the password is another one"
	case DropInterval:
		return "the advert interval is 0"
	case DropIntervalDiffers:
		if r.Version == 3 {
			return fmt.Sprintf("advert interval is %v, ours is %v: they may differ by a factor of %d at most", decodeInterval(message, 3), r.Interval, maxIntervalRatio)
		}
		return fmt.Sprintf("advert interval is %d s, ours is %v, and version 2 wants them equal", at(5), r.Interval)
	case DropCount:
		return "it names no address"
	case DropDestination:
		if r.Peers != nil {
			return fmt.Sprintf("sent to %v, must be %v, because this election is by unicast", h.Destination, r.Source)
		}
		return fmt.Sprintf("sent to %v, must be %v", h.Destination, groupAddress(h.Source))
	case DropPeer:
		return fmt.Sprintf("%v is none of the directors of this election", h.Source)
	case DropUnauthenticated:
		return "it is not authenticated, and ours are"
	case DropKey:
		if v := auth.TrailerVersion(message); v != auth.Version {
			return fmt.Sprintf("its proof is of version %d, ours of version %d: upgrade both directors with authentication in permissive mode (docs/vrrp-authentication.md)", v, auth.Version)
		}
		return fmt.Sprintf("it is authenticated by key %d, which is not in our key file", auth.KeyNumber(message))
	case DropClock:
		return fmt.Sprintf("it is the first advert received from this peer or its restart, and its time differs from ours by more than %v: set the clocks, or it is an old advert", auth.MaxClockError)
	case DropReplay:
		return "an advert that was heard before is sent again"
	case DropOwn:
		return fmt.Sprintf("it comes from our own address %v: a loop, or the address is used twice", h.Source)
	}
	return d.String()
}
