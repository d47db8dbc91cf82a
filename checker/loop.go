// This file makes light probes: those that are a connection and a short talk. One
// loop makes all of them, in one goroutine: it begins what is due together, hears
// of all sockets in one system call, reads the clock once for all that happened,
// and no probe has a goroutine or a timer of its own. It never decides when a
// probe is due or what its outcome means.

package checker

import (
	"container/heap"
	"context"
	"net/netip"
	"os"
	"time"
)

// light is a probe that the loop can make.
type light struct {
	dialer dialer
	talk   func(peer) outcome // what is said after the handshake; nil: nothing is
	syn    *synProbe          // in place of both
}

// lighter is a prober that may be light. It may answer nil at one time, when it
// has to wait for something, and not at another.
type lighter interface{ light() *light }

// flight is one light probe under way. Where one ended, the next may begin in it.
type flight struct {
	light           *light
	owner           *probe
	began, deadline time.Time
	alarm           time.Time // the deadline, or before it something to do
	place           int       // among the alarms; -1: not there
	fd              int       // -1: none
	talker          *talker   // nil before the handshake is over
	half            halfKey   // of a SYN
	sequence        uint32    // likewise

	out  outcome
	took time.Duration
	over bool
}

// loop is owned by one goroutine; nothing of it is safe for concurrent use but
// kernel.kick.
type loop struct {
	kernel kernel
	halves *halves
	aloft  []*flight // by descriptor
	alarms alarms
	landed []*flight // and nobody was told
	spare  []*talker
}

func newLoop(k kernel) *loop { return &loop{kernel: k, halves: newHalves(k)} }

// begin starts a probe, which may be over at once.
func (l *loop) begin(f *flight, what *light, now, deadline time.Time) {
	*f = flight{light: what, owner: f.owner, began: now, deadline: deadline, alarm: deadline, place: -1, fd: -1}
	if what.syn != nil {
		if out, bad := l.halves.begin(f); bad {
			l.land(f, out, now)
			return
		}
		f.alarm = f.next(now)
		heap.Push(&l.alarms, f)
		return
	}
	fd, err := l.kernel.connect(&what.dialer)
	if err != nil {
		l.land(f, failed(PhaseConnect, err, ""), now)
		return
	}
	for len(l.aloft) <= fd {
		l.aloft = append(l.aloft, nil)
	}
	f.fd, l.aloft[fd] = fd, f
	heap.Push(&l.alarms, f)
}

// next is when a SYN that was sent now has something to do.
func (f *flight) next(now time.Time) time.Time {
	if again := now.Add(synAgain); again.Before(f.deadline) {
		return again
	}
	return f.deadline
}

// until is when the loop has something to do by itself, at the latest at limit.
func (l *loop) until(limit time.Time) time.Time {
	if len(l.alarms) > 0 && l.alarms[0].alarm.Before(limit) {
		return l.alarms[0].alarm
	}
	return limit
}

// wait sends what was begun, and waits for news.
func (l *loop) wait(until time.Time, look bool) []news {
	l.halves.flush(func(f *flight, err error) {
		l.land(f, failed(PhaseConnect, err, ""), f.began)
		look = true
	})
	return l.kernel.wait(until, look)
}

// proceed takes news, and what the time brings.
func (l *loop) proceed(all []news, now time.Time) {
	for _, n := range all {
		if h := l.halves.at(n.fd); h != nil {
			h.receive(func(f *flight, reason Reason) { l.land(f, answered(reason), now) })
		} else if n.fd < len(l.aloft) && l.aloft[n.fd] != nil {
			l.hear(l.aloft[n.fd], n, now)
		}
	}
	for len(l.alarms) > 0 && !l.alarms[0].alarm.After(now) {
		l.ring(l.alarms[0], now)
	}
}

// hear takes one probe's news.
func (l *loop) hear(f *flight, n news, now time.Time) {
	if f.talker == nil {
		connected := n.writable
		if n.broken {
			stands, err := l.kernel.failure(f.fd)
			if err != nil {
				l.land(f, failed(PhaseConnect, err, ""), now)
				return
			}
			connected = stands
		}
		switch {
		case !connected:
			return
		case f.light.talk == nil:
			l.land(f, outcome{reason: OK, phase: PhaseConnect}, now)
			return
		}
		f.talker = l.talkerFor(f)
	}
	f.talker.readable = f.talker.readable || n.readable
	l.resume(f, now)
}

func (l *loop) resume(f *flight, now time.Time) {
	if f.talker.resume() {
		l.land(f, f.talker.out, now)
	}
}

// ring is a flight's alarm.
func (l *loop) ring(f *flight, now time.Time) {
	switch {
	case now.Before(f.deadline): // a SYN that was not answered
		if out, bad := l.halves.again(f); bad {
			l.land(f, out, now)
			return
		}
		f.alarm = f.next(now)
		heap.Fix(&l.alarms, f.place)
	case f.talker == nil:
		l.land(f, failed(PhaseConnect, os.ErrDeadlineExceeded, ""), now)
	default: // what it heard until now is in the outcome
		f.talker.late = true
		l.resume(f, now)
	}
}

// land ends a flight.
func (l *loop) land(f *flight, out outcome, now time.Time) {
	f.out, f.took, f.over = out, now.Sub(f.began), true
	if f.place >= 0 {
		heap.Remove(&l.alarms, f.place)
	}
	closed := false
	if t := f.talker; t != nil {
		closed, f.talker = t.closed, nil
		l.spare = t.rest(l.spare)
	}
	if f.fd >= 0 {
		l.aloft[f.fd] = nil
		l.kernel.release(&f.light.dialer, f.fd, closed)
	}
	if f.light.syn != nil {
		l.halves.end(f)
		if out.reason != OK {
			f.light.syn.source.forget()
		}
	}
	l.landed = append(l.landed, f)
}

// close ends all that is under way, without an outcome.
func (l *loop) close() {
	for len(l.alarms) > 0 {
		f := l.alarms[0]
		if f.talker != nil {
			f.talker.stop()
			f.talker = nil
		}
		l.land(f, outcome{}, f.deadline)
	}
	l.landed = nil
	for _, t := range l.spare {
		t.stop()
	}
	l.spare = nil
	l.halves.close()
	l.kernel.close()
}

// alarms is a heap, the earliest first.
type alarms []*flight

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].alarm.Before(a[j].alarm) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

func (a *alarms) Push(x any) {
	f := x.(*flight)
	f.place = len(*a)
	*a = append(*a, f)
}

func (a *alarms) Pop() any {
	last := len(*a) - 1
	f := (*a)[last]
	(*a)[last], *a = nil, (*a)[:last]
	f.place = -1
	return f
}

// alone makes one light probe in a loop of its own.
func alone(ctx context.Context, deadline time.Time, what *light) outcome {
	k := newSystem()
	if err := k.open(); err != nil {
		return local(err)
	}
	l := newLoop(k)
	defer l.close()
	defer context.AfterFunc(ctx, k.kick)()
	f := &flight{}
	l.begin(f, what, time.Now(), deadline)
	for !f.over && ctx.Err() == nil {
		all := l.wait(l.until(deadline), false)
		l.proceed(all, time.Now())
	}
	return f.out
}

// peer is a connection as a talk knows it. Read and Write end at the deadline.
type peer interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	local() (netip.AddrPort, error)
}
