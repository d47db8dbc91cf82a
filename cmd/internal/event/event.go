package event

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Event is one change of state.
type Event struct {
	// ID increases from event to event, across restarts: the microseconds of At, and always
	// more than the previous one.
	ID uint64    `json:"id"`
	At time.Time `json:"at"`
	// Director is where it happened.
	Director string `json:"director,omitempty"`
	Kind     Kind   `json:"kind"`
	// Level is the severity: info, warn or error.
	Level Level `json:"level"`
	// Service, RealServer, VRRP, Announce and Peer are the object, where the kind has one.
	Service    string `json:"service,omitempty"`
	RealServer string `json:"real_server,omitempty"`
	VRRP       string `json:"vrrp,omitempty"`
	Announce   string `json:"announce,omitempty"`
	Peer       string `json:"peer,omitempty"` // another director
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	// Reason is the cause, as text.
	Reason string `json:"reason,omitempty"`
	// Priority is this director's effective priority in the VRRP instance, 1 to 255; 0
	// where the event is not a change of an instance's state.
	Priority int `json:"priority,omitempty"`
}

// Level is the severity of an event: an error may affect clients, a warning reduces
// redundancy.
type Level string

const (
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Kind is what an event is about.
type Kind string

const (
	KindDaemon Kind = "daemon" // start, end of the first checks, and stop
	KindReload Kind = "reload" // outcome of a reload
	KindVRRP   Kind = "vrrp"   // a VRRP instance changed its state
	KindHealth Kind = "health" // the health of a real server changed, or whether it can be checked
	KindWeight Kind = "weight" // the effective weight of a real server changed
	KindQuorum Kind = "quorum" // a service lost or regained its quorum
	KindGuard  Kind = "guard"  // the guard against mass failure froze the health, or released it
	KindPanic  Kind = "panic"  // a service ignores health (panic mode), or no longer does
	// KindFallback: a service's fallback server took over, or was released.
	KindFallback Kind = "fallback"
	// KindHandover: this director went on standby in an instance, or ended it.
	KindHandover Kind = "handover"
	// KindAnnounce: addresses are announced to routers, or no longer.
	KindAnnounce Kind = "announce"
	KindIPVS     Kind = "ipvs" // the kernel's table: drift, foreign entries, errors
	KindPeer     Kind = "peer" // another director: reachable or not, and differences
)

// Contested is the state in an event of a VRRP instance that receives a second master.
const Contested = "contested"

// The states of an address of a VRRP instance: another host, or another interface or
// program of this one, has it too; or not.
const (
	AddressConflict = "address_conflict"
	AddressUnique   = "address_unique"
)

// AddressesRestored: addresses that another program removed were put back.
const AddressesRestored = "addresses_restored"

const (
	// capacity bounds the memory: at about 300 bytes an event this is 300 KiB.
	capacity = 1024
	// reasonLimit bounds an event: a rejected reload may have thousands of errors.
	reasonLimit = 4 << 10
)

// Recorder has the newest events and passes each to its followers. The zero value is
// ready to use.
type Recorder struct {
	// Log, when set, receives each event as one line.
	Log *slog.Logger
	// Director is set in every event.
	Director string

	mu        sync.Mutex
	ring      []Event
	next      int // where the next one goes once the ring is full: the oldest
	last      uint64
	followers map[*Follower]struct{}
}

// Record stores an event and logs it.
func (r *Recorder) Record(e Event) {
	e = r.Store(e)
	if r.Log != nil {
		r.Log.LogAttrs(context.Background(), levels[e.Level], message(e), attrs(e)...)
	}
}

// message is the text of an event's log line.
func message(e Event) string {
	if e.Kind == KindQuorum && e.To == "down" && e.From == "" {
		return "service has no quorum"
	}
	if text, ok := messages[e.Kind][e.To]; ok {
		return text
	}
	if text, ok := messages[e.Kind][""]; ok {
		return text
	}
	return string(e.Kind) + " changed"
}

// messages are the texts by kind and new state; "" has those of other states.
var messages = map[Kind]map[string]string{
	KindDaemon:   {"running": "lvsd started", "checked": "first health checks ended", "stopped": "lvsd stopped"},
	KindReload:   {"done": "configuration reloaded", "refused": "reload failed"},
	KindHealth:   {"up": "real server is up", "down": "real server is down", "unchecked": "real server cannot be checked", "": "health of a real server changed"},
	KindWeight:   {"removed": "real server removed", "": "weight of a real server changed"},
	KindQuorum:   {"up": "service has its quorum", "down": "service lost its quorum", "removed": "service removed"},
	KindGuard:    {"frozen": "guard froze the health of real servers", "": "guard changed its state"},
	KindPanic:    {"on": "panic mode started", "off": "panic mode ended"},
	KindFallback: {"on": "fallback is serving", "off": "fallback released"},
	KindHandover: {"held": "standby after a handover started", "": "standby after a handover ended"},
	KindAnnounce: {"": "announcement changed"},
	KindPeer:     {"up": "peer is reachable", "down": "peer is unreachable", "": "difference between directors changed"},
}

var levels = map[Level]slog.Level{Info: slog.LevelInfo, Warn: slog.LevelWarn, Error: slog.LevelError}

// Store stores an event without logging it, for events that were logged in more
// detail already. It returns the event as stored.
func (r *Recorder) Store(e Event) Event {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.Level, e.Director = e.level(), cmp.Or(e.Director, r.Director)
	if len(e.Reason) > reasonLimit {
		e.Reason = strings.ToValidUTF8(e.Reason[:reasonLimit], "") + " …"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last+1, uint64(max(e.At.UnixMicro(), 0))) // the clock is not read again: that can be a system call
	e.ID = r.last
	if len(r.ring) < capacity {
		r.ring = append(r.ring, e)
	} else {
		r.ring[r.next] = e
		r.next = (r.next + 1) % capacity
	}
	if len(r.followers) > 0 {
		shared := e // one copy for all queues, whose room then costs 8 bytes an event
		for f := range r.followers {
			f.offer(&shared)
		}
	}
	return e
}

// After makes the next IDs greater than those of an earlier run.
func (r *Recorder) After(id uint64) {
	r.mu.Lock()
	r.last = max(r.last, id)
	r.mu.Unlock()
}

// Recent returns the events in memory, oldest first.
func (r *Recorder) Recent() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recent()
}

func (r *Recorder) recent() []Event {
	out := make([]Event, 0, len(r.ring))
	out = append(out, r.ring[r.next:]...)
	return append(out, r.ring[:r.next]...)
}

// Follower receives every event from its creation on, in order, as long as it keeps
// up. Events that find its queue full are counted and dropped.
type Follower struct {
	// C is closed by Unfollow.
	C      <-chan *Event // shared by all followers, not to be changed
	events chan *Event
	missed atomic.Uint64
}

// Follow starts a follower with a queue of room events, and returns the events in
// memory: between the two none is missing and none is duplicated.
func (r *Recorder) Follow(room int) (*Follower, []Event) {
	f := &Follower{events: make(chan *Event, room)}
	f.C = f.events
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.followers == nil {
		r.followers = map[*Follower]struct{}{}
	}
	r.followers[f] = struct{}{}
	return f, r.recent()
}

// Unfollow ends a follower. It may be called twice.
func (r *Recorder) Unfollow(f *Follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.followers[f]; ok {
		delete(r.followers, f)
		close(f.events)
	}
}

// Missed is the number of dropped events.
func (f *Follower) Missed() uint64 { return f.missed.Load() }

func (f *Follower) offer(e *Event) {
	select {
	case f.events <- e:
	default:
		f.missed.Add(1)
	}
}

func (e Event) level() Level {
	switch {
	case e.Kind == KindReload && e.To == "refused", e.Kind == KindQuorum && e.To == "down" && e.From != "",
		e.Kind == KindPanic && e.To == "on", e.Kind == KindFallback && e.To == "on", e.Kind == KindGuard && e.To == "frozen",
		e.Kind == KindVRRP && e.To == "fault", e.Kind == KindAnnounce && (e.To == "withdrawn" || e.To == "kept" || e.To == "unheard"):
		return Error
	case e.Kind == KindHealth && (e.To == "down" || e.To == "unchecked"), e.Kind == KindPeer && (e.To == "down" || strings.HasSuffix(e.To, " differs")),
		e.Kind == KindIPVS && e.To == "foreign connections", e.Kind == KindVRRP && (e.To == AddressConflict || e.To == AddressesRestored):
		return Warn
	default:
		return Info
	}
}

func attrs(e Event) []slog.Attr {
	var out []slog.Attr
	for _, a := range []slog.Attr{
		slog.String("service", e.Service), slog.String("real_server", e.RealServer), slog.String("vrrp", e.VRRP), slog.String("announce", e.Announce), slog.String("peer", e.Peer),
		slog.String("from", e.From), slog.String("to", e.To), slog.String("reason", e.Reason),
	} {
		if a.Value.String() != "" {
			out = append(out, a)
		}
	}
	return out
}
