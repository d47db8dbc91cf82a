// Package event is the history of state changes with their causes. Recording
// never blocks and never fails: the memory is bounded and the oldest give way.
// No decision reads events.
package event

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Event is one change of state.
type Event struct {
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	// Service, RealServer, VRRP say what changed, where the kind has one.
	Service    string `json:"service,omitempty"`
	RealServer string `json:"real_server,omitempty"`
	VRRP       string `json:"vrrp,omitempty"`
	From       string `json:"from,omitempty"`
	To         string `json:"to,omitempty"`
	// Reason is why, for people.
	Reason string `json:"reason,omitempty"`
}

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
	KindIPVS     Kind = "ipvs" // the kernel's table: drift, foreign entries, errors
)

// capacity bounds the memory: at about 300 bytes an event this is 300 KiB.
const capacity = 1024

// Recorder keeps the newest events. The zero value works.
type Recorder struct {
	// Log, when set, gets each event as a line: one change of state, one line.
	Log *slog.Logger

	mu   sync.Mutex
	ring []Event
	next int // where the next one goes once the ring is full: the oldest
}

// Record keeps an event and logs it.
func (r *Recorder) Record(e Event) {
	r.Keep(e)
	if r.Log != nil {
		r.Log.LogAttrs(context.Background(), e.level(), string(e.Kind)+" changed", attrs(e)...)
	}
}

// Keep only keeps an event: its leaf has logged it already, with more detail.
func (r *Recorder) Keep(e Event) {
	r.mu.Lock()
	if len(r.ring) < capacity {
		r.ring = append(r.ring, e)
	} else {
		r.ring[r.next] = e
		r.next = (r.next + 1) % capacity
	}
	r.mu.Unlock()
}

// Recent answers the events that are still held, oldest first.
func (r *Recorder) Recent() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Event, 0, len(r.ring))
	out = append(out, r.ring[r.next:]...)
	return append(out, r.ring[:r.next]...)
}

// level is how loud the log line is: an error is what clients may feel, a
// warning what takes away from the spare.
func (e Event) level() slog.Level {
	switch {
	case e.Kind == KindReload && e.To == "refused", e.Kind == KindQuorum && e.To == "down" && e.From != "",
		e.Kind == KindPanic && e.To == "on", e.Kind == KindFallback && e.To == "on", e.Kind == KindGuard && e.To == "frozen":
		return slog.LevelError
	case e.Kind == KindHealth && e.To == "down":
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

func attrs(e Event) []slog.Attr {
	var out []slog.Attr
	for _, a := range []slog.Attr{
		slog.String("service", e.Service), slog.String("real_server", e.RealServer), slog.String("vrrp", e.VRRP),
		slog.String("from", e.From), slog.String("to", e.To), slog.String("reason", e.Reason),
	} {
		if a.Value.String() != "" {
			out = append(out, a)
		}
	}
	return out
}
