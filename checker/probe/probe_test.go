package probe

import (
	"context"
	"fmt"
	"io"
	"lvsd/checker/checktest"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// once makes one probe of a check; its Timeout may be left out.
func once(t testing.TB, c Check) outcome.Outcome {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = checktest.Patience
	}
	p, err := NewProber(&c, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	out := p.Probe(t.Context(), time.Now().Add(c.Timeout))
	if l, ok := p.(LoopProber); ok && l.LoopProbe() != nil { // the loop has the same result
		looped := netpoll.RunBlocking(t.Context(), time.Now().Add(c.Timeout), l.LoopProbe())
		samePhase := looped.Phase == out.Phase || out.Reason == outcome.Reset // it may come before any data, or after
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
	n := min(max(len(a), 1)-1, max(len(b), 1)-1, 4) // without the quote at its end
	return a[:n] == b[:n]
}

func TestConnect(t *testing.T) {
	open := checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: open}), outcome.OK, outcome.PhaseConnect, "")
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: checktest.Refusing(t)}), outcome.Refused, outcome.PhaseConnect, "connection refused")
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: checktest.Blackhole(t), Timeout: checktest.Hurry}), outcome.Timeout, outcome.PhaseConnect, "no answer")
	mapped := netip.AddrPortFrom(netip.AddrFrom16(open.Addr().As16()), open.Port())
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: mapped}), outcome.OK, outcome.PhaseConnect, "")
}

func TestConnectIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("this machine has no IPv6 loopback address: %v", err)
	}
	to := checktest.ServeOn(t, l, func(c net.Conn) { io.Copy(io.Discard, c) })
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: to}), outcome.OK, outcome.PhaseConnect, "")
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: to, From: netip.MustParseAddr("::1")}), outcome.OK, outcome.PhaseConnect, "")
	zoned := netip.AddrPortFrom(to.Addr().WithZone("nosuch0"), to.Port())
	checktest.Want(t, once(t, Check{Type: TypeConnect, Address: zoned}), outcome.Local, outcome.PhaseConnect, "ENODEV")
	zoned = netip.AddrPortFrom(netip.MustParseAddr("fe80::1%lo"), to.Port())
	if got := once(t, Check{Type: TypeConnect, Address: zoned, Timeout: checktest.Hurry}); got.Reason == outcome.OK {
		t.Errorf("an address that is nowhere: %+v", got)
	}
}

// The source address is used, and one that this machine does not have is a local
// failure.
func TestFrom(t *testing.T) {
	from := make(chan string, 1)
	to := checktest.Serve(t, func(c net.Conn) { from <- c.RemoteAddr().(*net.TCPAddr).IP.String() })
	c := Check{Type: TypeConnect, Address: to, From: netip.MustParseAddr("127.0.0.77")}
	checktest.Want(t, once(t, c), outcome.OK, outcome.PhaseConnect, "")
	if got := <-from; got != "127.0.0.77" {
		t.Errorf("the server saw %s", got)
	}
	c.From = netip.MustParseAddr("192.0.2.1")
	checktest.Want(t, once(t, c), outcome.Local, outcome.PhaseConnect, "failed to bind to 192.0.2.1: cannot assign requested address (EADDRNOTAVAIL)")
	before := checktest.Descriptors(t)
	for range 100 {
		once(t, c)
	}
	if after := checktest.Descriptors(t); after > before+2 { // the server's
		t.Errorf("a hundred probes that could not start made %d descriptors of %d", after, before)
	}
}

// The interface is used, and one that this machine lacks is a local failure.
func TestInterface(t *testing.T) {
	c := Check{Type: TypeConnect, Address: checktest.Serve(t, func(net.Conn) {}), Interface: "lo"}
	checktest.Want(t, once(t, c), outcome.OK, outcome.PhaseConnect, "")
	c.Interface = "no-such-device"
	checktest.Want(t, once(t, c), outcome.Local, outcome.PhaseConnect, "failed to bind to interface no-such-device: no such device (ENODEV)")
}

// The mark is on the socket that connects, and without the permission to set one it is
// a local failure.
func TestMark(t *testing.T) {
	c := Check{Type: TypeConnect, Address: checktest.Serve(t, func(net.Conn) {}), Mark: 0x51}
	d := newDialer(&c)
	conn, out := d.Connect(t.Context(), time.Now().Add(checktest.Patience))
	if conn != nil {
		defer conn.Close()
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if mark, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err != nil || mark != 0x51 {
				t.Errorf("the socket has the mark %#x, %v", mark, err)
			}
		})
		checktest.Want(t, once(t, c), outcome.OK, outcome.PhaseConnect, "")
		return
	}
	if os.Geteuid() == 0 {
		t.Logf("root without CAP_NET_ADMIN here: %v", out)
	}
	checktest.Want(t, once(t, c), outcome.Local, outcome.PhaseConnect, "EPERM")
}

func TestTCP(t *testing.T) {
	banner := func(s string) netip.AddrPort {
		return checktest.Serve(t, func(c net.Conn) { io.WriteString(c, s); io.Copy(io.Discard, c) })
	}
	echo := checktest.Serve(t, func(c net.Conn) { io.Copy(c, c) })
	reset := checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 1)); c.(*net.TCPConn).SetLinger(0) })
	resetAtOnce := checktest.Serve(t, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) })
	polite := checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	dribble := checktest.Serve(t, func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
			pause(c, 20*time.Millisecond)
		}
	})
	gigabytes := checktest.Serve(t, func(c net.Conn) {
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})
	pieces := checktest.Serve(t, func(c net.Conn) {
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
		reason       outcome.Reason
		phase        string
		detail       string
	}{
		{"nothing asked", echo, "", "", outcome.OK, outcome.PhaseConnect, ""},
		{"only sent", echo, "hello", "", outcome.OK, outcome.PhaseSend, ""},
		{"sent and expected", echo, "PING\r\n", "^PING", outcome.OK, outcome.PhaseReceive, `"PING\r\n"`},
		{"the banner", banner("220 mail ESMTP\r\n"), "", "^220 .*ESMTP", outcome.OK, outcome.PhaseReceive, `"220 mail ESMTP\r\n"`},
		{"in pieces", pieces, "", "PONG", outcome.OK, outcome.PhaseReceive, `"+PONG`},
		{"not what is expected", banner("421 busy\r\n"), "", "^220", outcome.Body, outcome.PhaseReceive, `"421 busy\r\n"`},
		{"half a line", banner("421 bu"), "", "^220", outcome.Timeout, outcome.PhaseReceive, `"421 bu"`},
		{"a line in CRLF", banner("+OK\r\n"), "", `^\+OK$`, outcome.OK, outcome.PhaseReceive, `"+OK\r\n"`},
		{"bytes", banner("\xff\xfe\n"), "", `^\xff\xfe$`, outcome.OK, outcome.PhaseReceive, `"\xff\xfe\n"`},
		{"closed", polite, "x", "y", outcome.Closed, outcome.PhaseReceive, ""},
		{"another answer, then closed", checktest.Serve(t, func(c net.Conn) { io.WriteString(c, "no") }), "", "yes", outcome.Body, outcome.PhaseReceive, `"no"`},
		{"reset", reset, "xx", "y", outcome.Reset, outcome.PhaseReceive, "reset by peer"},
		{"dribbling", dribble, "", "y", outcome.Timeout, outcome.PhaseReceive, `"x`},
		{"silent", echo, "", "y", outcome.Timeout, outcome.PhaseReceive, "no answer"},
		{"gigabytes", gigabytes, "", "y", outcome.Body, outcome.PhaseReceive, `not in the first 16384 bytes (read_limit): \x00`},
		{"refused", checktest.Refusing(t), "a", "b", outcome.Refused, outcome.PhaseConnect, "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Check{Type: TypeTCP, Address: tt.to, Send: tt.send, Expect: tt.expect}
			if tt.reason == outcome.Timeout || tt.reason == outcome.Body {
				c.Timeout = checktest.Hurry
			}
			checktest.Want(t, once(t, c), tt.reason, tt.phase, tt.detail)
		})
	}
	t.Run("reset after the handshake", func(t *testing.T) {
		got := once(t, Check{Type: TypeTCP, Address: resetAtOnce, Expect: "y"})
		if got.Reason != outcome.Reset { // in whatever phase it is seen
			t.Errorf("got %+v", got)
		}
	})
}

// What must not come fails at once, and before what is expected.
func TestExpectNot(t *testing.T) {
	serve := func(s string) netip.AddrPort {
		return checktest.Serve(t, func(c net.Conn) { io.WriteString(c, s); io.Copy(io.Discard, c) })
	}
	for _, tt := range []struct {
		answer string
		reason outcome.Reason
	}{{"220 ready\r\n", outcome.OK}, {"421 busy\r\n", outcome.Body}, {"220 maintenance\r\n", outcome.Body}} {
		c := Check{Type: TypeTCP, Address: serve(tt.answer), Expect: "^220", ExpectNot: "^421|maintenance"}
		checktest.Want(t, once(t, c), tt.reason, outcome.PhaseReceive, strings.TrimSpace(tt.answer))
		c.Steps, c.Expect, c.ExpectNot = []Step{{Expect: "^220", ExpectNot: "^421|maintenance"}}, "", ""
		checktest.Want(t, once(t, c), tt.reason, outcome.PhaseReceive, strings.TrimSpace(tt.answer))
	}
	echo := checktest.ServeUDP(t, func(b []byte) [][]byte { return [][]byte{b} })
	checktest.Want(t, once(t, Check{Type: TypeUDP, Address: echo, Send: "abc", Expect: "a", ExpectNot: "c"}), outcome.Body, outcome.PhaseReceive, "abc")
}

// A connection ends in a reset, or in order where that is asked for.
func TestFIN(t *testing.T) {
	for _, kind := range []string{TypeConnect, TypeTCP} {
		for _, fin := range []bool{false, true} {
			ended := make(chan error, 2) // in the loop and beside it
			to := checktest.Serve(t, func(c net.Conn) { _, err := c.Read(make([]byte, 1)); ended <- err })
			checktest.Want(t, once(t, Check{Type: kind, Address: to, FIN: fin}), outcome.OK, outcome.PhaseConnect, "")
			for range 2 {
				if err := <-ended; (err == io.EOF) != fin {
					t.Errorf("%s, FIN %v: the server sees %v", kind, fin, err)
				}
			}
		}
	}
}

// pause delays a slow server until its client disconnects.
func pause(c net.Conn, d time.Duration) {
	c.SetReadDeadline(time.Now().Add(d))
	c.Read(make([]byte, 1))
	c.SetReadDeadline(time.Time{})
}

// A probe ends soon after its context, in each phase.
func TestCancel(t *testing.T) {
	silent := checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, c := range []Check{
		{Type: TypeConnect, Address: checktest.Blackhole(t)},
		{Type: TypeTCP, Address: silent, Expect: "x"},
		{Type: TypeHTTP, Address: silent},
		{Type: TypeHTTPS, Address: silent},
	} {
		p, err := NewProber(&c, NewShared())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan outcome.Outcome)
		go func() { done <- p.Probe(ctx, time.Now().Add(time.Hour)) }()
		time.AfterFunc(20*time.Millisecond, cancel)
		select {
		case <-done:
		case <-time.After(checktest.Patience):
			t.Fatalf("a probe of type %s does not end with its context", c.Type)
		}
	}
}

// Ten thousand probes, good and bad, leave no socket (and TestMain sees that they
// leave no goroutine).
func TestNothingIsLeft(t *testing.T) {
	good := checktest.Serve(t, checktest.Answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	bad, open := checktest.Refusing(t), checktest.Serve(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
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
		p.Probe(t.Context(), time.Now().Add(checktest.Patience))
	}
	settled := func() int { // what was opened by a server, too
		for _, to := range []netip.AddrPort{good, open} {
			wait, _ := checktest.IdleServers.Load(to)
			wait.(func())()
		}
		return checktest.Descriptors(t)
	}
	before := settled()
	var all sync.WaitGroup
	results := make([]map[outcome.Reason]int, 8)
	for w := range results {
		results[w] = map[outcome.Reason]int{}
		all.Go(func() {
			for i := range 10000 / len(results) {
				out := probers[i%len(probers)].Probe(t.Context(), time.Now().Add(checktest.Patience))
				results[w][out.Reason]++
			}
		})
	}
	all.Wait()
	total := map[outcome.Reason]int{}
	for _, r := range results {
		for reason, n := range r {
			total[reason] += n
		}
	}
	if total[outcome.OK] != 6000 || total[outcome.Refused] != 2000 {
		t.Errorf("ended in %v", total)
	}
	if after := settled(); after > before+2 { // one a listener, that was not accepted yet
		t.Errorf("%d descriptors became %d", before, after)
	}
}

// Our side closes without a TIME_WAIT: the count of the machine stays.
func TestNoTimeWait(t *testing.T) {
	to := checktest.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	p, err := NewProber(&Check{Type: TypeConnect, Address: to}, NewShared())
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if out := p.Probe(t.Context(), time.Now().Add(checktest.Patience)); out.Reason != outcome.OK {
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
