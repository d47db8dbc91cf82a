// Whether the peer's connections can arrive: what is heard of the connection
// synchronisation on the network, held against what this director takes. The
// kernel passes over messages of another identifier without a word, those to
// another group or port are for nobody, and a standby that knows no connection
// looks like one whose peer has none. It never opens a socket.
//
// PURE.

package connsync

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"lvsd/ipvs"
)

// receivedMemory is how long what was heard counts: a few times longer than the
// kernel waits before it sends, and than a busy peer is ever silent.
const receivedMemory = 30 * time.Second

const (
	// captureAfter is how long nothing may be heard before it is looked whether it comes
	// another way: longer than a kernel with connections to tell is silent.
	captureAfter = 5 * time.Second
	// A look lasts captureFor. The next one begins lookEvery after it began, at once
	// when it saw something. What was seen counts until two looks later.
	captureFor        = 5 * time.Second
	captureEvery      = 30 * time.Second
	misdirectedMemory = 2*captureEvery + captureFor
)

// messageHead is the head of a message (struct ip_vs_sync_mesg, and _v0 before
// it, net/netfilter/ipvs/ip_vs_sync.c).
type messageHead struct {
	ID          uint8
	Connections int
}

// parseMessageHead reads a message's head. Version 1 begins with a zero where
// the old one had its count of connections.
func parseMessageHead(b []byte) (messageHead, bool) {
	if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > maxSyncMessage {
		return messageHead{}, false
	}
	if b[0] != 0 {
		return messageHead{ID: b[1], Connections: int(b[0])}, true
	}
	if len(b) < 8 || b[5] != 1 || b[6] != 0 || b[7] != 0 {
		return messageHead{}, false
	}
	return messageHead{ID: b[1], Connections: int(b[4])}, true
}

const maxSyncMessage = 65535 - 20 - 8

// Received is what was heard of the peer's connections lately.
type Received struct {
	// Listening: there is something to listen for, and it can be. Error is why
	// it cannot.
	Listening bool
	Error     string
	// At is when a message of our identifier was heard last; zero: never.
	At time.Time
	// OtherID is the identifier of the last message that is not taken, OtherAt
	// when it came, and OtherFrom from whom.
	OtherID   uint8
	OtherAt   time.Time
	OtherFrom netip.Addr
	// Misdirected is the last message of our identifier that was seen on its way to
	// another group or port, or by another interface, at StrayAt.
	Misdirected   Misdirected
	MisdirectedAt time.Time
}

// Misdirected is a message that goes where this director does not listen.
type Misdirected struct {
	ID        uint8
	Interface string
	From      netip.Addr
	To        netip.AddrPort
}

// parseMisdirected reads a packet of IPv4 as a message. Other protocols speak UDP to
// groups, too: what is taken for a message has one of the present version whose
// length is that of the packet, and a connection in it.
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

// silent says that no message of ours was heard for long, as far as is known since
// that moment.
func (h Received) silent(since, now time.Time) bool {
	if h.At.After(since) {
		since = h.At
	}
	return now.Sub(since) >= captureAfter
}

// addMisdirected takes up a message that came another way than the configured one. One of
// another identifier may be anybody's.
func (h Received) addMisdirected(c *ipvs.SyncConfig, s Misdirected, now time.Time) Received {
	if s.ID == c.ID && (s.To != c.Destination() || s.Interface != c.Interface) {
		h.Misdirected, h.MisdirectedAt = s, now
	}
	return h
}

// misdirected says that the peer's connections go elsewhere, and none come here.
func (h Received) misdirected(now time.Time) bool {
	return h.MisdirectedAt.After(h.At) && now.Sub(h.MisdirectedAt) < misdirectedMemory && now.Sub(h.At) >= captureAfter
}

func (h Received) add(own uint8, from netip.Addr, m messageHead, now time.Time) Received {
	if m.ID == own {
		h.At = now
		return h
	}
	h.OtherID, h.OtherAt, h.OtherFrom = m.ID, now, from
	return h
}

// Mismatch says that somebody's connections are heard and none are taken: there is
// a peer, and it has another identifier, or another group, port or interface.
// Beside messages of ours, others are those of another pair on the same network.
func (h Received) Mismatch(now time.Time) bool { return h.otherID(now) || h.misdirected(now) }

func (h Received) otherID(now time.Time) bool {
	return !h.OtherAt.IsZero() && now.Sub(h.OtherAt) < receivedMemory && (h.At.IsZero() || now.Sub(h.At) >= receivedMemory)
}

// Problem is what somebody must do about it; "" is nothing.
func (h Received) Problem(c *ipvs.SyncConfig, now time.Time) string {
	const is = "connection synchronisation: "
	s := h.Misdirected
	switch {
	case c == nil:
		return ""
	case h.Error != "":
		return is + "cannot listen for the peer's messages: " + h.Error
	case h.otherID(now):
		return fmt.Sprintf(is+"connections of %s arrive with id %d and are not taken, because [ipvs.sync] id is %d here: give both directors the same",
			h.OtherFrom, h.OtherID, c.ID)
	case !h.misdirected(now):
		return ""
	case s.To.Addr() != c.Destination().Addr():
		return fmt.Sprintf(is+"connections of %s go to the group %s and are not taken, because [ipvs.sync] group is %s here: give both directors the same",
			s.From, s.To.Addr(), c.Destination().Addr())
	case s.To.Port() != c.Destination().Port():
		return fmt.Sprintf(is+"connections of %s go to port %d and are not taken, because [ipvs.sync] port is %d here: give both directors the same",
			s.From, s.To.Port(), c.Destination().Port())
	}
	return fmt.Sprintf(is+"connections of %s come by the interface %s and are not taken, because [ipvs.sync] interface is %s here: let both directors use the same network",
		s.From, s.Interface, c.Interface)
}
