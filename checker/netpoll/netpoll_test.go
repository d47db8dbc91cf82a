package netpoll

import (
	"fmt"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/outcome"
	"net"
	"testing"
	"time"
)

// A session's Write continues after the server's window was full, its Read after there
// was no data, and Read returns the end when the server closes.
func TestTalk(t *testing.T) {
	const size = 8 << 20
	to := checktest.Serve(t, func(c net.Conn) {
		n, _ := io.CopyN(io.Discard, c, size)
		fmt.Fprint(c, n)
	})
	talk := func(c Stream) outcome.Outcome {
		if n, err := c.Write(make([]byte, size)); n != size {
			return outcome.FromError(outcome.PhaseSend, err, "")
		}
		got, err := io.ReadAll(c)
		if err != nil {
			return outcome.FromError(outcome.PhaseReceive, err, "")
		}
		return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, string(got))
	}
	out := RunBlocking(t.Context(), time.Now().Add(checktest.Patience), &LoopProbe{Dialer: Dialer{To: to}, Session: talk})
	checktest.Want(t, out, outcome.OK, outcome.PhaseReceive, fmt.Sprint(size))
}

// After many probes at once, only so many sockets wait for their next use.
func TestIdleSocketsAreBounded(t *testing.T) {
	to := checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	k := NewPoller().(*epollPoller)
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	d := Dialer{To: to}
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

// A socket that is reused keeps nothing: each probe has a source port of its own, and
// no data or error of the connection before it.
func TestSocketsAreUsedAgain(t *testing.T) {
	ports := make(chan string, 1000)
	to := checktest.Serve(t, func(c net.Conn) {
		ports <- c.RemoteAddr().String()
		c.Read(make([]byte, 1))
	})
	k := NewPoller()
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	l := NewLoop(k)
	defer l.Close()
	one := &LoopProbe{Dialer: Dialer{To: to}}
	refusing := &LoopProbe{Dialer: Dialer{To: checktest.Refusing(t)}}
	const rounds = 100
	fds := map[int]bool{}
	for i := range rounds {
		what, want := one, outcome.OK
		if i%3 == 1 {
			what, want = refusing, outcome.Refused
		}
		f := &Inflight{}
		l.Start(f, what, time.Now(), time.Now().Add(checktest.Patience))
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

// A session waits for the server to close, and no longer than CloseDelay for one that does
// not: its deadline is not the end.
func TestAwaitClose(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"closes":         func(c net.Conn) { io.ReadFull(c, make([]byte, 1)) },
		"does not close": func(c net.Conn) { io.Copy(io.Discard, c) },
		"goes on":        func(c net.Conn) { io.Copy(c, zeros{}) },
	} {
		t.Run(name, func(t *testing.T) {
			to := checktest.Serve(t, serve)
			talk := func(c Stream) outcome.Outcome {
				c.Write([]byte("x"))
				c.AwaitClose()
				return outcome.NewOutcome(outcome.OK, outcome.PhaseReceive, "")
			}
			out := RunBlocking(t.Context(), time.Now().Add(time.Hour), &LoopProbe{Dialer: Dialer{To: to}, Session: talk})
			checktest.Want(t, out, outcome.OK, outcome.PhaseReceive, "")
			d := Dialer{To: to}
			c, out := d.Connect(t.Context(), time.Now().Add(time.Hour))
			if c == nil {
				t.Fatal(out)
			}
			checktest.Want(t, talk(c), outcome.OK, outcome.PhaseReceive, "")
			c.Close()
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
