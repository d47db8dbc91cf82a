// This file reads packets and keeps from the election whatever is not a valid
// advert for it, so that a flood of noise costs the election nothing. It counts
// and logs what it refuses, and never more than a bounded amount.

package vrrp

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"lvsd/vrrp/auth"
	"lvsd/vrrp/wire"
)

// rxAdvert is a valid advert.
type rxAdvert struct {
	at     time.Time
	from   netip.Addr
	advert Advert
}

// rxDrop is an advert for this election that was refused.
type rxDrop struct {
	from   netip.Addr
	drop   DropReason
	detail string
}

// receive reads until the socket is closed. own is what the socket sends from.
func (e *Engine) receive(c conn, own netip.Addr) {
	buf := make([]byte, wire.MaxPacket)
	failed := 0
	for {
		p, err := c.Receive(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			// An error that is left on a socket when the interface goes down is
			// read once; one that stays means that nothing will ever be heard.
			if failed++; failed > 10 {
				e.log.Warn("the socket failed and is opened anew", "err", err)
				e.worker.socketFailed(c)
				return
			}
			continue
		}
		failed = 0
		e.rx(p, own)
	}
}

// rx decodes one packet. It blocks only while the election is behind with
// valid adverts; the kernel drops what does not fit its queue then.
func (e *Engine) rx(p wire.Packet, own netip.Addr) {
	now := time.Now()
	h := Header{Source: p.Source, Destination: p.Destination, TTL: p.TTL}
	rules := *e.rules.Load()
	rules.Own = own
	var a Advert
	drop := Decode(h, p.Payload, &rules, &a)
	if drop == DropNone {
		drop = e.verify(now, h, p.Payload, &rules)
	}
	if drop != DropNone {
		e.counters.dropped[drop].Add(1)
		e.onDrop(now, drop, h, p.Payload, &rules)
		return
	}
	e.counters.received.Add(1)
	if rules.Version == 3 && own.Is4() {
		e.counters.checksums[a.Checksum].Add(1) // there is no choice of another
	}
	select {
	case e.adverts <- rxAdvert{at: now, from: p.Source, advert: a}:
	case <-e.done:
	}
}

// sequenceTable are the newest that were heard from each peer. Only who has a key
// gets into it.
type sequenceTable struct {
	mu   sync.Mutex
	last map[netip.Addr]uint64
}

var authDrops = map[error]DropReason{
	nil: DropNone, auth.ErrUnauthenticated: DropUnauthenticated, auth.ErrKey: DropKey, auth.ErrMAC: DropAuth,
	auth.ErrClock: DropClock, auth.ErrReplay: DropReplay,
}

// verify checks that the advert comes from somebody who has a key, and is new.
func (e *Engine) verify(now time.Time, h Header, message []byte, rules *Rules) DropReason {
	keys := e.keys.Load()
	if keys == nil {
		return DropNone
	}
	s := &e.lastSequences
	s.mu.Lock()
	defer s.mu.Unlock()
	sequence, err := keys.Verify(h.Source, h.Destination, message, s.last[h.Source], now)
	drop := authDrops[err]
	switch {
	case drop == DropNone:
		if s.last == nil {
			s.last = map[netip.Addr]uint64{}
		}
		s.last[h.Source] = sequence
	case keys.Permissive():
		e.counters.unproven.Add(1)
		if missed, ok := e.limiter.allowLog(now, drop); ok {
			e.log.Warn("advert accepted without a valid proof, as authentication is permissive", "peer", h.Source,
				"reason", drop.String(), "field", explain(drop, h, message, rules), "unlogged", missed)
		}
		return DropNone
	}
	return drop
}

// onDrop logs at a bounded rate, and lets the election know that a peer is not
// understood, a few times in an interval at most.
func (e *Engine) onDrop(now time.Time, drop DropReason, h Header, message []byte, rules *Rules) {
	mine := concerns(drop, message, e.vrid)
	if mine && e.limiter.allowReport(now, time.Duration(e.counters.interval.Load())) {
		select {
		case e.dropped <- rxDrop{h.Source, drop, "an advert of " + h.Source.String() + " is refused: " + explain(drop, h, message, rules)}:
		default:
		}
	}
	if drop == DropVRID {
		return // another election on the same LAN: as it should be
	}
	if missed, ok := e.limiter.allowLog(now, drop); ok {
		e.log.Warn("advert refused", "peer", h.Source, "reason", drop.String(),
			"field", explain(drop, h, message, rules), "for_us", mine, "unlogged", missed)
	}
}

// logEvery is the least time between two log lines of one reason.
const logEvery = 10 * time.Second

// rateLimiter bounds what a flood may cause.
type rateLimiter struct {
	mu       sync.Mutex
	logged   [dropReasons]time.Time
	missed   [dropReasons]uint64
	reported time.Time
}

func (l *rateLimiter) allowLog(now time.Time, d DropReason) (missed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.logged[d].IsZero() && now.Sub(l.logged[d]) < logEvery {
		l.missed[d]++
		return 0, false
	}
	missed, l.missed[d], l.logged[d] = l.missed[d], 0, now
	return missed, true
}

func (l *rateLimiter) allowReport(now time.Time, every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.reported.IsZero() && now.Sub(l.reported) < every {
		return false
	}
	l.reported = now
	return true
}
