package vrrp

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
)

// directorEnv turns the test binary into a director: the JSON of its Config.
const directorEnv = "LVSD_TEST_DIRECTOR"

func TestMain(m *testing.M) {
	if text := os.Getenv(directorEnv); text != "" {
		os.Exit(director(text))
	}
	if text := os.Getenv(manyEnv); text != "" {
		os.Exit(many(text))
	}
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = p.Value.Set("8") // those that run at once mostly wait for adverts
	}
	goleak.VerifyTestMain(m)
}

// A report is one line of a director's output.
type report struct {
	Event  *Event       `json:",omitempty"`
	Error  string       `json:",omitempty"`
	Status *Status      `json:",omitempty"`
	Fleet  *fleetStatus `json:",omitempty"`
}

// director runs one instance until SIGTERM and prints what happens. A line on its input
// is answered with the status.
func director(text string) int {
	var out sync.Mutex
	emit := func(r report) {
		out.Lock()
		defer out.Unlock()
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			panic(err)
		}
	}
	var cfg Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		emit(report{Error: err.Error()})
		return 2
	}
	e, err := Open(cfg, Options{
		Log:     slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(e Event) { emit(report{Event: &e}) },
	})
	if err != nil {
		emit(report{Error: err.Error()})
		return 1
	}
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			s := e.Status()
			emit(report{Status: &s})
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := e.Run(ctx); err != nil {
		emit(report{Error: err.Error()})
		return 1
	}
	return 0
}

// needKernel skips a test that needs root and namespaces.
func needKernel(t testing.TB, programs ...string) {
	t.Helper()
	lab.RequireRoot(t)
	for _, p := range append([]string{"ip"}, programs...) {
		_, err := exec.LookPath(p)
		lab.Require(t, err)
	}
}

// A site is a LAN of namespaces: a bridge, and hosts with eth0 on it.
type site struct {
	t    testing.TB
	name string
}

func ip(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sites counts them: several may be up at once.
var sites atomic.Int32

func newSite(t testing.TB) *site {
	s := &site{t, fmt.Sprintf("vr%dx%d", os.Getpid()%100000, sites.Add(1))}
	s.add("lan")
	ip(t, "-n", s.ns("lan"), "link", "add", "br0", "type", "bridge", "forward_delay", "0")
	ip(t, "-n", s.ns("lan"), "link", "set", "br0", "up")
	return s
}

func (s *site) ns(host string) string { return s.name + host }

func (s *site) add(host string) {
	ip(s.t, "netns", "add", s.ns(host))
	s.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", s.ns(host)).Run() })
	ip(s.t, "-n", s.ns(host), "link", "set", "lo", "up")
}

// host adds a host; plug connects it.
func (s *site) host(host string, addr netip.Addr) {
	s.add(host)
	s.plug(host, addr)
}

func (s *site) plug(host string, addr netip.Addr) {
	tmp := s.name + "x"
	ip(s.t, "-n", s.ns("lan"), "link", "add", host, "type", "veth", "peer", "name", tmp)
	ip(s.t, "-n", s.ns("lan"), "link", "set", tmp, "netns", s.ns(host), "name", "eth0")
	ip(s.t, "-n", s.ns("lan"), "link", "set", host, "master", "br0", "up")
	ip(s.t, "-n", s.ns(host), "link", "set", "eth0", "up")
	if addr.IsValid() {
		ip(s.t, "-n", s.ns(host), "address", "add", addr.String()+"/24", "dev", "eth0")
	}
}

func (s *site) port(host string, args ...string) {
	ip(s.t, append([]string{"-n", s.ns("lan"), "link", "set", host}, args...)...)
}

// holds reports whether the kernel of the host has the address.
func (s *site) holds(host string, p netip.Prefix) bool {
	return strings.Contains(ip(s.t, "-n", s.ns(host), "-o", "address", "show"), " "+p.String()+" ")
}

// within is for the bodies of functions that open sockets in a namespace.
func (s *site) within(host string, do func()) {
	s.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		s.t.Fatal(err)
	}
	defer home.Close()
	there, err := netns.GetFromName(s.ns(host))
	if err != nil {
		s.t.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := netns.Set(home); err != nil {
			panic(err) // the thread is in the wrong namespace
		}
	}()
	do()
}

// process is a director of ours, or another VRRP program.
type process struct {
	t    testing.TB
	site *site
	host string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}

	mu      sync.Mutex
	reports []report
	log     strings.Builder
}

func (s *site) director(host string, cfg Config) *process {
	text, err := json.Marshal(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start(host, []string{directorEnv + "=" + string(text)}, self)
}

func (s *site) start(host string, env []string, program ...string) *process {
	p := &process{t: s.t, site: s, host: host, done: make(chan struct{})}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", s.ns(host)}, program...)...)
	p.cmd.Env = append(os.Environ(), env...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	p.cmd.Stderr = (*logTo)(p)
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r report
			p.mu.Lock()
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				p.reports = append(p.reports, r)
			} else {
				p.log.WriteString(lines.Text() + "\n")
			}
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	s.t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if s.t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			s.t.Logf("%s said:\n%s", host, p.log.String())
		}
	})
	return p
}

// monitor records every change of a host's IPv4 addresses from now on, also short
// states, which a poll would miss.
func (s *site) monitor(host string) *process {
	p := s.start(host, nil, "ip", "-4", "-o", "monitor", "address")
	const mark = "10.255.255.255/32"
	eventually(s.t, "a monitor of addresses", func() bool {
		ip(s.t, "-n", s.ns(host), "address", "add", mark, "dev", "lo")
		ip(s.t, "-n", s.ns(host), "address", "del", mark, "dev", "lo")
		return p.printed(mark)
	})
	return p
}

// printed reports whether one line of a process has all these words.
func (p *process) printed(words ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.log.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

type logTo process

func (l *logTo) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(b)
}

// end sends a signal and waits for the end.
func (p *process) end(sig os.Signal) {
	_ = p.cmd.Process.Signal(sig)
	<-p.done
}

func (p *process) events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Event
	for _, r := range p.reports {
		if r.Event != nil {
			out = append(out, *r.Event)
		}
	}
	return out
}

func (p *process) became(state State, reason string) bool {
	return slices.ContainsFunc(p.events(), func(e Event) bool { return e.To == state && (reason == "" || e.Reason == reason) })
}

func (p *process) state() State {
	all := p.events()
	if len(all) == 0 {
		return Init
	}
	return all[len(all)-1].To
}

func (p *process) status() Status {
	p.t.Helper()
	count := func() (n int, last *Status) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range p.reports {
			if r.Status != nil {
				n, last = n+1, r.Status
			}
		}
		return n, last
	}
	before, _ := count()
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		p.t.Fatal(err)
	}
	var got *Status
	eventually(p.t, "a status", func() bool {
		n, last := count()
		got = last
		return n > before
	})
	return *got
}

// eventually waits for an effect of the kernel or another process. The duration is only
// bounded, never asserted.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("never came true: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// capture is all that a host's eth0 receives.
type capture struct {
	mu     sync.Mutex
	frames []frame
}

type frame struct {
	at   time.Time
	data []byte
}

func (s *site) capture(host string) *capture {
	var conn *packet.Conn
	s.within(host, func() {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			s.t.Fatal(err)
		}
		if conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil); err != nil {
			s.t.Fatal(err)
		}
	})
	c, done := &capture{}, make(chan struct{})
	go func() {
		defer close(done)
		for {
			buf := make([]byte, 2048)
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			c.mu.Lock()
			c.frames = append(c.frames, frame{time.Now(), buf[:n]})
			c.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { _ = conn.Close(); <-done })
	return c
}

// select returns the frames of an EtherType that fit.
func (c *capture) pick(etherType uint16, fits func(f frame) bool) []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []frame
	for _, f := range c.frames {
		if len(f.data) > 14 && uint16(f.data[12])<<8|uint16(f.data[13]) == etherType && fits(f) {
			out = append(out, f)
		}
	}
	return out
}

// arps counts the gratuitous ARP frames of a form for an address.
func (c *capture) arps(operation byte, a netip.Addr) int {
	four := a.As4()
	return len(c.pick(0x0806, func(f frame) bool {
		b := f.data[14:]
		return len(b) >= 28 && b[7] == operation && [4]byte(b[14:18]) == four && [4]byte(b[24:28]) == four
	}))
}

// adverts returns the messages that a source sent, with their IP header.
func (c *capture) adverts(from netip.Addr) []frame {
	four := from.As4()
	return c.pick(0x0800, func(f frame) bool {
		b := f.data[14:]
		return len(b) >= 28 && b[9] == protocol && [4]byte(b[12:16]) == four
	})
}

func scratch(t testing.TB, name, text string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutReturn moves the calling thread, which is locked and will be thrown
// away, into the namespace of a host.
func (s *site) withoutReturn(host string) {
	there, err := netns.GetFromName(s.ns(host))
	if err != nil {
		panic(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		panic(err)
	}
}
