package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is for things that happen at once; it is long because the machine may be busy.
const limit = 10 * time.Second

func twoHosts(t *testing.T) (*Lab, *Host, *Host) {
	t.Helper()
	RequireNamespaces(t)
	l := New(t)
	lan := l.LAN("lan", "10.77.0.0/24")
	return l, l.Host("client", lan, "10.77.0.1/24"), l.Host("rs1", lan, "10.77.0.21/24")
}

func reaches(from *Host, addr string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", addr)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func TestHostsReachEachOther(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	lan6 := l.LAN("lan6", "fd77::/64")
	client.Plug(lan6, "fd77::1/64")
	rs1.Plug(lan6, "fd77::21/64")
	ServeHTTP(rs1, ":80", "rs1")
	for _, url := range []string{"http://10.77.0.21/", "http://[fd77::21]/"} {
		l.WaitUntil(limit, "an answer from "+url, func() bool {
			status, body, err := client.Get(url)
			return err == nil && status == 200 && body == "rs1\n"
		})
	}
	want := "[10.77.0.21/24 fd77::21/64]"
	if got := fmt.Sprint(append(rs1.Addresses("eth0"), rs1.Addresses("eth1")...)); got != want {
		t.Errorf("addresses of rs1: %s, want %s", got, want)
	}
	if rs1.Holds("10.77.0.100") {
		t.Error("rs1 holds an address before it was given")
	}
	rs1.AddAddress("eth0", "10.77.0.100/32")
	if !rs1.Holds("10.77.0.100") || !reaches(client, "10.77.0.100:80") {
		t.Error("an added address is not held or does not answer")
	}
	rs1.DelAddress("eth0", "10.77.0.100/32")
	if rs1.Holds("10.77.0.100") || reaches(client, "10.77.0.100:80") {
		t.Error("a deleted address is still held or still answers")
	}
}

func TestLabsAreSeparateAndLeaveNothing(t *testing.T) {
	RequireNamespaces(t)
	var names []string
	var dir string
	var pid int
	t.Run("inside", func(t *testing.T) {
		for range 2 { // the same names and addresses, twice at once
			l := New(t)
			lan := l.LAN("lan", "10.77.0.0/24")
			h := l.Host("rs1", lan, "10.77.0.21/24")
			names = append(names, h.Namespace())
			dir = l.Dir()
			pid = h.Start("sleep", "1000").Pid()
			if _, err := os.Stat("/run/netns/" + h.Namespace()); err != nil {
				t.Error(err)
			}
		}
	})
	for _, n := range names {
		if _, err := os.Stat("/run/netns/" + n); !os.IsNotExist(err) {
			t.Errorf("namespace %s is left: %v", n, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("folder %s is left: %v", dir, err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !os.IsNotExist(err) {
		t.Errorf("process %d is left: %v", pid, err)
	}
}

func TestDoStaysInTheNamespace(t *testing.T) {
	_, client, _ := twoHosts(t)
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	err = client.Do(func() error {
		here, err := netns.Get()
		if err != nil {
			return err
		}
		defer here.Close()
		if !here.Equal(client.ns.handle) {
			return errors.New("Do ran in another namespace")
		}
		_, err = net.InterfaceByName("eth0")
		return err
	})
	if err != nil {
		t.Error(err)
	}
	want := errors.New("from within")
	if err := client.Do(func() error { return want }); err != want {
		t.Errorf("Do lost the error: %v", err)
	}
	// Threads are back in their namespace: all are tested at once, so that none is omitted.
	const threads = 50
	var together sync.WaitGroup
	together.Add(threads)
	strays := make(chan error, threads)
	for range threads {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			together.Done()
			together.Wait()
			here, err := netns.Get()
			if err == nil && !here.Equal(home) {
				err = errors.New("a thread of this program is in a host's namespace")
			}
			here.Close()
			strays <- err
		}()
	}
	for range threads {
		if err := <-strays; err != nil {
			t.Error(err)
		}
	}
	// Last, because this one ends its thread.
	if err := client.Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("Do hid that its function never returned")
	}
}

func TestSysctlIsTheHostsOwn(t *testing.T) {
	_, client, rs1 := twoHosts(t)
	rs1.SetSysctl("net.ipv4.ip_forward", "1")
	for host, want := range map[*Host]string{rs1: "1", client: "0"} {
		if got, err := host.Sysctl("net.ipv4.ip_forward"); err != nil || got != want {
			t.Errorf("ip_forward of %s: %q, %v; want %q", host, got, err, want)
		}
	}
	if _, err := client.Sysctl("net.no.such"); err == nil {
		t.Error("a missing setting is no error")
	}
}

func TestCutCable(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	ServeLines(rs1, ":80", "rs1")
	l.WaitUntil(limit, "a connection", func() bool { return reaches(client, "10.77.0.21:80") })
	rs1.CutCable()
	l.WaitUntil(limit, "the loss of the carrier", func() bool { return !rs1.Carrier("eth0") })
	if reaches(client, "10.77.0.21:80") {
		t.Error("a host with its cable cut answers")
	}
	if !client.Carrier("eth0") {
		t.Error("the wrong cable was cut")
	}
	rs1.PlugCable()
	l.WaitUntil(limit, "the carrier", func() bool { return rs1.Carrier("eth0") })
	l.WaitUntil(limit, "a connection", func() bool { return reaches(client, "10.77.0.21:80") })
}

func TestSilence(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	ServeLines(rs1, ":80", "rs1")
	l.WaitUntil(limit, "a connection", func() bool { return reaches(client, "10.77.0.21:80") })
	c := Converse(client, "10.77.0.21:80")

	rs1.Silence()
	heard := rs1.Capture("eth0", func(f Frame) bool { return !f.Outgoing })
	seen := client.Capture("eth0", func(f Frame) bool { return !f.Outgoing })
	if !rs1.Carrier("eth0") {
		t.Error("silence took the carrier")
	}
	rs1.OnLink("224.0.0.0/4")
	if err := rs1.Do(func() error { return sendTo("224.0.0.18:112") }); err != nil {
		t.Error(err)
	}
	if reaches(client, "10.77.0.21:80") || reaches(rs1, "10.77.0.1:80") {
		t.Error("a silenced host is reached")
	}
	if in, out := heard.Stop(), seen.Stop(); len(in)+len(out) != 0 {
		t.Errorf("silence let %d frames in and %d out", len(in), len(out))
	}
	rs1.Unsilence()
	// TCP's own retransmission keeps the old connection.
	if err := c.Say(limit); err != nil {
		t.Error(err)
	}
	l.WaitUntil(limit, "a connection", func() bool { return reaches(client, "10.77.0.21:80") })
}

// sendTo sends one datagram from the namespace of the caller's thread.
func sendTo(addr string) error {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "x")
	return err
}

func TestNetemLosesEverythingInOneDirection(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	if err := rs1.nics[0].impair(rs1.ns, "lo", Impairment{Loss: 1}); err != nil {
		l.tb.Logf("this kernel has no netem (%v): the test runs in User-Mode Linux", err)
		return
	}
	ServeLines(rs1, ":80", "rs1")
	l.WaitUntil(limit, "a connection", func() bool { return reaches(client, "10.77.0.21:80") })
	seen := client.Capture("eth0", func(f Frame) bool { ip, ok := f.IP(); return ok && ip.Protocol == 17 && !f.Outgoing })
	rs1.Netem(Impairment{Loss: 100, Direction: Inbound})
	if err := rs1.Do(func() error { return sendTo("10.77.0.1:9") }); err != nil {
		t.Error(err)
	}
	l.WaitUntil(limit, "the datagram that may go out", func() bool { return len(seen.Frames()) == 1 })
	if reaches(client, "10.77.0.21:80") {
		t.Error("what should be lost came in")
	}
	rs1.Netem(Impairment{Delay: 30 * time.Millisecond, Direction: Outbound}) // replaces
	start := time.Now()
	l.WaitUntil(limit, "a slow connection", func() bool { return reaches(client, "10.77.0.21:80") })
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("a delay of 30 ms took %v", took)
	}
	rs1.ClearNetem()
	rs1.ClearNetem()
}

func TestProcesses(t *testing.T) {
	l, client, _ := twoHosts(t)
	ctx := context.Background()
	out, err := client.Run(ctx, "sh", "-c", "cat /proc/net/dev; echo done >&2")
	if err != nil || !strings.Contains(out, "eth0") || !strings.Contains(out, "done") {
		t.Errorf("Run: %v\n%s", err, out)
	}
	var exit *exec.ExitError
	if _, err := client.Run(ctx, "sh", "-c", "exit 7"); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("Run of a failing program: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := client.Run(short, "sleep", "1000"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run beyond its context: %v", err)
	}
	if _, err := client.Run(ctx, "/no/such/program"); err == nil {
		t.Error("a missing program runs")
	}

	p := client.StartCommand(Command{
		Args: []string{"sh", "-c", `trap 'echo bye $WHO; exit 3' TERM; echo ready; while :; do sleep 0.05; done`},
		Env:  []string{"WHO=you"}, Name: "polite",
	})
	if _, err := p.WaitOutput(limit, "ready"); err != nil {
		t.Fatal(err)
	}
	if p.ExitCode() != -1 || !p.Running() {
		t.Error("a running process has a status")
	}
	p.Terminate()
	if err := p.Wait(ctx); !errors.As(err, &exit) || p.ExitCode() != 3 || !strings.HasSuffix(p.Output(), "bye you\n") {
		t.Errorf("a polite end: %v, status %d, output %q", err, p.ExitCode(), p.Output())
	}
	if b, err := os.ReadFile(p.LogFile()); err != nil || string(b) != p.Output() {
		t.Errorf("the log file has %q, %v", b, err)
	}
	if _, err := p.WaitOutput(limit, "never"); err == nil {
		t.Error("waited for output of a dead process and found it")
	}

	q := client.Start("sh", "-c", "sleep 1000 & echo child $!; wait")
	if _, err := q.WaitOutput(limit, "child"); err != nil {
		t.Fatal(err)
	}
	child := strings.TrimSpace(strings.TrimPrefix(q.Output(), "child "))
	state := func() string { // the field after the name in /proc/PID/stat
		b, _ := os.ReadFile("/proc/" + child + "/stat")
		_, rest, _ := strings.Cut(string(b), ") ")
		return rest[:min(1, len(rest))]
	}
	q.Stop()
	l.WaitUntil(limit, "the child stopped", func() bool { return state() == "T" })
	q.Cont()
	l.WaitUntil(limit, "the child going on", func() bool { return state() == "S" })
	q.Kill()
	<-q.Done()
	if q.ExitCode() != 137 {
		t.Errorf("status of a killed process: %d", q.ExitCode())
	}
	l.WaitUntil(limit, "the child's end", func() bool { s := state(); return s == "" || s == "Z" })
}

func TestCaptureSeesGratuitousARP(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	vip := netip.MustParseAddr("10.77.0.100")
	seen := client.Capture("eth0", func(f Frame) bool { return f.GratuitousARP(vip) })
	own := rs1.Capture("eth0", func(f Frame) bool { return f.GratuitousARP(vip) })
	rs1.SetSysctl("net.ipv4.conf.all.arp_notify", "1")
	rs1.SetSysctl("net.ipv4.conf.eth0.arp_notify", "1")
	rs1.AddAddress("eth0", "10.77.0.100/32")
	// The kernel announces the addresses of a device whose MAC address changes.
	link, err := rs1.ns.nl.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := rs1.ns.nl.LinkSetHardwareAddr(link, net.HardwareAddr{2, 0, 0, 0, 0, 0x21}); err != nil {
		t.Fatal(err)
	}
	l.WaitUntil(limit, "a gratuitous ARP", func() bool { return len(seen.Frames()) > 0 && len(own.Frames()) > 0 })
	f := seen.Frames()[0]
	arp, _ := f.ARP()
	if f.Outgoing || f.Src.String() != rs1.MAC("eth0").String() || arp.Op == 0 {
		t.Errorf("the client saw %+v", f)
	}
	if f := own.Frames()[0]; !f.Outgoing {
		t.Errorf("the sender saw its own frame as %+v", f)
	}
}

func TestServePrefix(t *testing.T) {
	l, client, rs1 := twoHosts(t)
	rs1.ServePrefix("10.78.0.0/16")
	client.OnLink("10.78.0.0/16")
	s := ServeLines(rs1, ":80", "many")
	for _, addr := range []string{"10.78.0.1:80", "10.78.200.7:80", "10.78.255.254:80"} {
		l.WaitUntil(limit, "an answer of "+addr, func() bool { return reaches(client, addr) })
	}
	l.WaitUntil(limit, "the accepted connections", func() bool { return s.Accepted() >= 3 })
}

func TestRun(t *testing.T) {
	var said []string
	logf := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	err := Run(context.Background(), "demo", logf, func(_ context.Context, tb TB) {
		tb.Cleanup(func() { tb.Logf("first in, failed %v", tb.Failed()) })
		tb.Cleanup(func() { tb.Logf("last in") })
		tb.Fatalf("no %s", "luck")
		tb.Logf("not reached")
	})
	if err == nil || err.Error() != "no luck" {
		t.Errorf("error: %v", err)
	}
	if got := strings.Join(said, ", "); got != "last in, first in, failed true" {
		t.Errorf("said %q", got)
	}
	if err := Run(context.Background(), "demo", logf, func(context.Context, TB) { panic("oh") }); err == nil {
		t.Error("a panic is no error")
	}
	if err := Run(context.Background(), "demo", logf, func(context.Context, TB) {}); err != nil {
		t.Error(err)
	}
}

// BenchmarkSixHosts is the cost of a test's network: a LAN with six hosts, built and
// removed.
func BenchmarkSixHosts(b *testing.B) {
	RequireNamespaces(b)
	for b.Loop() {
		err := Run(context.Background(), "six", b.Logf, func(_ context.Context, tb TB) {
			l := New(tb)
			lan := l.LAN("lan", "10.77.0.0/24")
			for i := range 6 {
				l.Host(fmt.Sprintf("h%d", i), lan, fmt.Sprintf("10.77.0.%d/24", i+1))
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDial is the cost of a new connection from a host to another.
func BenchmarkDial(b *testing.B) {
	RequireNamespaces(b)
	err := Run(context.Background(), "dial", b.Logf, func(ctx context.Context, tb TB) {
		l := New(tb)
		lan := l.LAN("lan", "10.77.0.0/24")
		client, rs1 := l.Host("client", lan, "10.77.0.1/24"), l.Host("rs1", lan, "10.77.0.21/24")
		ServeLines(rs1, ":80", "rs1")
		for b.Loop() {
			conn, err := client.Dial(ctx, "tcp", "10.77.0.21:80")
			if err != nil {
				tb.Fatalf("%v", err)
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}
