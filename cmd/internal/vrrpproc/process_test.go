package vrrpproc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/vrrp"
)

// childEnv makes the test binary the VRRP process.
const childEnv = "LVSD_TEST_ELECTIONS"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		level := new(slog.LevelVar)
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
		if err := Serve(os.Stdin, os.Stdout, log, func(l string) error { return level.UnmarshalText([]byte(l)) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var vip = netip.MustParsePrefix("10.0.0.88/32")

// rig is a namespace with an interface that has a carrier, and a Process in it.
type rig struct {
	*Process
	t  *testing.T
	ns string

	mu     sync.Mutex
	events []vrrp.Event
	lags   int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	lab.RequireRoot(t)
	_, err := exec.LookPath("ip")
	lab.Require(t, err)
	r := &rig{t: t, ns: fmt.Sprintf("el%d%s", os.Getpid(), strings.ToLower(t.Name()[4:8]))}
	r.ip("netns", "add", r.ns)
	t.Cleanup(func() { r.ip("netns", "del", r.ns) })
	r.ip("-n", r.ns, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	r.ip("-n", r.ns, "address", "add", "10.0.0.12/24", "dev", "eth0")
	for _, dev := range []string{"lo", "eth0", "other"} {
		r.ip("-n", r.ns, "link", "set", dev, "up")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(childEnv, "1")
	r.Process = New(Options{
		Command: []string{"ip", "netns", "exec", r.ns, self},
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		OnEvent: func(e vrrp.Event) {
			r.mu.Lock()
			r.events = append(r.events, e)
			r.mu.Unlock()
		},
		ObserveLag: func(time.Duration) {
			r.mu.Lock()
			r.lags++
			r.mu.Unlock()
		},
	})
	t.Cleanup(r.Close)
	return r
}

func (r *rig) ip(args ...string) string {
	r.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (r *rig) holds() bool {
	return strings.Contains(r.ip("-n", r.ns, "-o", "address", "show"), vip.String())
}

func (r *rig) saw(to vrrp.State, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.To == to && e.Reason == reason {
			return true
		}
	}
	return false
}

// pid is the VRRP process: the test's only child.
func (r *rig) pid() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, thread := range glob(r.t, "/proc/self/task") {
		more, _ := os.ReadFile("/proc/self/task/" + thread + "/children")
		text = append(text, more...)
	}
	for _, f := range strings.Fields(string(text)) {
		if pid, _ := strconv.Atoi(f); pid > 0 {
			return pid
		}
	}
	r.t.Fatal("it has no process")
	return 0
}

func glob(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("never came true: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func config(change ...func(*vrrp.Config)) vrrp.Config {
	c := vrrp.Config{Name: "web", Interface: "eth0", VRID: 51, Priority: 100, AdvertInterval: 20 * time.Millisecond, Preempt: true, Addresses: []netip.Prefix{vip}}
	for _, f := range change {
		f(&c)
	}
	return c
}

// run starts an instance; the function ends it and returns its result.
func run(t *testing.T, e *Instance) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(cancel)
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("Run does not return")
			return nil
		}
	}
}

// TestOneElection is an instance's life in the process, as a daemon sees it.
func TestOneElection(t *testing.T) {
	r := newRig(t)
	if _, err := r.Open(config(func(c *vrrp.Config) { c.Interface = "eth7" })); err == nil || !strings.Contains(err.Error(), "eth7") {
		t.Errorf("a missing interface: %v", err)
	}
	e, err := r.Open(config())
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Status(); s.State != vrrp.Init || s.Name != "web" {
		t.Errorf("before it runs: %+v", s)
	}
	stop := run(t, e)
	eventually(t, "it is master", func() bool { return e.Status().State == vrrp.Master && r.saw(vrrp.Master, vrrp.ReasonSilence) })
	eventually(t, "its address is there", func() bool { return r.holds() && e.Status().HasVIPs })
	e.Update(config(func(c *vrrp.Config) { c.Priority = 150 }))
	e.SetTracked("quorum", -30, false)
	eventually(t, "its priority follows", func() bool { return e.Status().Priority == 120 })
	sent := e.Status().AdvertsSent
	eventually(t, "counters are sent on request", func() bool {
		r.Refresh(t.Context())
		return e.Status().AdvertsSent > sent
	})
	eventually(t, "the timers' lateness is reported", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.lags > 0
	})
	if err := stop(); err != nil {
		t.Errorf("its end: %v", err)
	}
	if r.holds() {
		t.Error("the address is left behind")
	}
}

// TestOnlyTheParentEndsIt: a ctrl-C reaches the whole group; the instances must hand
// over when the daemon orders it, not at once.
func TestOnlyTheParentEndsIt(t *testing.T) {
	r := newRig(t)
	e, err := r.Open(config())
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, e)
	eventually(t, "it is master", func() bool { return e.Status().State == vrrp.Master })
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if err := unix.Kill(r.pid(), s); err != nil {
			t.Fatal(err)
		}
	}
	r.Refresh(t.Context())
	if r.saw(vrrp.Init, reasonProcessEnded) || !r.holds() {
		t.Error("a signal to the group ended it")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestKilledProcess: it is started again, with the latest orders, and the address stays
// meanwhile.
func TestKilledProcess(t *testing.T) {
	r := newRig(t)
	e, err := r.Open(config())
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, e)
	e.Update(config(func(c *vrrp.Config) { c.Priority = 150 }))
	e.SetTracked("quorum", -30, false)
	eventually(t, "it is master", func() bool { return e.Status().State == vrrp.Master && e.Status().Priority == 120 && r.holds() })
	for range 2 {
		r.mu.Lock()
		r.events = nil
		r.mu.Unlock()
		if err := unix.Kill(r.pid(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the loss is reported", func() bool { return r.saw(vrrp.Init, reasonProcessEnded) })
		if !r.holds() {
			t.Error("the address is gone with the process")
		}
		eventually(t, "it is master again", func() bool { return e.Status().State == vrrp.Master && e.Status().Priority == 120 })
		if !r.holds() {
			t.Error("the address went on the way")
		}
	}
	if err := stop(); err != nil || r.holds() {
		t.Errorf("its end: %v, holds %v", err, r.holds())
	}
}

// TestRealTime: every thread of the VRRP process is under the real-time
// policy, and none of ours.
func TestRealTime(t *testing.T) {
	r := newRig(t)
	e, err := r.Open(config())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	policies := func(pid string) map[uint32]int {
		found := map[uint32]int{}
		for _, thread := range glob(t, "/proc/"+pid+"/task") {
			id, _ := strconv.Atoi(thread)
			if a, err := unix.SchedGetAttr(id, 0); err == nil {
				found[a.Policy]++
			}
		}
		return found
	}
	if got := policies(strconv.Itoa(r.pid())); len(got) != 1 || got[unix.SCHED_RR] == 0 {
		t.Errorf("the elections' threads by policy: %v, want all %d", got, unix.SCHED_RR)
	}
	if got := policies("self"); got[unix.SCHED_RR] != 0 {
		t.Errorf("%d threads of the daemon are real-time", got[unix.SCHED_RR])
	}
}

// TestStuckParent: a daemon that does not read delays nothing and fills no memory:
// telemetry is dropped, but no report that the daemon waits for; and when it reads again
// it gets the present status.
func TestStuckParent(t *testing.T) {
	c := &child{log: slog.New(slog.DiscardHandler), dirty: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	for i := range 3 * telemetryLimit {
		c.send(report{Lags: []time.Duration{1}})
		c.mark(1)
		if i%telemetryLimit == 0 {
			c.send(report{Instance: uint64(i), Ended: true})
			c.send(report{Reply: 7})
		}
	}
	all, dropped := c.reports.drain()
	ended, replies := 0, 0
	for _, r := range all {
		if r.Ended {
			ended++
		}
		if r.Reply == 7 {
			replies++
		}
	}
	if !dropped || ended != 3 || replies != 3 || len(all) != telemetryLimit+6 {
		t.Errorf("%d wait, dropped %v, %d ends, %d replies", len(all), dropped, ended, replies)
	}
	c.send(report{})
	if all, dropped := c.reports.drain(); len(all) != 1 || dropped {
		t.Errorf("afterwards: %d, dropped %v", len(all), dropped)
	}
}

// TestTwoCrashesAndAnInstanceThatCannotBeOpened: the process ends twice while one
// instance cannot be opened. It is opened once when it can be, and by one owner: when it
// is stopped, its address is removed and stays removed.
func TestTwoCrashesAndAnInstanceThatCannotBeOpened(t *testing.T) {
	r := newRig(t)
	other := netip.MustParsePrefix("10.0.1.88/32")
	addDevice := func() {
		r.ip("-n", r.ns, "link", "add", "eth1", "type", "veth", "peer", "name", "other1")
		r.ip("-n", r.ns, "link", "set", "other1", "up")
		r.ip("-n", r.ns, "address", "add", "10.0.1.12/24", "dev", "eth1")
		r.ip("-n", r.ns, "link", "set", "eth1", "up")
	}
	holdsOther := func() bool { return strings.Contains(r.ip("-n", r.ns, "-o", "address", "show"), other.String()) }
	addDevice()
	web, err := r.Open(config())
	if err != nil {
		t.Fatal(err)
	}
	mail, err := r.Open(config(func(c *vrrp.Config) {
		c.Name, c.Interface, c.VRID, c.Addresses = "mail", "eth1", 52, []netip.Prefix{other}
	}))
	if err != nil {
		t.Fatal(err)
	}
	closed, err := r.Open(config(func(c *vrrp.Config) {
		c.Name, c.Interface, c.VRID, c.Addresses = "closed", "eth1", 53, []netip.Prefix{netip.MustParsePrefix("10.0.1.89/32")}
	}))
	if err != nil {
		t.Fatal(err)
	}
	stopWeb, stopMail := run(t, web), run(t, mail)
	eventually(t, "both are master", func() bool {
		return web.Status().State == vrrp.Master && mail.Status().State == vrrp.Master && r.holds() && holdsOther()
	})
	r.ip("-n", r.ns, "link", "del", "eth1")
	for range 3 {
		if err := unix.Kill(r.pid(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is detached", func() bool { return web.Status().Reason == reasonProcessEnded })
		eventually(t, "the other one is master again", func() bool { return web.Status().State == vrrp.Master })
		eventually(t, "the reason is known", func() bool { return strings.Contains(mail.Status().Detail, "eth1") })
	}
	closed.Close()
	addDevice()
	eventually(t, "it is master again", func() bool { return mail.Status().State == vrrp.Master && holdsOther() })
	eventually(t, "nothing is left to supervise", func() bool {
		r.Process.mu.Lock()
		defer r.Process.mu.Unlock()
		return !r.supervising && len(r.instances) == 2
	})
	if err := stopMail(); err != nil {
		t.Error(err)
	}
	sockets := r.ip("netns", "exec", r.ns, "cat", "/proc/net/raw")
	if holdsOther() {
		t.Error("its address is left")
	}
	if err := stopWeb(); err != nil || r.holds() || holdsOther() {
		t.Errorf("%v, addresses %v %v\n%s", err, r.holds(), holdsOther(), sockets)
	}
	r.ip("-n", r.ns, "link", "set", "eth1", "down")
	r.ip("-n", r.ns, "link", "set", "eth1", "up")
	if after := strings.Count(r.ip("netns", "exec", r.ns, "cat", "/proc/net/raw"), ":0070"); after != 0 {
		t.Errorf("%d VRRP sockets are left open", after)
	}
}

// TestOpenTwiceIsRefused, and running twice is one run.
func TestOpenTwiceIsRefused(t *testing.T) {
	c := &child{log: slog.New(slog.DiscardHandler), engines: map[uint64]*engine{5: {}}, dirty: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	cfg := config()
	c.handle(command{Do: doOpen, Instance: 5, Reply: 9, Config: &cfg})
	all, _ := c.reports.drain()
	if len(all) != 1 || all[0].Reply != 9 || all[0].Err == "" {
		t.Errorf("%+v", all)
	}
}

// TestProgramsGetDefaultSignals: what the process does about signals is not inherited by
// the programs that it starts.
func TestProgramsGetDefaultSignals(t *testing.T) {
	r := newRig(t)
	e, err := r.Open(config())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if mask, is := strings.CutPrefix(line, "SigIgn:"); is {
			ignored, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGPIPE} {
				if err != nil || ignored&(1<<(s-1)) != 0 {
					t.Errorf("%v is ignored, %v", s, err)
				}
			}
		}
	}
}

// TestEndOfInput: without its parent the process ends.
func TestEndOfInput(t *testing.T) {
	if err := Serve(strings.NewReader(""), io.Discard, slog.New(slog.DiscardHandler), nil); err != nil {
		t.Error(err)
	}
	if err := Serve(strings.NewReader("rubbish"), io.Discard, slog.New(slog.DiscardHandler), nil); err == nil {
		t.Error("orders that are none are taken")
	}
}
