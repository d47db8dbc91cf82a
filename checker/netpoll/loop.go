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
	Session func(Stream) outcome.Outcome // runs after the handshake; nil: the handshake is all
	SYN     *SYN                         // sends a SYN instead of connecting; Session is not used
}

// Inflight is a LoopProbe in progress. After its end the next probe may use it.
type Inflight struct {
	Probe             *LoopProbe
	Owner             any
	Started, deadline time.Time
	wakeAt            time.Time // the deadline, or the time of a retransmission before it
	heapIndex         int       // in timers; -1: not there
	fd                int       // -1: none
	coro              *coro     // nil before the handshake is over
	synKey            synKey    // of a SYN probe
	synSeq            uint32    // of a SYN probe

	Outcome outcome.Outcome
	Took    time.Duration
	Done    bool
}

// Loop makes probes. One goroutine owns it: nothing of it is safe for concurrent use
// except Poller.Wake.
type Loop struct {
	poller    Poller
	synScan   *synScan
	inflight  []*Inflight // by file descriptor
	timers    timerHeap
	Finished  []*Inflight // not reported yet
	idleCoros []*coro
}

// NewLoop returns a loop over an open poller.
func NewLoop(k Poller) *Loop { return &Loop{poller: k, synScan: newSYNScan(k)} }

// Start starts a probe, which may end at once.
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

// retransmitAt returns when an unanswered SYN that is sent now is due again.
func (f *Inflight) retransmitAt(now time.Time) time.Time {
	if next := now.Add(synRetransmit); next.Before(f.deadline) {
		return next
	}
	return f.deadline
}

// NextWake returns when the loop has something to do on its own, limit at the latest.
func (l *Loop) NextWake(limit time.Time) time.Time {
	if len(l.timers) > 0 && l.timers[0].wakeAt.Before(limit) {
		return l.timers[0].wakeAt
	}
	return limit
}

// Wait sends the SYNs of probes that were started, and waits until the time, or for
// events. With poll it does not wait.
func (l *Loop) Wait(until time.Time, poll bool) []Event {
	l.synScan.flush(func(f *Inflight, err error) {
		l.finish(f, outcome.FromError(outcome.PhaseConnect, err, ""), f.Started)
		poll = true
	})
	return l.poller.Wait(until, poll)
}

// Process handles events, and the deadlines and retransmissions that are due.
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

// handle handles an event of one probe.
func (l *Loop) handle(f *Inflight, n Event, now time.Time) {
	if f.coro == nil {
		connected := n.Writable
		if n.Broken {
			established, err := l.poller.ConnectError(f.fd)
			if err != nil {
				l.finish(f, outcome.FromError(outcome.PhaseConnect, err, ""), now)
				return
			}
			connected = established
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
		return
	}
	if limit := now.Add(CloseDelay); f.coro.closing && limit.Before(f.wakeAt) {
		f.wakeAt = limit
		heap.Fix(&l.timers, f.heapIndex)
	}
}

// expire handles the timer of a probe.
func (l *Loop) expire(f *Inflight, now time.Time) {
	switch {
	case f.Probe.SYN != nil && now.Before(f.deadline): // not answered yet
		if out, bad := l.synScan.resend(f); bad {
			l.finish(f, out, now)
			return
		}
		f.wakeAt = f.retransmitAt(now)
		heap.Fix(&l.timers, f.heapIndex)
	case f.coro == nil:
		l.finish(f, outcome.FromError(outcome.PhaseConnect, os.ErrDeadlineExceeded, ""), now)
	default: // the session ends with what it has read so far, or stops waiting for the end
		f.coro.timedOut = true
		l.resume(f, now)
	}
}

// finish ends a probe.
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

// Close ends all probes in progress, without an outcome, and closes the poller.
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

// timerHeap is a heap of probes, the earliest wake-up first.
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

// RunBlocking makes one LoopProbe in a loop of its own. It returns a zero Outcome if
// ctx ends first.
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

// Stream is the connection of a session. Read and Write fail with
// os.ErrDeadlineExceeded at the deadline.
type Stream interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	LocalAddrPort() (netip.AddrPort, error)
	// AwaitClose waits at most CloseDelay for the server to close its side. A session
	// may call it last.
	AwaitClose()
}

// CloseDelay bounds the wait for a server to close a connection that it is done with. One
// that is reset instead may leave a line in the server's log.
const CloseDelay = 100 * time.Millisecond

// maxTrailing bounds what is read of such a server, in bytes: as much as of any response.
const maxTrailing = 256 << 10
