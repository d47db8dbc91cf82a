package checker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is a deadline that no test reaches; hurry is one that tests of slow
// servers wait for.
const (
	patience = 20 * time.Second
	hurry    = 150 * time.Millisecond
)

// server listens on the loopback address and lets serve speak to each caller.
func server(t testing.TB, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, serve)
}

func serveOn(t testing.TB, l net.Listener, serve func(net.Conn)) netip.AddrPort {
	var all, busy sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	to := l.Addr().(*net.TCPAddr).AddrPort()
	idle.Store(to, busy.Wait)
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			busy.Add(1)
			all.Go(func() {
				defer busy.Done()
				serve(c)
				c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return to
}

// idle holds, for the address of each server, a function that waits until it has
// ended what it accepted.
var idle sync.Map

// answering reads a request and answers it.
func answering(answer string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		io.WriteString(c, answer)
	}
}

func readRequest(c net.Conn) string {
	var got []byte
	b := make([]byte, 1024)
	for !bytes.Contains(got, []byte("\r\n\r\n")) {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			break
		}
	}
	return string(got)
}

// once makes one probe of a check; its Timeout may be left out.
func once(t testing.TB, c Check) Outcome {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = patience
	}
	p, err := NewProber(&c, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	out := p.Probe(t.Context(), time.Now().Add(c.Timeout))
	if l, ok := p.(LoopProber); ok && l.LoopProbe() != nil { // the loop's way comes to the same
		looped := RunBlocking(t.Context(), time.Now().Add(c.Timeout), l.LoopProbe())
		samePhase := looped.Phase == out.Phase || out.Reason == Reset // it may come before anything is said, or after
		if looped.Reason != out.Reason || !samePhase || !alike(looped.Detail, out.Detail) {
			t.Errorf("beside the loop: %+v\nin the loop: %+v", out, looped)
		}
	}
	return out
}

// alike leaves out what may differ from one probe to the next: how much of an
// answer had come when it broke off.
func alike(a, b string) bool {
	if a == "no answer" || b == "no answer" {
		return true
	}
	n := min(len(a), len(b), 4)
	return a[:n] == b[:n]
}

func want(t *testing.T, got Outcome, reason Reason, phase, detail string) {
	t.Helper()
	if got.Reason != reason || got.Phase != phase || !strings.Contains(got.Detail, detail) {
		t.Errorf("got %v in %s: %s\nwant %v in %s: …%s…", got.Reason, got.Phase, got.Detail, reason, phase, detail)
	}
	if len(got.Detail) > MaxDetail {
		t.Errorf("the detail has %d bytes", len(got.Detail))
	}
	for _, b := range []byte(got.Detail) {
		if b < ' ' || b > '~' {
			t.Errorf("the detail %q is not printable ASCII", got.Detail)
			break
		}
	}
}

// refusing is an address where nobody listens.
func refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// blackhole is an address that answers no SYN: a listener that never accepts and
// whose queue is full.
func blackhole(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 4 {
		d := Dialer{To: to}
		fd, _, err := d.startConnect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	return to
}

func TestConnect(t *testing.T) {
	open := server(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	want(t, once(t, Check{Type: TypeConnect, Address: open}), OK, PhaseConnect, "")
	want(t, once(t, Check{Type: TypeConnect, Address: refusing(t)}), Refused, PhaseConnect, "connection refused")
	want(t, once(t, Check{Type: TypeConnect, Address: blackhole(t), Timeout: hurry}), Timeout, PhaseConnect, "no answer")
	mapped := netip.AddrPortFrom(netip.AddrFrom16(open.Addr().As16()), open.Port())
	want(t, once(t, Check{Type: TypeConnect, Address: mapped}), OK, PhaseConnect, "")
}

func TestConnectIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("this machine has no IPv6 loopback address: %v", err)
	}
	to := serveOn(t, l, func(c net.Conn) { io.Copy(io.Discard, c) })
	want(t, once(t, Check{Type: TypeConnect, Address: to}), OK, PhaseConnect, "")
	want(t, once(t, Check{Type: TypeConnect, Address: to, From: netip.MustParseAddr("::1")}), OK, PhaseConnect, "")
	zoned := netip.AddrPortFrom(to.Addr().WithZone("nosuch0"), to.Port())
	want(t, once(t, Check{Type: TypeConnect, Address: zoned}), Local, PhaseConnect, "ENODEV")
	zoned = netip.AddrPortFrom(netip.MustParseAddr("fe80::1%lo"), to.Port())
	if got := once(t, Check{Type: TypeConnect, Address: zoned, Timeout: hurry}); got.Reason == OK {
		t.Errorf("an address that is nowhere: %+v", got)
	}
}

// The source address is used, and one that is not ours is our own trouble.
func TestFrom(t *testing.T) {
	from := make(chan string, 1)
	to := server(t, func(c net.Conn) { from <- c.RemoteAddr().(*net.TCPAddr).IP.String() })
	c := Check{Type: TypeConnect, Address: to, From: netip.MustParseAddr("127.0.0.77")}
	want(t, once(t, c), OK, PhaseConnect, "")
	if got := <-from; got != "127.0.0.77" {
		t.Errorf("the server saw %s", got)
	}
	c.From = netip.MustParseAddr("192.0.2.1")
	want(t, once(t, c), Local, PhaseConnect, "failed to bind to 192.0.2.1: cannot assign requested address (EADDRNOTAVAIL)")
	before := sockets(t)
	for range 100 {
		once(t, c)
	}
	if after := sockets(t); after > before+2 { // the server's
		t.Errorf("a hundred probes that could not start made %d descriptors of %d", after, before)
	}
}

// The mark is on the socket that connects, and without the right to set one it is
// our own trouble.
func TestMark(t *testing.T) {
	c := Check{Type: TypeConnect, Address: server(t, func(net.Conn) {}), Mark: 0x51}
	d := newDialer(&c)
	fd, _, err := d.startConnect()
	if err == nil {
		defer unix.Close(fd)
		if mark, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0x51 {
			t.Errorf("the socket has the mark %#x, %v", mark, err)
		}
		want(t, once(t, c), OK, PhaseConnect, "")
		return
	}
	if os.Geteuid() == 0 {
		t.Logf("root without CAP_NET_ADMIN here: %v", err)
	}
	want(t, once(t, c), Local, PhaseConnect, "EPERM")
}

func TestTCP(t *testing.T) {
	banner := func(s string) netip.AddrPort {
		return server(t, func(c net.Conn) { io.WriteString(c, s); io.Copy(io.Discard, c) })
	}
	echo := server(t, func(c net.Conn) { io.Copy(c, c) })
	reset := server(t, func(c net.Conn) { c.Read(make([]byte, 1)); c.(*net.TCPConn).SetLinger(0) })
	resetAtOnce := server(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) })
	polite := server(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	dribble := server(t, func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			pause(c, 20*time.Millisecond)
		}
	})
	gigabytes := server(t, func(c net.Conn) {
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	pieces := server(t, func(c net.Conn) {
		for _, s := range []string{"+P", "ON", "G\r\n"} {
			io.WriteString(c, s)
			pause(c, 10*time.Millisecond)
		}
		io.Copy(io.Discard, c)
	})
	tests := []struct {
		name         string
		to           netip.AddrPort
		send, expect string
		reason       Reason
		phase        string
		detail       string
	}{
		{"nothing asked", echo, "", "", OK, PhaseConnect, ""},
		{"only sent", echo, "hello", "", OK, PhaseSend, ""},
		{"sent and expected", echo, "PING\r\n", "^PING", OK, PhaseReceive, `"PING\r\n"`},
		{"the banner", banner("220 mail ESMTP\r\n"), "", "^220 .*ESMTP", OK, PhaseReceive, `"220 mail ESMTP\r\n"`},
		{"in pieces", pieces, "", "PONG", OK, PhaseReceive, `"+PONG`},
		{"not what is expected", banner("421 busy\r\n"), "", "^220", Timeout, PhaseReceive, `"421 busy\r\n"`},
		{"closed", polite, "x", "y", Closed, PhaseReceive, ""},
		{"another answer, then closed", server(t, func(c net.Conn) { io.WriteString(c, "no") }), "", "yes", Body, PhaseReceive, `"no"`},
		{"reset", reset, "xx", "y", Reset, PhaseReceive, "reset by peer"},
		{"dribbling", dribble, "", "y", Timeout, PhaseReceive, `"xxx`},
		{"silent", echo, "", "y", Timeout, PhaseReceive, "no answer"},
		{"gigabytes", gigabytes, "", "y", Body, PhaseReceive, `\x00`},
		{"refused", refusing(t), "a", "b", Refused, PhaseConnect, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeTCP, Address: tt.to, Send: tt.send, Expect: tt.expect}
			if tt.reason == Timeout {
				c.Timeout = hurry
			}
			want(t, once(t, c), tt.reason, tt.phase, tt.detail)
		})
	}
	t.Run("reset after the handshake", func(t *testing.T) {
		got := once(t, Check{Type: TypeTCP, Address: resetAtOnce, Expect: "y"})
		if got.Reason != Reset { // in whatever phase it is seen
			t.Errorf("got %+v", got)
		}
	})
}

// pause lets a slow server be slow, until its caller goes.
func pause(c net.Conn, d time.Duration) {
	c.SetReadDeadline(time.Now().Add(d))
	c.Read(make([]byte, 1))
	c.SetReadDeadline(time.Time{})
}

// A probe ends soon after its context, in each phase.
func TestCancel(t *testing.T) {
	silent := server(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, c := range []Check{
		{Type: TypeConnect, Address: blackhole(t)},
		{Type: TypeTCP, Address: silent, Expect: "x"},
		{Type: TypeHTTP, Address: silent},
		{Type: TypeHTTPS, Address: silent},
	} {
		p, err := NewProber(&c, NewShared())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan Outcome)
		go func() { done <- p.Probe(ctx, time.Now().Add(time.Hour)) }()
		time.AfterFunc(20*time.Millisecond, cancel)
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("a probe of type %s does not end with its context", c.Type)
		}
	}
}

// sockets counts this process's descriptors.
func sockets(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// Ten thousand probes, good and bad, leave no socket (and TestMain sees that they
// leave no goroutine).
func TestNothingIsLeft(t *testing.T) {
	good := server(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	bad, open := refusing(t), server(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	checks := []Check{
		{Type: TypeConnect, Address: open}, {Type: TypeConnect, Address: bad}, {Type: TypeHTTP, Address: good, BodyExpect: "ok"},
		{Type: TypeHTTPS, Address: open}, {Type: TypeTCP, Address: good, Send: "\r\n\r\n", Expect: "200"},
	}
	var probers []Prober
	for _, c := range checks {
		p, err := NewProber(&c, NewShared())
		if err != nil {
			t.Fatal(err)
		}
		probers = append(probers, p)
		p.Probe(t.Context(), time.Now().Add(patience))
	}
	settled := func() int { // what was opened by a server, too
		for _, to := range []netip.AddrPort{good, open} {
			wait, _ := idle.Load(to)
			wait.(func())()
		}
		return sockets(t)
	}
	before := settled()
	var all sync.WaitGroup
	results := make([]map[Reason]int, 8)
	for w := range results {
		results[w] = map[Reason]int{}
		all.Go(func() {
			for i := range 10000 / len(results) {
				out := probers[i%len(probers)].Probe(t.Context(), time.Now().Add(patience))
				results[w][out.Reason]++
			}
		})
	}
	all.Wait()
	total := map[Reason]int{}
	for _, r := range results {
		for reason, n := range r {
			total[reason] += n
		}
	}
	if total[OK] != 6000 || total[Refused] != 2000 {
		t.Errorf("ended in %v", total)
	}
	if after := settled(); after > before+2 { // one a listener, that nobody asked to accept yet
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// Our side closes without a TIME_WAIT: the count of the machine stays.
func TestNoTimeWait(t *testing.T) {
	to := server(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	p, err := NewProber(&Check{Type: TypeConnect, Address: to}, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if out := p.Probe(t.Context(), time.Now().Add(patience)); out.Reason != OK {
			t.Fatal(out)
		}
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", to.Port())) && f[3] == "06" {
			n++
		}
	}
	if n > 0 {
		t.Errorf("%d connections to %v are in TIME_WAIT", n, to)
	}
}

// errnoError is an error as the kernel's come: wrapped.
func errnoError(name string) error {
	for e := unix.Errno(1); e < 200; e++ {
		if unix.ErrnoName(e) == name {
			return &os.PathError{Op: "connect", Path: "probe", Err: e}
		}
	}
	panic("no errno " + name)
}
