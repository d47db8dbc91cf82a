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
	// ID grows from event to event, over restarts too: the microseconds of the
	// clock when it was recorded, and always more than the one before.
	ID uint64    `json:"id"`
	At time.Time `json:"at"`
	// Director is the one on which it happened.
	Director string `json:"director,omitempty"`
	Kind     Kind   `json:"kind"`
	// Level is how much it concerns people: info, warn or error.
	Level Level `json:"level"`
	// Service, RealServer, VRRP say what changed, where the kind has one.
	Service    string `json:"service,omitempty"`
	RealServer string `json:"real_server,omitempty"`
	VRRP       string `json:"vrrp,omitempty"`
	Peer       string `json:"peer,omitempty"` // another director
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	// Reason is why, for people.
	Reason string `json:"reason,omitempty"`
}

// Level is how much an event concerns people: an error is what clients may
// feel, a warning what takes away from the spare.
type Level string

const (
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Kind names what an event is about.
type Kind string

const (
	KindDaemon Kind = "daemon" // start and stop
	KindReload Kind = "reload" // a reload's verdict
	KindVRRP   Kind = "vrrp"   // an election changed its state
	KindHealth Kind = "health" // a real server's verdict changed
	KindWeight Kind = "weight" // a real server's effective weight changed
	KindQuorum Kind = "quorum" // a service lost or regained its quorum
	KindGuard  Kind = "guard"  // the guard against mass failure froze the verdicts, or stopped
	KindPanic  Kind = "panic"  // a service heeds no health any more, or does again
	// KindFallback: a service's fallback took over, or gave back.
	KindFallback Kind = "fallback"
	// KindHandover: this director stays away from an election, or does no more.
	KindHandover Kind = "handover"
	KindIPVS     Kind = "ipvs" // the kernel's table: drift, foreign entries, errors
	KindPair     Kind = "pair" // another director: answers or not, and where the two differ
)

const (
	// capacity bounds the memory: at about 300 bytes an event this is 300 KiB.
	capacity = 1024
	// reasonLimit bounds an event: a refused reload may have thousands of
	// mistakes.
	reasonLimit = 4 << 10
)

// Recorder keeps the newest events and hands each to whoever follows. The zero
// value works.
type Recorder struct {
	// Log, when set, gets each event as a line: one change of state, one line.
	Log *slog.Logger
	// Director is stamped on every event.
	Director string

	mu        sync.Mutex
	ring      []Event
	next      int // where the next one goes once the ring is full: the oldest
	last      uint64
	followers map[*Follower]struct{}
}

// Record keeps an event and logs it.
func (r *Recorder) Record(e Event) {
	e = r.Keep(e)
	if r.Log != nil {
		r.Log.LogAttrs(context.Background(), levels[e.Level], string(e.Kind)+" changed", attrs(e)...)
	}
}

var levels = map[Level]slog.Level{Info: slog.LevelInfo, Warn: slog.LevelWarn, Error: slog.LevelError}

// Keep only keeps an event: its leaf has logged it already, with more detail.
// It answers the event as it was kept.
func (r *Recorder) Keep(e Event) Event {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.Level, e.Director = e.level(), cmp.Or(e.Director, r.Director)
	if len(e.Reason) > reasonLimit {
		e.Reason = strings.ToValidUTF8(e.Reason[:reasonLimit], "") + " …"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last+1, uint64(time.Now().UnixMicro()))
	e.ID = r.last
	if len(r.ring) < capacity {
		r.ring = append(r.ring, e)
	} else {
		r.ring[r.next] = e
		r.next = (r.next + 1) % capacity
	}
	for f := range r.followers {
		f.take(e)
	}
	return e
}

// After lets the numbers go on from those of a run before.
func (r *Recorder) After(id uint64) {
	r.mu.Lock()
	r.last = max(r.last, id)
	r.mu.Unlock()
}

// Recent answers the events that are still held, oldest first.
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

// Follower gets every event from its beginning on, in order, as long as it
// keeps up: what finds no room is counted and lost.
type Follower struct {
	// C closes when the follower is let go.
	C      <-chan Event
	events chan Event
	missed atomic.Uint64
}

// Follow lets somebody read what is recorded from now on, and answers what is
// held already: between the two nothing is missing and nothing twice.
func (r *Recorder) Follow(room int) (*Follower, []Event) {
	f := &Follower{events: make(chan Event, room)}
	f.C = f.events
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.followers == nil {
		r.followers = map[*Follower]struct{}{}
	}
	r.followers[f] = struct{}{}
	return f, r.recent()
}

// Unfollow lets a follower go. It may be called twice.
func (r *Recorder) Unfollow(f *Follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.followers[f]; ok {
		delete(r.followers, f)
		close(f.events)
	}
}

// Missed counts the events that found no room.
func (f *Follower) Missed() uint64 { return f.missed.Load() }

func (f *Follower) take(e Event) {
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
		e.Kind == KindVRRP && e.To == "fault":
		return Error
	case e.Kind == KindHealth && e.To == "down", e.Kind == KindPair && (e.To == "down" || strings.HasSuffix(e.To, " differs")):
		return Warn
	default:
		return Info
	}
}

func attrs(e Event) []slog.Attr {
	var out []slog.Attr
	for _, a := range []slog.Attr{
		slog.String("service", e.Service), slog.String("real_server", e.RealServer), slog.String("vrrp", e.VRRP), slog.String("peer", e.Peer),
		slog.String("from", e.From), slog.String("to", e.To), slog.String("reason", e.Reason),
	} {
		if a.Value.String() != "" {
			out = append(out, a)
		}
	}
	return out
}
