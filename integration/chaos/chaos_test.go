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
	slowest time.Duration        // time until the invariants held
	stopped *lvsdtest.Director   // it does not reply
	since   map[string]time.Time // when something began that may not last
}

// fault starts a fault, and returns a function that ends it.
type fault struct {
	name  string
	begin func(c *chaos) (end func())
	// harmless: no client notices it.
	harmless bool
	// leaves: a director may hold the address although another one does: no daemon there takes
	// it away.
	leaves bool
}

const (
	// moveLimit is how long none, or two, may hold the address, and how long a director may
	// say otherwise than it is: three adverts of 300 ms are a takeover, and the lab's kernel
	// sometimes stands still.
	moveLimit = 3 * time.Second
	// gapLimit is how long clients may be without the service while faults last, one server
	// and one director of two being there: a takeover, a check that fails three times, and
	// the table's comparison each second.
	gapLimit = 10 * time.Second
)

func none() {}

var faults = []fault{
	{name: "link", begin: func(c *chaos) func() { d := c.either(); d.CutCable(); return d.PlugCable }},
	{name: "kill", leaves: true, begin: func(c *chaos) func() { d := c.either(); d.KillDaemon(); return d.StartDaemon }},
	{name: "term", begin: func(c *chaos) func() { d := c.either(); d.StopDaemonWithin(settle); return d.StartDaemon }},
	{name: "stop", leaves: true, begin: func(c *chaos) func() {
		c.stopped = c.either()
		c.stopped.Process.Stop()
		return func() { c.stopped.Process.Cont(); c.stopped = nil }
	}},
	{name: "elections killed", begin: func(c *chaos) func() {
		d := c.either()
		for _, pid := range d.Children() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // a program may have ended
		}
		return none
	}},
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
	c := &chaos{Pair: lvsdtest.NewPair(t, 3), t: t, random: rand.New(rand.NewPCG(seed, 0)), weights: []int{1, 2, 3}, down: map[int]bool{}, since: map[string]time.Time{}}
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
	harmless, leaves, begin := true, false, time.Now()
	for range 1 + c.random.IntN(2) {
		f := faults[c.random.IntN(len(faults))]
		if slices.Contains(names, f.name) || ofDaemon(f.name) && slices.ContainsFunc(names, ofDaemon) {
			continue // one daemon at a time
		}
		names, harmless, leaves = append(names, f.name), harmless && f.harmless, leaves || f.leaves
		ends = append(ends, f.begin(c))
		c.watch(what(step, names), names, leaves, time.Duration(c.random.Int64N(int64(time.Second)))) // the next fault falls anywhere into this one
	}
	what := what(step, names)
	c.t.Log(what)
	c.watch(what, names, leaves, time.Duration(c.random.Int64N(int64(6*time.Second)))) // how long the faults last
	last := time.Now()
	for _, undo := range slices.Backward(ends) {
		undo()
	}
	clear(c.since)
	c.settled(what)
	if _, gap := c.traffic.Report().Gap(begin, last); gap > gapLimit && !mayBeNone(names) {
		c.t.Errorf("%s: no connect succeeded for %v", what, gap)
	}
	if failed := c.traffic.Report().FailedBetween(begin, time.Now()); harmless && len(failed) > 0 {
		c.t.Errorf("%s: %d connects failed, the first at %v", what, len(failed), failed[0])
	}
}

func what(step int, names []string) string {
	return fmt.Sprintf("step %d: %s", step, strings.Join(names, ", "))
}

// mayBeNone reports whether faults may leave no director: one without its cable, and the other
// without its daemon.
func mayBeNone(names []string) bool {
	return slices.Contains(names, "link") && slices.ContainsFunc(names, ofDaemon)
}

// watch looks for a while at what must hold also while faults last.
func (c *chaos) watch(what string, names []string, leaves bool, last time.Duration) {
	c.t.Helper()
	for end := time.Now().Add(last); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		holders := c.Holders()
		c.bounded(what, "no director holds the address", len(holders) == 0 && !mayBeNone(names))
		c.bounded(what, "two hold the address", len(holders) > 1 && !leaves)
		for i, d := range c.LB {
			if d == c.stopped {
				continue
			}
			s, err := d.Status() // one that is down does not reply
			c.bounded(what, d.Name+" says otherwise than it is", err == nil && len(s.VRRP) == 1 && (s.VRRP[0].State == "master") != d.Holds(lvsdtest.VIP))
			if err != nil {
				continue
			}
			for _, rs := range s.Services[0].RealServers {
				said := -1
				if rs.Weight != nil {
					said = *rs.Weight
				}
				c.bounded(what, fmt.Sprintf("%s says another weight of %s than the kernel has", d.Name, rs.Address), said != d.ProcWeight(rs.Address))
			}
			if wrong := c.tooMuch(i); wrong != "" {
				c.t.Errorf("%s: %s", what, wrong)
			}
		}
	}
}

// bounded fails if something lasts for longer than moveLimit.
func (c *chaos) bounded(what, wrong string, now bool) {
	c.t.Helper()
	began, known := c.since[wrong]
	switch {
	case !now:
		delete(c.since, wrong)
	case !known:
		c.since[wrong] = time.Now()
	case time.Since(began) > moveLimit:
		c.t.Errorf("%s: %s for %v", what, wrong, time.Since(began))
		c.since[wrong] = time.Now()
	}
}

// tooMuch returns what a director takes of its machine, if that is more than it may; else "".
func (c *chaos) tooMuch(i int) string {
	now, was := usageOf(c.LB[i]), c.first[i]
	c.most = usage{max(c.most.memory, now.memory), max(c.most.descriptors, now.descriptors), max(c.most.goroutines, now.goroutines)}
	if was.memory > 0 && (now.memory > was.memory+growth.memory || now.descriptors > was.descriptors+growth.descriptors || now.goroutines > was.goroutines+growth.goroutines) {
		return fmt.Sprintf("%s takes %+v, at first %+v", c.LB[i].Name, now, was)
	}
	return ""
}

// ofDaemon reports whether a fault concerns a daemon, or needs both.
func ofDaemon(name string) bool {
	return slices.Contains([]string{"kill", "term", "stop", "handover", "elections killed"}, name)
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
		if wrong := c.tooMuch(i); wrong != "" {
			return wrong
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
	for _, pid := range append(d.Children(), d.Process.Pid()) {
		u.memory += resident(strconv.Itoa(pid))
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
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
