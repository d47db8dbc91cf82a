// This file makes light probes: those that are a connection and a short talk. One
// loop makes all of them, in one goroutine: it begins what is due together, hears
// of all sockets in one system call, reads the clock once for all that happened,
// and no probe has a goroutine or a timer of its own. It never decides when a
// probe is due or what its outcome means.

package netpoll

import (
	"container/heap"
	"context"
	"lvsd/checker/outcome"
	"net/netip"
	"os"
	"time"
)

// LoopProbe is a probe that the loop can make.
type LoopProbe struct {
	Dialer  Dialer
	Session func(Stream) outcome.Outcome // what is said after the handshake; nil: nothing is
	SYN     *SYN                         // in place of both
}

// Inflight is one light probe under way. Where one ended, the next may begin in it.
type Inflight struct {
	Probe             *LoopProbe
	Owner             any
	Started, deadline time.Time
	wakeAt            time.Time // the deadline, or before it something to do
	heapIndex         int       // among the alarms; -1: not there
	fd                int       // -1: none
	coro              *coro     // nil before the handshake is over
	synKey            synKey    // of a SYN
	synSeq            uint32    // likewise

	Outcome outcome.Outcome
	Took    time.Duration
	Done    bool
}

// Loop is owned by one goroutine; nothing of it is safe for concurrent use but
// kernel.kick.
type Loop struct {
	poller    Poller
	synScan   *synScan
	inflight  []*Inflight // by descriptor
	timers    timerHeap
	Finished  []*Inflight // and nobody was told
	idleCoros []*coro
}

func NewLoop(k Poller) *Loop { return &Loop{poller: k, synScan: newSYNScan(k)} }

// Start starts a probe, which may be over at once.
func (l *Loop) Start(f *Inflight, what *LoopProbe, now, deadline time.Time) {
	*f = Inflight{Probe: what, Owner: f.Owner, Started: now, deadline: deadline, wakeAt: deadline, heapIndex: -1, fd: -1}
	if what.SYN != nil {
		if out, bad := l.synScan.start(f); bad {
			l.finish(f, out, now)
			return
		}
		f.wakeAt = f.retransmitAt(now)
		heap.Push(&l.timers, f)
		return
	}
	fd, err := l.poller.Connect(&what.Dialer)
	if err != nil {
		l.finish(f, outcome.FromError(outcome.PhaseConnect, err, ""), now)
		return
	}
	for len(l.inflight) <= fd {
		l.inflight = append(l.inflight, nil)
	}
	f.fd, l.inflight[fd] = fd, f
	heap.Push(&l.timers, f)
}

// retransmitAt is when a SYN that was sent now has something to do.
func (f *Inflight) retransmitAt(now time.Time) time.Time {
	if again := now.Add(synRetransmit); again.Before(f.deadline) {
		return again
	}
	return f.deadline
}

// NextWake is when the loop has something to do by itself, at the latest at limit.
func (l *Loop) NextWake(limit time.Time) time.Time {
	if len(l.timers) > 0 && l.timers[0].wakeAt.Before(limit) {
		return l.timers[0].wakeAt
	}
	return limit
}

// Wait sends what was begun, and waits for news.
func (l *Loop) Wait(until time.Time, look bool) []Event {
	l.synScan.flush(func(f *Inflight, err error) {
		l.finish(f, outcome.FromError(outcome.PhaseConnect, err, ""), f.Started)
		look = true
	})
	return l.poller.Wait(until, look)
}

// Process takes news, and what the time brings.
func (l *Loop) Process(all []Event, now time.Time) {
	for _, n := range all {
		if h := l.synScan.byFD(n.FD); h != nil {
			h.receive(func(f *Inflight, reason outcome.Reason) { l.finish(f, synOutcome(reason), now) })
		} else if n.FD < len(l.inflight) && l.inflight[n.FD] != nil {
			l.handle(l.inflight[n.FD], n, now)
		}
	}
	for len(l.timers) > 0 && !l.timers[0].wakeAt.After(now) {
		l.expire(l.timers[0], now)
	}
}

// handle takes one probe's news.
func (l *Loop) handle(f *Inflight, n Event, now time.Time) {
	if f.coro == nil {
		connected := n.Writable
		if n.Broken {
			stands, err := l.poller.ConnectError(f.fd)
			if err != nil {
				l.finish(f, outcome.FromError(outcome.PhaseConnect, err, ""), now)
				return
			}
			connected = stands
		}
		switch {
		case !connected:
			return
		case f.Probe.Session == nil:
			l.finish(f, outcome.Outcome{Reason: outcome.OK, Phase: outcome.PhaseConnect}, now)
			return
		}
		f.coro = l.coroFor(f)
	}
	f.coro.readable = f.coro.readable || n.Readable
	l.resume(f, now)
}

func (l *Loop) resume(f *Inflight, now time.Time) {
	if f.coro.resume() {
		l.finish(f, f.coro.out, now)
	}
}

// expire is a flight's alarm.
func (l *Loop) expire(f *Inflight, now time.Time) {
	switch {
	case now.Before(f.deadline): // a SYN that was not answered
		if out, bad := l.synScan.resend(f); bad {
			l.finish(f, out, now)
			return
		}
		f.wakeAt = f.retransmitAt(now)
		heap.Fix(&l.timers, f.heapIndex)
	case f.coro == nil:
		l.finish(f, outcome.FromError(outcome.PhaseConnect, os.ErrDeadlineExceeded, ""), now)
	default: // what it heard until now is in the outcome
		f.coro.timedOut = true
		l.resume(f, now)
	}
}

// finish ends a flight.
func (l *Loop) finish(f *Inflight, out outcome.Outcome, now time.Time) {
	f.Outcome, f.Took, f.Done = out, now.Sub(f.Started), true
	if f.heapIndex >= 0 {
		heap.Remove(&l.timers, f.heapIndex)
	}
	closed := false
	if t := f.coro; t != nil {
		closed, f.coro = t.closed, nil
		l.idleCoros = t.recycle(l.idleCoros)
	}
	if f.fd >= 0 {
		l.inflight[f.fd] = nil
		l.poller.Release(&f.Probe.Dialer, f.fd, closed)
	}
	if f.Probe.SYN != nil {
		l.synScan.forget(f)
		if out.Reason != outcome.OK {
			f.Probe.SYN.source.invalidate()
		}
	}
	l.Finished = append(l.Finished, f)
}

// Close ends all that is under way, without an outcome.
func (l *Loop) Close() {
	for len(l.timers) > 0 {
		f := l.timers[0]
		if f.coro != nil {
			f.coro.stop()
			f.coro = nil
		}
		l.finish(f, outcome.Outcome{}, f.deadline)
	}
	l.Finished = nil
	for _, t := range l.idleCoros {
		t.stop()
	}
	l.idleCoros = nil
	l.synScan.close()
	l.poller.Close()
}

// timerHeap is a heap, the earliest first.
type timerHeap []*Inflight

func (a timerHeap) Len() int           { return len(a) }
func (a timerHeap) Less(i, j int) bool { return a[i].wakeAt.Before(a[j].wakeAt) }
func (a timerHeap) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].heapIndex, a[j].heapIndex = i, j
}

func (a *timerHeap) Push(x any) {
	f := x.(*Inflight)
	f.heapIndex = len(*a)
	*a = append(*a, f)
}

func (a *timerHeap) Pop() any {
	last := len(*a) - 1
	f := (*a)[last]
	(*a)[last], *a = nil, (*a)[:last]
	f.heapIndex = -1
	return f
}

// RunBlocking makes one light probe in a loop of its own.
func RunBlocking(ctx context.Context, deadline time.Time, what *LoopProbe) outcome.Outcome {
	k := NewPoller()
	if err := k.Open(); err != nil {
		return outcome.LocalFailure(err)
	}
	l := NewLoop(k)
	defer l.Close()
	defer context.AfterFunc(ctx, k.Wake)()
	f := &Inflight{}
	l.Start(f, what, time.Now(), deadline)
	for !f.Done && ctx.Err() == nil {
		all := l.Wait(l.NextWake(deadline), false)
		l.Process(all, time.Now())
	}
	return f.Outcome
}

// Stream is a connection as a talk knows it. Read and Write end at the deadline.
type Stream interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	LocalAddrPort() (netip.AddrPort, error)
}
