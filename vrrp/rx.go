// The receive path: it decodes and verifies packets, and passes only valid
// adverts for this instance to the event loop. What it drops is counted, and
// logged at a bounded rate, so that a flood does not delay the event loop.

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

// rxDrop is a dropped advert for this VRID.
type rxDrop struct {
	from   netip.Addr
	drop   DropReason
	detail string
}

// receive reads packets until the socket is closed. own is the source address of
// the socket.
func (e *Engine) receive(c conn, own netip.Addr) {
	buf := make([]byte, wire.MaxPacket)
	failed := 0
	var pace rxPace
	for {
		p, err := c.Receive(buf, !pace.polling)
		interval := time.Duration(e.counters.interval.Load())
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, wire.ErrEmpty):
			pace.pause(interval)
			continue
		case err != nil:
			// An error left on a socket by an interface that went down is read
			// once. One that repeats means that the socket receives nothing any
			// more.
			if failed++; failed > 10 {
				e.log.Warn("the socket failed and is reopened", "err", err)
				e.worker.socketFailed(c)
				return
			}
			continue
		}
		failed = 0
		e.rx(pace.arrived(interval), p, own)
	}
}

// rxPace bounds what a flood costs. A process that wakes for each packet takes the
// processor from everything else. So after more than rxPerInterval packets in an interval
// the receiver polls, rxPolls times in an interval, until nothing has arrived; it works
// about half of the time at most. What exceeds the queue of the socket is dropped by the kernel.
type rxPace struct {
	polling bool
	now     time.Time // of the last look at the clock
	due     time.Time // when the packets so far are due at rxPerInterval
	packets int       // since the last pause
}

const (
	rxPerInterval = 64
	rxPolls       = 16                    // each wakes the threads of Go's runtime, which costs as much as some ten packets
	rxPauseMax    = 50 * time.Millisecond // for which the queue of the socket suffices
	rxBatch       = 256                   // packets from one look at the clock to the next
)

// arrived is called with each packet. It returns the time.
func (r *rxPace) arrived(interval time.Duration) time.Time {
	r.packets++
	switch {
	case !r.polling:
		r.now = time.Now()
		if earlier := r.now.Add(-interval); r.due.Before(earlier) {
			r.due = earlier
		}
		r.due = r.due.Add(interval / rxPerInterval)
		r.polling = r.due.After(r.now)
	case r.packets%rxBatch == 0:
		time.Sleep(min(time.Since(r.now), rxPause(interval)))
		r.now = time.Now()
	}
	return r.now
}

// pause is called when all packets that had arrived are handled.
func (r *rxPace) pause(interval time.Duration) {
	r.polling, r.packets = r.packets > 0, 0
	if r.polling {
		time.Sleep(rxPause(interval))
		r.now = time.Now()
	}
}

func rxPause(interval time.Duration) time.Duration { return min(interval/rxPolls, rxPauseMax) }

// rx handles one packet. It blocks only while the event loop is behind with valid
// adverts; the kernel then drops what exceeds its queue.
func (e *Engine) rx(now time.Time, p wire.Packet, own netip.Addr) {
	h := Header{Source: p.Source, Destination: p.Destination, TTL: p.TTL}
	rules := *e.rules.Load()
	rules.Source = own
	var a Advert
	drop := Decode(h, p.Payload, &rules, &a)
	if drop == DropNone {
		drop = e.verify(now, h, p.Payload, &rules, a.Interval)
	}
	if drop != DropNone {
		e.counters.dropped[drop].Add(1)
		e.onDrop(now, drop, h, p.Payload, &rules)
		return
	}
	e.counters.received.Add(1)
	if rules.Version == 3 && own.Is4() {
		e.counters.checksums[a.Checksum].Add(1) // only here there are two forms
	}
	select {
	case e.adverts <- rxAdvert{at: now, from: p.Source, advert: a}:
	case <-e.done:
	}
}

// peerTable has what is remembered of each holder of a key.
type peerTable struct {
	mu    sync.Mutex
	peers map[netip.Addr]auth.Peer
}

var authDrops = map[error]DropReason{
	nil: DropNone, auth.ErrUnauthenticated: DropUnauthenticated, auth.ErrVersion: DropKey, auth.ErrKey: DropKey, auth.ErrMAC: DropAuth,
	auth.ErrClock: DropClock, auth.ErrReplay: DropReplay,
}

// verify checks that the advert is signed with a known key and is not a replay.
func (e *Engine) verify(now time.Time, h Header, message []byte, rules *Rules, interval time.Duration) DropReason {
	keys := e.keys.Load()
	if keys == nil {
		return DropNone
	}
	t := &e.peers
	t.mu.Lock()
	defer t.mu.Unlock()
	peer := t.peers[h.Source]
	drop := authDrops[keys.Verify(auth.Context{Instance: e.name, Source: h.Source, Destination: h.Destination}, message, &peer, now, interval)]
	switch {
	case drop == DropNone:
		if t.peers == nil {
			t.peers = map[netip.Addr]auth.Peer{}
		}
		t.peers[h.Source] = peer
	case keys.Permissive():
		e.counters.unauthenticated.Add(1)
		if missed, ok := e.limiter.allowLog(now, drop); ok {
			e.log.Warn("accepted an advert without a valid HMAC, as authentication is permissive", "peer", h.Source,
				"reason", drop.String(), "field", explain(drop, h, message, rules), "unlogged", missed)
		}
		return DropNone
	}
	return drop
}

// onDrop logs at a bounded rate, and reports a peer with unusable adverts to the
// event loop at most once in an interval.
func (e *Engine) onDrop(now time.Time, drop DropReason, h Header, message []byte, rules *Rules) {
	mine := concerns(drop, message, e.vrid)
	if mine && e.limiter.allowReport(now, time.Duration(e.counters.interval.Load())) {
		select {
		case e.dropped <- rxDrop{h.Source, drop, "an advert of " + h.Source.String() + " is refused: " + explain(drop, h, message, rules)}:
		default:
		}
	}
	if drop == DropVRID {
		return // another instance on the same LAN
	}
	if missed, ok := e.limiter.allowLog(now, drop); ok {
		e.log.Warn("advert refused", "peer", h.Source, "reason", drop.String(),
			"field", explain(drop, h, message, rules), "for_us", mine, "unlogged", missed)
	}
}

// logEvery is the minimum time between two log lines of one reason.
const logEvery = 10 * time.Second

// rateLimiter bounds logs and reports about dropped adverts.
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
