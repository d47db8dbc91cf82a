// Whether the peer's connections can arrive: what is heard of the connection
// synchronisation on the network, held against what this director takes. The
// kernel passes over messages of another identifier without a word, and a
// standby that knows no connection looks like one whose peer has none. It never
// opens a socket.
//
// PURE.

package ipvs

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// arrivalMemory is how long what was heard counts: a few times longer than the
// kernel waits before it sends, and than a busy peer is ever silent.
const arrivalMemory = 30 * time.Second

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

// SyncHeard is what was heard of the peer's connections lately.
type SyncHeard struct {
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
}

func (h SyncHeard) heard(own uint8, from netip.Addr, m messageHead, now time.Time) SyncHeard {
	if m.ID == own {
		h.At = now
		return h
	}
	h.OtherID, h.OtherAt, h.OtherFrom = m.ID, now, from
	return h
}

// Mismatch says that somebody's connections arrive and none are taken: there is
// a peer, and it has another identifier. Beside messages of ours, others are
// those of another pair on the same network.
func (h SyncHeard) Mismatch(now time.Time) bool {
	return !h.OtherAt.IsZero() && now.Sub(h.OtherAt) < arrivalMemory && (h.At.IsZero() || now.Sub(h.At) >= arrivalMemory)
}

// Problem is what somebody must do about it; "" is nothing.
func (h SyncHeard) Problem(own uint8, now time.Time) string {
	switch {
	case h.Error != "":
		return "connection synchronisation: cannot listen for the peer's messages: " + h.Error
	case h.Mismatch(now):
		return fmt.Sprintf("connection synchronisation: connections of %s arrive with id %d and are not taken, because [ipvs.sync] id is %d here: give both directors the same",
			h.OtherFrom, h.OtherID, own)
	}
	return ""
}
