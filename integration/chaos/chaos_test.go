package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

const (
	// shortRun is how long the test takes without LVSD_CHAOS_FOR.
	shortRun = time.Minute
	// settle is how long the pair may take to be as it must be: three advert intervals
	// of a takeover, the checks, and what was retried while a disk was full.
	settle = 40 * time.Second
	// maxMemory and maxDescriptors bound a daemon: kibibytes resident, and how many more
	// descriptors than at first.
	maxMemory, maxDescriptors = 200 << 10, 64
)

// chaos is a pair with what it is now expected to do.
type chaos struct {
	*lvsdtest.Pair
	t           *testing.T
	random      *rand.Rand
	servers     []*lab.Server
	weights     []int
	down        map[int]bool // servers that are stopped
	traffic     *lab.Outage
	descriptors [2]int // of each daemon at first
}

// fault happens, and returns its end.
type fault struct {
	name  string
	begin func(c *chaos) (end func())
}

func none() {}

var faults = []fault{
	{"link", func(c *chaos) func() { d := c.either(); d.CutCable(); return d.PlugCable }},
	{"kill", func(c *chaos) func() { d := c.either(); d.KillDaemon(); return d.StartDaemon }},
	{"term", func(c *chaos) func() { d := c.either(); d.StopDaemon(); return d.StartDaemon }},
	{"stop", func(c *chaos) func() { d := c.either(); d.Process.Stop(); return d.Process.Cont }},
	{"reload", func(c *chaos) func() {
		i := c.random.IntN(len(c.weights))
		c.edit(i, 1+c.random.IntN(9))
		return none
	}},
	{"drain", func(c *chaos) func() {
		i := c.random.IntN(len(c.weights))
		was := c.weights[i]
		c.edit(i, 0)
		return func() { c.edit(i, max(was, 1)) }
	}},
	{"handover", func(c *chaos) func() {
		if d := c.holder(); d != nil {
			out, err := d.LVSD("handover", "-c", c.ConfigFile, "--director", d.Name, "--for", "2s", "--force")
			c.t.Logf("  handover: %v %s", err, strings.TrimSpace(out)) // it may be refused: no peer
		}
		return none
	}},
	{"server dies", func(c *chaos) func() {
		i := c.random.IntN(len(c.servers))
		if c.down[i] || len(c.down) == len(c.servers)-1 {
			return none
		}
		c.servers[i].Stop()
		c.down[i] = true
		return func() { c.servers[i].Start(); delete(c.down, i) }
	}},
	{"bad cable", func(c *chaos) func() {
		d := c.either()
		d.Netem(lab.Impairment{Loss: float32(c.random.IntN(30)), Duplicate: 5, Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: 5})
		return d.ClearNetem
	}},
	{"address deleted", func(c *chaos) func() {
		if d := c.holder(); d != nil {
			_, _ = d.Run(c.t.Context(), "ip", "address", "del", lvsdtest.VIP+"/32", "dev", "eth0") // it may have moved
		}
		return none
	}},
	{"table flushed", func(c *chaos) func() { c.either().MustRun("ipvsadm", "-C"); return none }},
	{"disk full", func(c *chaos) func() {
		filler := filepath.Join(c.Path(c.either().Name+".state"), "filler")
		_ = os.WriteFile(filler, make([]byte, 4<<20), 0o600) // it fails: the disk is full
		return func() { os.Remove(filler) }
	}},
	{"disk read-only", func(c *chaos) func() {
		folder := c.Path(c.either().Name + ".state")
		c.remount(folder, unix.MS_RDONLY)
		return func() { c.remount(folder, 0) }
	}},
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

func (c *chaos) remount(folder string, flags uintptr) {
	if err := unix.Mount("", folder, "", unix.MS_REMOUNT|flags, ""); err != nil {
		c.t.Logf("  %s: %v", folder, err) // a file is being written
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

// TestChaos runs for a minute, or for LVSD_CHAOS_FOR, from LVSD_CHAOS_SEED.
func TestChaos(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("LVSD_CHAOS_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	run, err := time.ParseDuration(os.Getenv("LVSD_CHAOS_FOR"))
	if err != nil {
		run = shortRun
	}
	t.Logf("replay with: make chaos SEED=%d FOR=%v", seed, run)
	c := &chaos{Pair: lvsdtest.NewPair(t, 3), t: t, random: rand.New(rand.NewPCG(seed, 0)), weights: []int{1, 2, 3}, down: map[int]bool{}}
	for _, d := range c.LB {
		folder := c.Path(d.Name + ".state")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=2m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	}
	c.servers = c.ServeLines()
	c.Services = c.WebService(lvsdtest.QuickCheck, c.weights...)
	c.WriteConfig()
	c.EnableSync()
	c.StartBoth()
	c.traffic = lab.StartOutage(c.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 20 * time.Millisecond, Timeout: 500 * time.Millisecond, For: run + time.Hour, Max: 1 << 30})
	c.settled("start")
	for i, d := range c.LB {
		c.descriptors[i] = descriptors(d.Process.Pid())
	}
	end := time.Now().Add(run)
	for step := 1; time.Now().Before(end); step++ {
		var ends []func()
		var names []string
		for range 1 + c.random.IntN(2) {
			f := faults[c.random.IntN(len(faults))]
			if slices.Contains(names, f.name) || strings.Contains("kill term stop", f.name) && slices.ContainsFunc(names, func(n string) bool { return strings.Contains("kill term stop handover", n) }) {
				continue // one daemon at a time
			}
			names, ends = append(names, f.name), append(ends, f.begin(c))
			time.Sleep(time.Duration(c.random.Int64N(int64(time.Second))))
		}
		what := fmt.Sprintf("step %d: %s", step, strings.Join(names, ", "))
		t.Log(what)
		time.Sleep(time.Duration(c.random.Int64N(int64(3 * time.Second))))
		for _, undo := range slices.Backward(ends) {
			undo()
		}
		c.settled(what)
	}
	t.Log(c.traffic.Stop())
}

// settled waits until all that must hold does.
func (c *chaos) settled(what string) {
	c.t.Helper()
	wrong := "nothing was looked at"
	if _, ok := lab.Poll(settle, func() bool { wrong = c.wrong(); return wrong == "" }); !ok {
		for _, d := range c.LB {
			c.t.Logf("%s:\n%s", d.Name, d.Process.Tail(40))
		}
		c.t.Fatalf("%s: %s", what, wrong)
	}
	c.traffic.WaitSuccesses(20, settle)
}

// wrong returns what does not hold; "" if all does.
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
		for n, weight := range c.weights {
			if c.down[n] {
				weight = 0
			}
			address := c.Real[n].Addr().String() + ":80"
			if got := d.ProcWeight(address); got != weight {
				return fmt.Sprintf("%s has weight %d on %s, want %d", address, got, d.Name, weight)
			}
		}
		pid := d.Process.Pid()
		if kib := resident(pid); kib > maxMemory {
			return fmt.Sprintf("%s has %d KiB in memory", d.Name, kib)
		}
		if n := descriptors(pid); c.descriptors[i] > 0 && n > c.descriptors[i]+maxDescriptors {
			return fmt.Sprintf("%s has %d descriptors, at first %d", d.Name, n, c.descriptors[i])
		}
	}
	return ""
}

// resident is the memory of a process in KiB.
func resident(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return n
		}
	}
	return 0
}

func descriptors(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}
