package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/event"
)

// pseudoTerminal is a terminal that the test uses as a person would.
type pseudoTerminal struct {
	t       *testing.T
	person  *os.File // what is written is typed, what is read was shown
	program *os.File

	mu   sync.Mutex
	said strings.Builder
}

func openTerminal(t *testing.T, width, height uint16) *pseudoTerminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pseudoTerminal{t: t, person: person, program: program}
	p.resize(width, height)
	var reading sync.WaitGroup
	reading.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := person.Read(buf) // an error once the program's end is closed
			p.mu.Lock()
			p.said.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		program.Close()
		reading.Wait()
		person.Close()
	})
	return p
}

func (p *pseudoTerminal) resize(width, height uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pseudoTerminal) press(keys string) {
	p.t.Helper()
	if _, err := p.person.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pseudoTerminal) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

var paint = regexp.MustCompile("\x1b\\[[0-9;]*m")

// picture is the last complete screen, line by line, without colours.
func (p *pseudoTerminal) picture() []string {
	pictures := strings.Split(p.all(), "\x1b[H")
	for _, last := range slices.Backward(pictures[1:]) {
		if lines := strings.Split(paint.ReplaceAllString(last, ""), "\x1b[K"); (strings.Contains(last, "quit") || strings.Contains(last, "enter: apply")) && len(lines) > 1 {
			for i := range lines {
				lines[i] = strings.TrimPrefix(lines[i], "\r\n")
			}
			return lines[:len(lines)-1]
		}
	}
	return nil
}

// wait waits until the picture is as wanted.
func (p *pseudoTerminal) wait(what string, good func(lines []string) bool) []string {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		lines := p.picture()
		if good(lines) {
			return lines
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("never %s:\n%s", what, strings.Join(lines, "\n"))
		}
		time.Sleep(10 * time.Millisecond) // looks again; the limit is the deadline
	}
}

func has(text string) func([]string) bool {
	return func(lines []string) bool { return strings.Contains(strings.Join(lines, "\n"), text) }
}

// statusDaemon serves status and events on a control socket.
type statusDaemon struct {
	mu     sync.Mutex
	status api.Status
	server *http.Server
	socket string
}

func startStatusDaemon(t *testing.T, s api.Status) *statusDaemon {
	t.Helper()
	d := &statusDaemon{status: s, socket: filepath.Join(t.TempDir(), "s")}
	d.start(t)
	t.Cleanup(d.stop)
	return d
}

func (d *statusDaemon) start(t *testing.T) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		_ = json.NewEncoder(w).Encode(d.status)
	})
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, r *http.Request) {
		all := []event.Event{{ID: 1, At: now, Kind: event.KindVRRP, VRRP: "web", To: "master", Reason: "silence"}}
		if r.FormValue("after") != "" {
			all = all[:0]
		}
		_ = json.NewEncoder(w).Encode(all)
	})
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	d.server = &http.Server{Handler: mux}
	go d.server.Serve(l)
}

func (d *statusDaemon) stop() { d.server.Close() }

func (d *statusDaemon) become(change func(*api.Status)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.status)
}

// startWatch runs lvsd watch on a terminal. The channel says how it ended.
func startWatch(t *testing.T, p *pseudoTerminal, socket string) (<-chan error, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &Watcher{In: p.program, Out: p.program, Client: api.NewClient(socket), Every: 100 * time.Millisecond}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(cancel)
	return ended, cancel
}

// ends waits for the end, and checks that the terminal is as before.
func (p *pseudoTerminal) ends(ended <-chan error, before *term.State) {
	p.t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Error(err)
		}
	case <-time.After(time.Minute):
		p.t.Fatal("it does not end")
	}
	if after, err := term.GetState(int(p.program.Fd())); err != nil || *after != *before {
		p.t.Errorf("the terminal is not as it was: %v", err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.HasSuffix(p.all(), leaveScreen); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatal("the other screen was not left")
		}
	}
}

// TestWatch: what a person sees and presses.
func TestWatch(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	d := startStatusDaemon(t, many(3))
	p := openTerminal(t, 100, 20)
	before, err := term.GetState(int(p.program.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	ended, _ := startWatch(t, p, d.socket)
	lines := p.wait("drawn", has("director lb1: OK (14:30:00)"))
	if !strings.HasPrefix(p.all(), enterScreen) || !strings.Contains(p.all(), "\x1b[32mdirector lb1") {
		t.Errorf("%.200q", p.all())
	}
	if len(lines) != 20 || !strings.HasPrefix(lines[19], "lines 1 to 19 of ") || !has("LAST CHANGES")(lines) {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}

	// It is live.
	d.become(func(s *api.Status) { s.Problems = []string{"service s1: quorum lost"} })
	p.wait("changed", has("! service s1: quorum lost"))
	d.become(func(s *api.Status) { s.Problems = nil })

	// Keys.
	p.press("\x1b[B\x1b[Bj")
	p.wait("moved", has("lines 4 to "))
	p.press("k")
	p.wait("moved back", has("lines 3 to "))
	p.press("G")
	p.wait("at its end", has("10.1.0.29:80"))
	p.press("g\x1b[6~")
	p.wait("a page on", has("lines 19 to "))
	p.press("u")
	p.wait("the troubled alone", has("30 of 30 real servers are healthy and hidden"))
	p.press("u/0.9:")
	p.wait("a filter is typed", has("filter: 0.9:_"))
	p.press("\r")
	p.wait("the filter", has("/0.9:  q quit"))
	p.press("\x1b")
	p.wait("no filter", func(lines []string) bool { return !has("/0.9:")(lines) })
	p.press("?")
	p.wait("the keys", has("filter services and real servers by name or address"))
	p.press("u")
	p.wait("back from the keys", func(lines []string) bool { return !has("these keys")(lines) })
	p.press("s")
	p.wait("in another order", has("order: name"))

	// A terminal that becomes narrow and small.
	p.resize(60, 10)
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	lines = p.wait("small", func(lines []string) bool { return len(lines) == 10 })
	for _, l := range lines {
		if len([]rune(l)) > 60 {
			t.Errorf("%q is wider than the terminal", l)
		}
	}

	// The daemon ends and is started again.
	d.stop()
	p.wait("alone", has("cannot connect to lvsd"))
	p.wait("still there", has("showing the state of"))
	d.start(t)
	p.wait("back", func(lines []string) bool { return len(lines) > 0 && strings.HasPrefix(lines[0], "director lb1") })

	p.press("q")
	p.ends(ended, before)
}

// TestWatchIsEnded: control C, and a signal to the process.
func TestWatchIsEnded(t *testing.T) {
	d := startStatusDaemon(t, wellPair())
	for name, end := range map[string]func(*pseudoTerminal, context.CancelFunc){
		"control C": func(p *pseudoTerminal, _ context.CancelFunc) { p.press("\x03") },
		"a signal":  func(_ *pseudoTerminal, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", "1")
			p := openTerminal(t, 80, 24)
			before, err := term.GetState(int(p.program.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			ended, cancel := startWatch(t, p, d.socket)
			p.wait("drawn", has("director lb1"))
			if paint.MatchString(p.all()) {
				t.Error("colours with NO_COLOR")
			}
			end(p, cancel)
			p.ends(ended, before)
		})
	}
}

// TestWatchNeedsATerminal: what is no terminal is not changed.
func TestWatchNeedsATerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &Watcher{In: f, Out: f, Every: time.Second}
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "lvsd status") {
		t.Error(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%v, %d bytes were written", err, info.Size())
	}
}

func TestSplitKeys(t *testing.T) {
	for in, want := range map[string][]string{
		"q": {"q"}, "jk": {"j", "k"}, "\x1b[A\x1b[6~j": {"\x1b[A", "\x1b[6~", "j"}, "\x1bOBq": {"\x1bOB", "q"},
		"\x1b": {"\x1b"}, "\x1b[": {"\x1b", "["}, "\x1b[12": {"\x1b[12"}, "": nil,
	} {
		if got := splitKeys([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
