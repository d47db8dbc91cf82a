package checker

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopRig is an engine whose light probes run over a fake kernel.
func loopRig(t *testing.T) (*rig, *fakePoller) {
	r := newRig(t)
	r.Engine.newProber_ = NewProber
	return r, r.Engine.poller.(*fakePoller)
}

// Each probe of the loop ends in its one outcome, at its time.
func TestLoopOutcomes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		k.delay[addr(1)] = 300 * time.Microsecond
		k.delay[addr(2)], k.refuse[addr(2)] = time.Millisecond, unix.ECONNREFUSED
		k.delay[addr(3)] = -1
		k.delay[addr(4)], k.refuse[addr(4)] = 20*time.Millisecond, unix.EHOSTUNREACH
		k.delay[addr(5)], k.refuse[addr(5)] = 0, unix.ENOBUFS
		r.set(t, one(1), one(2), one(3), one(4), one(5))
		r.start(t)
		wait(10 * time.Second)
		for i, want := range map[int]Result{
			1: {Reason: OK, Took: 300 * time.Microsecond},
			2: {Reason: Refused, Detail: "connection refused", Took: time.Millisecond},
			3: {Reason: Timeout, Detail: "no answer", Took: time.Second},
			4: {Reason: Unreachable, Detail: "no route to host", Took: 20 * time.Millisecond},
			5: {Reason: Local, Detail: "no buffer space available (ENOBUFS)"},
		} {
			h, _ := r.Explain(id(i))
			history := h.Checks[0].History
			if len(history) < 5 {
				t.Errorf("server %d was probed %d times", i, len(history))
			}
			for n, got := range history {
				want.Phase, want.At = PhaseConnect, got.At
				if got != want {
					t.Errorf("server %d, probe %d: %+v, want %+v", i, n, got, want)
				}
				if n > 1 && got.At.Sub(history[n-1].At) != 2*time.Second {
					t.Errorf("server %d, probe %d came %v after the one before", i, n, got.At.Sub(history[n-1].At))
				}
			}
		}
		r.stop()
		for _, lag := range r.lags {
			if lag != 0 {
				t.Fatalf("a lag of %v where nothing is late", lag)
			}
		}
		if n := k.limit(0); n > 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// 500 servers that hang delay none of 500 that do not; then all is forgotten in
// the middle of it, and the old flights land nowhere.
func TestLoopHanging(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		var targets []Target
		for i := range 1000 {
			k.delay[addr(i)] = time.Millisecond
			if i%2 == 1 {
				k.delay[addr(i)] = -1
			}
			targets = append(targets, one(i))
		}
		r.set(t, targets...)
		r.start(t)
		wait(20 * time.Second)
		for i := range 1000 {
			h, _ := r.Explain(id(i))
			for _, got := range h.Checks[0].History {
				if i%2 == 0 && (got.Reason != OK || got.Took != time.Millisecond) || i%2 == 1 && (got.Reason != Timeout || got.Took != time.Second) {
					t.Fatalf("server %d: %+v", i, got)
				}
			}
			if n := len(h.Checks[0].History); n < 10 {
				t.Fatalf("server %d was probed %d times", i, n)
			}
		}
		r.set(t, targets[:10]...)
		wait(1100 * time.Millisecond)
		if n := k.limit(1000); n > 10 {
			t.Errorf("%d sockets for 10 servers", n)
		}
		wait(10 * time.Second)
		if h, _ := r.Explain(id(0)); h.Verdict != Up || len(r.Health()) != 10 {
			t.Errorf("%d targets, %+v", len(r.Health()), h)
		}
		r.stop()
		for _, lag := range r.lags {
			if lag != 0 {
				t.Fatalf("a lag of %v", lag)
			}
		}
		if n := k.limit(0); n > 0 {
			t.Errorf("%d sockets are left", n)
		}
	})
}

// Without descriptors no verdict moves, and with them it goes on.
func TestLoopWithoutDescriptors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, k := loopRig(t)
		k.delay[addr(1)], k.delay[addr(2)] = time.Millisecond, time.Millisecond
		r.set(t, one(1), one(2))
		r.start(t)
		wait(5 * time.Second)
		k.limit(0)
		wait(20 * time.Second)
		h := r.Health()
		for i := 1; i <= 2; i++ {
			if got := h[id(i)]; got.Verdict != Up || got.Checks[0].Last.Reason != Local || got.InARow != 0 {
				t.Errorf("without descriptors: %+v", got)
			}
		}
		k.limit(10)
		wait(2 * time.Second)
		if got := r.Health()[id(1)]; got.Checks[0].Last.Reason != OK {
			t.Errorf("with descriptors again: %+v", got)
		}
	})
}

// engineOn runs an engine on the kernel that there is until stop.
func engineOn(t testing.TB, targets []Target) (e *Engine, stop func()) {
	t.Helper()
	e = New(Options{})
	if err := e.Set(targets); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return e, stop
}

// until polls, as nothing tells when a probe ended.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !reached(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Ten thousand probes of all light kinds and a hundred reloads, in the loop and on
// real sockets, leave no socket and no goroutine.
func TestLoopLeavesNothing(t *testing.T) {
	good := server(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	hang := server(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	bad, hole := refusing(t), blackhole(t)
	kinds := []Check{
		{Type: TypeConnect, Address: good}, {Type: TypeConnect, Address: bad}, {Type: TypeConnect, Address: hole},
		{Type: TypeHTTP, Address: good, BodyExpect: "ok"}, {Type: TypeHTTP, Address: hang},
		{Type: TypeTCP, Address: good, Send: "\r\n\r\n", Expect: "200"}, {Type: TypeTCP, Address: hang, Expect: "never"},
	}
	want := []Reason{OK, Refused, Timeout, OK, Timeout, OK, Timeout}
	goroutines, before := runtime.NumGoroutine(), sockets(t)
	all := func(reload int) (targets []Target) {
		for i := range kinds {
			for n := range 20 {
				c := kinds[i]
				c.Interval, c.Timeout, c.Rise, c.Fall = 20*time.Millisecond, 15*time.Millisecond+time.Duration(n), 1, 1
				if n == reload%20 {
					c.Timeout -= time.Duration(reload) * time.Microsecond // another probe
				}
				targets = append(targets, Target{ID: ID{fmt.Sprint(i), fmt.Sprint(n)}, Checks: []Check{c}})
			}
		}
		return targets
	}
	e, stop := engineOn(t, all(0))
	total := func() (n uint64) {
		for _, h := range e.Health() {
			for _, count := range h.Checks[0].Totals.All() {
				n += count
			}
		}
		return n
	}
	for reload := range 100 {
		was := total()
		until(t, "probes", func() bool { return total() > was })
		if err := e.Set(all(reload)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "ten thousand probes", func() bool { return total() > 10000 })
	for id, h := range e.Health() {
		i := 0
		fmt.Sscan(id.Service, &i)
		for reason := range h.Checks[0].Totals.All() {
			// A server that shares two busy processors may be late.
			if reason != want[i] && reason != Timeout {
				t.Errorf("%+v is %v", kinds[i], reason)
			}
		}
	}
	stop()
	until(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= goroutines })
	// What was opened by the servers too, but one each that nobody asked to accept.
	until(t, "no descriptor more than before", func() bool { return sockets(t) <= before+2 })
}

// The end of an engine does not wait for servers that hang in whatever phase.
func TestLoopStopsInFlight(t *testing.T) {
	begun := make(chan struct{}, 2)
	silent := server(t, func(c net.Conn) { begun <- struct{}{}; io.Copy(io.Discard, c) })
	var targets []Target
	for i, c := range []Check{{Type: TypeConnect, Address: blackhole(t)}, {Type: TypeTCP, Address: silent, Expect: "x"}, {Type: TypeHTTP, Address: silent}} {
		c.Interval, c.Timeout, c.Rise, c.Fall = time.Hour, time.Hour, 1, 1
		targets = append(targets, Target{ID: ID{"s", fmt.Sprint(i)}, Checks: []Check{c}})
	}
	_, stop := engineOn(t, targets)
	for range 2 {
		select {
		case <-begun:
		case <-time.After(patience):
			t.Fatal("no probe begins")
		}
	}
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the engine does not end")
	}
}

// A socket that is used again brings nothing along: each probe has a source port of
// its own, and no news of the connection before it.
func TestSocketsAreUsedAgain(t *testing.T) {
	ports := make(chan string, 1000)
	to := server(t, func(c net.Conn) {
		ports <- c.RemoteAddr().String()
		c.Read(make([]byte, 1))
	})
	k := NewPoller()
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	l := NewLoop(k)
	defer l.Close()
	one := newConnectProbe(&Check{Address: to}).(LoopProber).LoopProbe()
	nobody := newConnectProbe(&Check{Address: refusing(t)}).(LoopProber).LoopProbe()
	const rounds = 100
	fds := map[int]bool{}
	for i := range rounds {
		what, want := one, OK
		if i%3 == 1 {
			what, want = nobody, Refused
		}
		f := &Inflight{}
		l.Start(f, what, time.Now(), time.Now().Add(patience))
		fds[f.fd] = true
		for !f.Done {
			l.Process(l.Wait(f.deadline, false), time.Now())
		}
		if f.Outcome.Reason != want {
			t.Fatalf("probe %d: %+v", i, f.Outcome)
		}
	}
	if len(fds) > 2 { // a refused one may be closed
		t.Errorf("%d probes, one after the other, had %d sockets", rounds, len(fds))
	}
	seen := map[string]bool{}
	for range (rounds*2 + 2) / 3 {
		seen[<-ports] = true
	}
	if len(seen) < rounds/2 {
		t.Errorf("%d connections came from %d ports", rounds, len(seen))
	}
}

// A talk's Write goes on where the server's window was full, its Read where nothing
// was there, and what the server closed is at its end.
func TestTalk(t *testing.T) {
	const size = 8 << 20
	to := server(t, func(c net.Conn) {
		n, _ := io.CopyN(io.Discard, c, size)
		fmt.Fprint(c, n)
	})
	talk := func(c Stream) Outcome {
		if n, err := c.Write(make([]byte, size)); n != size {
			return FromError(PhaseSend, err, "")
		}
		got, err := io.ReadAll(c)
		if err != nil {
			return FromError(PhaseReceive, err, "")
		}
		return NewOutcome(OK, PhaseReceive, string(got))
	}
	out := RunBlocking(t.Context(), time.Now().Add(patience), &LoopProbe{Dialer: Dialer{To: to}, Session: talk})
	want(t, out, OK, PhaseReceive, fmt.Sprint(size))
}

// After many probes at once, only so many sockets wait for their next use.
func TestIdleSocketsAreBounded(t *testing.T) {
	to := server(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	k := NewPoller()
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	d := newDialer(&Check{Address: to})
	var fds []int
	for range maxIdleSockets + 20 {
		fd, err := k.Connect(&d)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		k.Release(&d, fd, false)
	}
	if n := len(k.idle[sockOptsOf(&d)]); n != maxIdleSockets || k.idleCount != n {
		t.Errorf("%d sockets are idle, %d are counted, want %d", n, k.idleCount, maxIdleSockets)
	}
}
