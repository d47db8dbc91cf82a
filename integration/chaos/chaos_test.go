package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lab/fusedisk"
	"lvsd/integration/lvsdtest"
)

const (
	// shortRun is how long the test takes without LVSD_CHAOS_FOR.
	shortRun = 40 * time.Second
	// settle is how long the pair may take until the invariants hold: three advert
	// intervals of a takeover, the checks, and what is retried after a disk was full.
	settle = time.Minute
)

// usage is what a director takes of its machine, its VRRP process included.
type usage struct{ memory, descriptors, goroutines int } // memory in KiB

// growth is by how much more than at first a director may take.
var growth = usage{memory: 100 << 10, descriptors: 32, goroutines: 64}

// chaos is a pair with its expected state.
type chaos struct {
	*lvsdtest.Pair
	t       *testing.T
	random  *rand.Rand
	servers []*lab.Server
	weights []int
	down    map[int]bool // servers that are stopped
	disks   [2]*fusedisk.Disk
	traffic *lab.Outage
	first   [2]usage
	most    usage
	slowest time.Duration // time until the invariants held
}

// fault starts a fault, and returns a function that ends it.
type fault struct {
	name  string
	begin func(c *chaos) (end func())
	// harmless: no client notices it.
	harmless bool
}

func none() {}

var faults = []fault{
	{name: "link", begin: func(c *chaos) func() { d := c.either(); d.CutCable(); return d.PlugCable }},
	{name: "kill", begin: func(c *chaos) func() { d := c.either(); d.KillDaemon(); return d.StartDaemon }},
	{name: "term", begin: func(c *chaos) func() { d := c.either(); d.StopDaemonWithin(settle); return d.StartDaemon }},
	{name: "stop", begin: func(c *chaos) func() { d := c.either(); d.Process.Stop(); return d.Process.Cont }},
	{name: "reload", harmless: true, begin: func(c *chaos) func() {
		i := c.random.IntN(len(c.weights))
		c.edit(i, 1+c.random.IntN(9))
		return none
	}},
	{name: "drain", harmless: true, begin: func(c *chaos) func() {
		i := c.random.IntN(len(c.weights))
		was := c.weights[i]
		c.edit(i, 0)
		return func() { c.edit(i, max(was, 1)) }
	}},
	{name: "handover", begin: func(c *chaos) func() {
		if d := c.holder(); d != nil {
			out, err := d.LVSD("handover", "-c", c.ConfigFile, "--director", d.Name, "--for", "2s", "--force")
			c.t.Logf("  handover: %v %s", err, strings.TrimSpace(out)) // it may be refused: no peer
		}
		return none
	}},
	{name: "server dies", begin: func(c *chaos) func() {
		i := c.random.IntN(len(c.servers))
		if c.down[i] || len(c.down) == len(c.servers)-1 {
			return none
		}
		c.servers[i].Stop()
		c.down[i] = true
		return func() { c.servers[i].Start(); delete(c.down, i) }
	}},
	{name: "bad cable", begin: func(c *chaos) func() {
		d := c.either()
		d.Netem(lab.Impairment{Loss: float32(c.random.IntN(30)), Duplicate: 5, Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: 5})
		return d.ClearNetem
	}},
	{name: "address deleted", begin: func(c *chaos) func() {
		if d := c.holder(); d != nil {
			_, _ = d.Run(c.t.Context(), "ip", "address", "del", lvsdtest.VIP+"/32", "dev", "eth0") // it may have moved
		}
		return none
	}},
	{name: "table flushed", begin: func(c *chaos) func() { c.either().MustRun("ipvsadm", "-C"); return none }},
	{name: "disk full", harmless: true, begin: diskFails(unix.ENOSPC)},
	{name: "disk read-only", harmless: true, begin: diskFails(unix.EROFS)},
	{name: "disk broken", harmless: true, begin: diskFails(unix.EIO)},
	{name: "disk hangs", harmless: true, begin: func(c *chaos) func() {
		disk := c.disks[c.random.IntN(2)]
		disk.Hang()
		return disk.Resume
	}},
	{name: "clock set", harmless: true, begin: func(c *chaos) func() {
		by := time.Duration(c.random.Int64N(int64(4*time.Hour))) - 2*time.Hour
		c.setClock(by)
		return func() { c.setClock(-by) }
	}},
}

func diskFails(e unix.Errno) func(c *chaos) func() {
	return func(c *chaos) func() {
		disk := c.disks[c.random.IntN(2)]
		disk.Fail(e)
		return func() { disk.Fail(0) }
	}
}

func (c *chaos) either() *lvsdtest.Director { return c.LB[c.random.IntN(2)] }

func (c *chaos) holder() *lvsdtest.Director {
	for _, d := range c.LB {
		if d.Holds(lvsdtest.VIP) {
			return d
		}
	}
	return nil
}

// setClock sets the wall clock of all hosts, which have one kernel, unless it is that of
// the user's machine.
func (c *chaos) setClock(by time.Duration) {
	if !lab.Kernel().Disposable {
		return
	}
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_REALTIME, &now)
	if err == nil {
		now = unix.NsecToTimespec(now.Nano() + int64(by))
		err = unix.ClockSettime(unix.CLOCK_REALTIME, &now)
	}
	if err != nil {
		c.t.Fatalf("failed to set the clock: %v", err)
	}
}

// edit changes the weight of a server in the file, and reloads both directors.
func (c *chaos) edit(server, weight int) {
	line := func(w int) string { return fmt.Sprintf("%s:80\", weight = %d ", c.Real[server].Addr(), w) }
	c.EditConfig(line(c.weights[server]), line(weight))
	c.weights[server] = weight
	for _, d := range c.LB {
		_ = d.Process.Signal(syscall.SIGHUP) // one that is down reads the file when it starts
	}
}

// TestChaos runs for a while, or for LVSD_CHAOS_FOR, from LVSD_CHAOS_SEED.
func TestChaos(t *testing.T) {
	seed, run := uint64(time.Now().UnixNano()), shortRun
	var err error
	if text := os.Getenv("LVSD_CHAOS_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LVSD_CHAOS_SEED: %v", err)
		}
	}
	if text := os.Getenv("LVSD_CHAOS_FOR"); text != "" {
		if run, err = time.ParseDuration(text); err != nil {
			t.Fatalf("LVSD_CHAOS_FOR: %v", err)
		}
	}
	t.Logf("replay with: make chaos SEED=%d FOR=%v", seed, run)
	c := &chaos{Pair: lvsdtest.NewPair(t, 3), t: t, random: rand.New(rand.NewPCG(seed, 0)), weights: []int{1, 2, 3}, down: map[int]bool{}}
	for i, d := range c.LB {
		c.disks[i] = fusedisk.New(t, c.Path(d.Name+".state"))
	}
	c.servers = c.ServeLines()
	key := c.WritePrivate("vrrp.key", lvsdtest.AuthKey)
	c.VRRPKeys = fmt.Sprintf("authentication = { type = \"hmac\", key_file = %q }\n", key)
	c.Services = c.PeerConfig() + c.WebService(lvsdtest.QuickCheck, c.weights...)
	c.WriteConfig()
	c.EnableSync()
	c.StartBoth()
	c.traffic = lab.StartOutage(c.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 20 * time.Millisecond, Timeout: 500 * time.Millisecond, For: run + time.Hour, Max: 1 << 30})
	c.settled("start")
	for i, d := range c.LB {
		c.first[i] = usageOf(d)
	}
	t.Logf("at first: %+v", c.first)
	end := time.Now().Add(run)
	for step := 1; time.Now().Before(end); step++ {
		c.step(step)
	}
	t.Logf("the most: %+v; the longest wait until all held again: %v", c.most, c.slowest)
	t.Log(c.traffic.Stop())
}

// step causes one or two faults at once, and waits until the invariants hold again.
func (c *chaos) step(step int) {
	var ends []func()
	var names []string
	harmless, begin := true, time.Now()
	for range 1 + c.random.IntN(2) {
		f := faults[c.random.IntN(len(faults))]
		if slices.Contains(names, f.name) || ofDaemon(f.name) && slices.ContainsFunc(names, ofDaemon) {
			continue // one daemon at a time
		}
		names, harmless = append(names, f.name), harmless && f.harmless
		ends = append(ends, f.begin(c))
		time.Sleep(time.Duration(c.random.Int64N(int64(time.Second)))) // the next fault falls anywhere into this one
	}
	what := fmt.Sprintf("step %d: %s", step, strings.Join(names, ", "))
	c.t.Log(what)
	time.Sleep(time.Duration(c.random.Int64N(int64(3 * time.Second)))) // how long the faults last
	for _, undo := range slices.Backward(ends) {
		undo()
	}
	c.settled(what)
	if failed := c.traffic.Report().FailedBetween(begin, time.Now()); harmless && len(failed) > 0 {
		c.t.Errorf("%s: %d connects failed, the first at %v", what, len(failed), failed[0])
	}
}

// ofDaemon reports whether a fault concerns a daemon, or needs both.
func ofDaemon(name string) bool {
	return slices.Contains([]string{"kill", "term", "stop", "handover"}, name)
}

// settled waits until the invariants hold.
func (c *chaos) settled(what string) {
	c.t.Helper()
	wrong := "nothing was looked at"
	took, ok := lab.Poll(settle, func() bool { wrong = c.wrong(); return wrong == "" })
	if !ok {
		for _, d := range c.LB {
			c.t.Logf("%s:\n%s", d.Name, d.Process.Tail(60))
		}
		c.t.Fatalf("%s: %s", what, wrong)
	}
	c.slowest = max(c.slowest, took)
	c.traffic.WaitSuccesses(20, settle)
}

// wrong returns the invariant that does not hold; "" if all hold.
func (c *chaos) wrong() string {
	if holders := c.Holders(); len(holders) != 1 {
		return fmt.Sprintf("%q hold the address", holders)
	}
	for i, d := range c.LB {
		s, err := d.Status()
		if err != nil || len(s.VRRP) != 1 {
			return fmt.Sprintf("%s does not reply: %v", d.Name, err)
		}
		want := "backup"
		if d.Holds(lvsdtest.VIP) {
			want = "master"
		}
		if got := s.VRRP[0].State; got != want {
			return fmt.Sprintf("%s says that it is %s, and is %s", d.Name, got, want)
		}
		if len(s.Problems) > 0 && len(c.down) == 0 {
			return fmt.Sprintf("%s has problems: %q", d.Name, s.Problems)
		}
		for n, weight := range c.weights {
			if c.down[n] {
				weight = 0
			}
			address := c.Real[n].Addr().String() + ":80"
			if got := d.ProcWeight(address); got != weight {
				return fmt.Sprintf("%s has weight %d on %s, want %d", address, got, d.Name, weight)
			}
		}
		now := usageOf(d)
		c.most = usage{max(c.most.memory, now.memory), max(c.most.descriptors, now.descriptors), max(c.most.goroutines, now.goroutines)}
		if was := c.first[i]; was.memory > 0 && (now.memory > was.memory+growth.memory ||
			now.descriptors > was.descriptors+growth.descriptors || now.goroutines > was.goroutines+growth.goroutines) {
			return fmt.Sprintf("%s takes %+v, at first %+v", d.Name, now, was)
		}
	}
	return ""
}

func usageOf(d *lvsdtest.Director) usage {
	var u usage
	metrics, _ := d.GetAPI("/metrics")
	if _, value, found := strings.Cut(metrics, "\ngo_goroutines "); found {
		_, _ = fmt.Sscan(value, &u.goroutines)
	}
	pids := []string{strconv.Itoa(d.Process.Pid())}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", d.Process.Pid()))
	for _, pid := range append(pids, strings.Fields(string(children))...) {
		u.memory += resident(pid)
		entries, _ := os.ReadDir("/proc/" + pid + "/fd")
		u.descriptors += len(entries)
	}
	return u
}

// resident is the memory of a process in KiB.
func resident(pid string) int {
	text, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return n
		}
	}
	return 0
}
