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

	"lvsd/vrrp"
)

// childEnv makes the test binary the process of the elections.
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
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("LVSD_REQUIRE_KERNEL") == "1" {
			t.Fatal("root or ip is missing, and LVSD_REQUIRE_KERNEL=1")
		}
		t.Skip("root or ip is missing; LVSD_REQUIRE_KERNEL=1 makes this a failure")
	}
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

// pid is the process of the elections: the test's only child.
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

// run starts an election; the function ends it and tells how.
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

// TestOneElection is an election's life in the process, as a daemon sees it.
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
	eventually(t, "its address is there", func() bool { return r.holds() && e.Status().Holding })
	e.Update(config(func(c *vrrp.Config) { c.Priority = 150 }))
	e.SetTracked("quorum", -30, false)
	eventually(t, "its priority follows", func() bool { return e.Status().Priority == 120 })
	sent := e.Status().AdvertsSent
	eventually(t, "counters are told when they are asked for", func() bool {
		r.Refresh(t.Context())
		return e.Status().AdvertsSent > sent
	})
	eventually(t, "the timers' lateness is told", func() bool {
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

// TestOnlyTheParentEndsIt: a ctrl-C reaches the whole group; the elections must
// hand over when the daemon says so, not at once.
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
	if r.saw(vrrp.Init, reasonLost) || !r.holds() {
		t.Error("a signal to the group ended it")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestKilledProcess: it is started again, with what was said to it last, and the
// address stays meanwhile.
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
		eventually(t, "the loss is told", func() bool { return r.saw(vrrp.Init, reasonLost) })
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

// TestRealTime: every thread of the elections' process is under the real-time
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

// TestStuckParent: a daemon that does not read what it is told delays nothing
// and fills no memory: reports are dropped.
func TestStuckParent(t *testing.T) {
	c := &child{log: slog.New(slog.DiscardHandler), reports: make(chan report, 2), dirty: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	for range 10 {
		c.tell(report{})
		c.mark(1)
	}
	if len(c.reports) != 2 {
		t.Errorf("%d wait", len(c.reports))
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
