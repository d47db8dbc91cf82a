// What was received of the peer's messages, and whether this director's kernel can use
// them. The kernel ignores messages of another identifier without a report, and
// messages to another group or port reach no socket, so that a misconfigured standby
// looks like one whose peer has no connections.

package connsync

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"lvsd/ipvs"
)

// receivedMemory is how long a received message counts. It is a few times longer than
// the kernel buffers connections, and than a busy peer sends nothing.
const receivedMemory = 30 * time.Second

const (
	// captureAfter is the time without a message after which a capture may start. It is
	// longer than a kernel with connections sends nothing.
	captureAfter = 5 * time.Second
	// A capture lasts captureDuration. The next one starts captureInterval after it
	// started, or at once if it captured something. A captured message counts until two
	// captures later.
	captureDuration   = 5 * time.Second
	captureInterval   = 30 * time.Second
	misdirectedMemory = 2*captureInterval + captureDuration
)

// messageHead is the header of a message (struct ip_vs_sync_mesg and ip_vs_sync_mesg_v0
// in net/netfilter/ipvs/ip_vs_sync.c).
type messageHead struct {
	ID          uint8
	Connections int
}

// parseMessageHead parses a header. Version 1 starts with a zero where version 0 has its
// number of connections.
func parseMessageHead(b []byte) (messageHead, bool) {
	if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > maxMessage {
		return messageHead{}, false
	}
	if b[0] != 0 {
		return messageHead{ID: b[1], Connections: int(b[0])}, true
	}
	if len(b) < 8 || b[5] != version || b[6] != 0 || b[7] != 0 {
		return messageHead{}, false
	}
	return messageHead{ID: b[1], Connections: int(b[4])}, true
}

const maxMessage = 65535 - 20 - 8

// Received is what was received of the peer's messages recently.
type Received struct {
	// Listening: a synchronisation is configured and its group was joined. Error is why
	// that failed.
	Listening bool
	Error     string
	// At is when a message of our identifier was received last; zero: never.
	At time.Time
	// OtherID is the identifier of the last message of another one, OtherAt when it was
	// received, and OtherFrom its sender.
	OtherID   uint8
	OtherAt   time.Time
	OtherFrom netip.Addr
	// Misdirected is the last message of our identifier that was captured on its way to
	// another group, port or interface, at MisdirectedAt.
	Misdirected   Misdirected
	MisdirectedAt time.Time
}

// Misdirected is a message that is sent to where this director does not listen.
type Misdirected struct {
	ID        uint8
	Interface string
	From      netip.Addr
	To        netip.AddrPort
}

// parseMisdirected parses an IPv4 packet as a message. Other protocols send UDP to
// groups too: a packet counts only if it has the present version, a length that is the
// packet's, and a connection.
func parseMisdirected(b []byte) (Misdirected, bool) {
	if len(b) < 20 || b[0]>>4 != 4 || b[9] != 17 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // a fragment
		return Misdirected{}, false
	}
	from, to, head := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), int(b[0]&0xf)*4
	if head < 20 || len(b) < head+8 {
		return Misdirected{}, false
	}
	udp := b[head:]
	m, ok := parseMessageHead(udp[8:])
	length := int(binary.BigEndian.Uint16(udp[4:])) - 8
	if !ok || udp[8] != 0 || m.Connections == 0 || int(binary.BigEndian.Uint16(udp[10:])) != length {
		return Misdirected{}, false
	}
	return Misdirected{ID: m.ID, From: from, To: netip.AddrPortFrom(to, binary.BigEndian.Uint16(udp[2:]))}, true
}

// overdue reports whether no message of ours was received for captureAfter, given that
// nothing is known before since.
func (r Received) overdue(since, now time.Time) bool {
	if r.At.After(since) {
		since = r.At
	}
	return now.Sub(since) >= captureAfter
}

// addMisdirected records a captured message of our identifier that does not go where we
// listen. Messages of other identifiers may be of any other group of directors.
func (r Received) addMisdirected(c *ipvs.SyncConfig, m Misdirected, now time.Time) Received {
	if m.ID == c.ID && (m.To != c.Destination() || m.Interface != c.Interface) {
		r.Misdirected, r.MisdirectedAt = m, now
	}
	return r
}

// misdirected reports whether the peer's messages go elsewhere and none arrive here.
func (r Received) misdirected(now time.Time) bool {
	return r.MisdirectedAt.After(r.At) && now.Sub(r.MisdirectedAt) < misdirectedMemory && now.Sub(r.At) >= captureAfter
}

// add records a received message; own is our identifier.
func (r Received) add(own uint8, from netip.Addr, m messageHead, now time.Time) Received {
	if m.ID == own {
		r.At = now
		return r
	}
	r.OtherID, r.OtherAt, r.OtherFrom = m.ID, now, from
	return r
}

// Mismatch reports whether there is a peer whose messages cannot be used: it has another
// identifier, group, port or interface. Beside messages of ours, those of another
// identifier are of another group of directors on the same network.
func (r Received) Mismatch(now time.Time) bool { return r.otherID(now) || r.misdirected(now) }

func (r Received) otherID(now time.Time) bool {
	return !r.OtherAt.IsZero() && now.Sub(r.OtherAt) < receivedMemory && (r.At.IsZero() || now.Sub(r.At) >= receivedMemory)
}

// Problem returns what an operator should correct, "" for nothing. c is the present
// configuration, nil for none.
func (r Received) Problem(c *ipvs.SyncConfig, now time.Time) string {
	const is = "connection synchronisation: "
	m := r.Misdirected
	switch {
	case c == nil:
		return ""
	case r.Error != "":
		return is + "cannot listen for the peer's messages: " + r.Error
	case r.otherID(now):
		return fmt.Sprintf(is+"connections of %s arrive with id %d and are ignored, because [ipvs.sync] id is %d here: configure the same on both directors",
			r.OtherFrom, r.OtherID, c.ID)
	case !r.misdirected(now):
		return ""
	case m.To.Addr() != c.Destination().Addr():
		return fmt.Sprintf(is+"connections of %s go to the group %s and are ignored, because [ipvs.sync] group is %s here: configure the same on both directors",
			m.From, m.To.Addr(), c.Destination().Addr())
	case m.To.Port() != c.Destination().Port():
		return fmt.Sprintf(is+"connections of %s go to port %d and are ignored, because [ipvs.sync] port is %d here: configure the same on both directors",
			m.From, m.To.Port(), c.Destination().Port())
	}
	return fmt.Sprintf(is+"connections of %s arrive on the interface %s and are ignored, because [ipvs.sync] interface is %s here: use the same network on both directors",
		m.From, m.Interface, c.Interface)
}
