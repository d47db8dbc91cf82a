package vrrp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// manyEnv turns the test binary into a director of many instances: the JSON of a fleet.
const manyEnv = "LVSD_TEST_MANY"

// crowd is as many instances on one interface as there can be, each with addresses.
type fleet struct {
	Elections, Addresses int
	Priority             uint8
	Interval             time.Duration
	VirtualMAC           bool
}

func (c fleet) config(i int) Config {
	cfg := Config{
		Name: fmt.Sprint("e", i), Interface: "eth0", VRID: uint8(i), Priority: c.Priority,
		AdvertInterval: c.Interval, Preempt: true, VirtualMAC: c.VirtualMAC,
	}
	for a := range c.Addresses {
		cfg.Addresses = append(cfg.Addresses, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i), byte(a + 1)}), 32))
	}
	return cfg
}

// crowdState is the state of a crowd.
type fleetStatus struct {
	Masters, Backups, Held int
	Transitions            int64
	First, Last            time.Time // the first that became master, and the last that held all its addresses
	Goroutines             int
	Resident               string        // memory, as the kernel counts it
	Busy                   time.Duration // processor time so far
	Lag                    time.Duration // the latest timer so far
}

// many runs a crowd until SIGTERM. It answers a line on its input with its state;
// "reset" forgets the times.
func many(text string) int {
	var c fleet
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	var transitions, lag atomic.Int64
	var mu sync.Mutex
	var first, last time.Time
	complete := map[int]bool{}
	engines := make([]*Engine, c.Elections)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var running sync.WaitGroup
	for i := range engines {
		e, err := Open(c.config(i+1), Options{
			OnEvent: func(e Event) {
				transitions.Add(1)
				mu.Lock()
				if e.To == Master && first.IsZero() {
					first = e.At
				}
				mu.Unlock()
			},
			ObserveLag: func(d time.Duration) {
				for old := lag.Load(); int64(d) > old && !lag.CompareAndSwap(old, int64(d)); old = lag.Load() {
				}
			},
			Wake: func() {
				now := time.Now()
				mu.Lock()
				defer mu.Unlock()
				if e := engines[i]; e != nil && !complete[i] && len(e.status.Load().present) == c.Addresses {
					complete[i], last = true, now
				}
			},
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		mu.Lock()
		engines[i] = e
		mu.Unlock()
	}
	for _, e := range engines {
		running.Go(func() { _ = e.Run(ctx) })
	}
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			if in.Text() == "reset" {
				mu.Lock()
				first, last = time.Time{}, time.Time{}
				clear(complete)
				mu.Unlock()
				lag.Store(0)
				transitions.Store(0)
			}
			s := fleetStatus{Transitions: transitions.Load(), Goroutines: runtime.NumGoroutine(), Lag: time.Duration(lag.Load()), Busy: busy(), Resident: resident()}
			for _, e := range engines {
				st := e.status.Load()
				s.Held += len(st.present)
				switch st.state {
				case Master:
					s.Masters++
				case Backup:
					s.Backups++
				}
			}
			mu.Lock()
			s.First, s.Last = first, last
			mu.Unlock()
			_ = json.NewEncoder(os.Stdout).Encode(report{Fleet: &s})
		}
	}()
	running.Wait()
	return 0
}

func busy() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func resident() string {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(size)
		}
	}
	return ""
}

func (s *site) many(host string, c fleet) *process {
	text, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.start(host, []string{manyEnv + "=" + string(text)}, self)
}

// fleet asks for the state of the instances.
func (p *process) fleet(word string) fleetStatus {
	p.t.Helper()
	count := func() (n int, last *fleetStatus) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, r := range p.reports {
			if r.Fleet != nil {
				n, last = n+1, r.Fleet
			}
		}
		return n, last
	}
	before, _ := count()
	if _, err := io.WriteString(p.in, word+"\n"); err != nil {
		p.t.Fatal(err)
	}
	var got *fleetStatus
	eventually(p.t, "an answer", func() bool {
		n, last := count()
		got = last
		return n > before
	})
	return *got
}

// virtual counts the addresses of the crowd that the kernel has.
func (s *site) virtual(host string) int {
	return strings.Count(ip(s.t, "-n", s.ns(host), "-4", "-o", "address", "show"), " 10.1.")
}

// TestKernelScale: as many instances as an interface can have, with twenty addresses
// each: one director is master of all, no address moves on a healthy LAN, a killed
// director is replaced in all, and none is left at the end. The figures are in the log.
func TestKernelScale(t *testing.T) {
	fleets := map[string]fleet{
		"255 elections": {Elections: 255, Addresses: 20, Interval: time.Second},
		"30 elections with a virtual MAC address": {Elections: 30, Addresses: 20, Interval: time.Second, VirtualMAC: true},
	}
	for name, c := range fleets {
		t.Run(name, func(t *testing.T) { scale(t, c) })
	}
}

func scale(t *testing.T, c fleet) {
	s := pair(t)
	high, low := c, c
	high.Priority, low.Priority = 200, 100
	all := c.Elections * c.Addresses
	d1 := s.many("d1", high)
	inTime(t, "all are master", func() bool { s := d1.fleet(""); return s.Masters == c.Elections && s.Held == all })
	began := d1.fleet("")
	t.Logf("first mastership of all %d, %d addresses: %v; the latest timer %v", c.Elections, all, began.Last.Sub(began.First).Round(time.Millisecond), began.Lag)
	d2 := s.many("d2", low)
	inTime(t, "all are backup", func() bool { return d2.fleet("").Backups == c.Elections })

	// At rest.
	one, two := d1.fleet("reset"), d2.fleet("reset")
	from := time.Now()
	<-time.After(3 * time.Second) // what is measured is a time
	restOne, restTwo := d1.fleet(""), d2.fleet("")
	took := time.Since(from)
	t.Logf("at rest, master: %.1f %% of a processor, %s resident, %d goroutines, the latest timer %v", percent(restOne.Busy-one.Busy, took), restOne.Resident, restOne.Goroutines, restOne.Lag)
	t.Logf("at rest, backup: %.1f %% of a processor, %s resident, %d goroutines, the latest timer %v", percent(restTwo.Busy-two.Busy, took), restTwo.Resident, restTwo.Goroutines, restTwo.Lag)
	if restOne.Transitions > 0 || restTwo.Transitions > 0 {
		t.Errorf("%d and %d changes of state at rest", restOne.Transitions, restTwo.Transitions)
	}
	if limit := 12*c.Elections + 50; restOne.Goroutines > limit || restTwo.Goroutines > limit {
		t.Errorf("%d and %d goroutines, more than %d", restOne.Goroutines, restTwo.Goroutines, limit)
	}

	killed := time.Now()
	d1.end(syscall.SIGKILL)
	inTime(t, "the other has taken over all", func() bool { s := d2.fleet(""); return s.Masters == c.Elections && s.Held == all })
	over := d2.fleet("")
	t.Logf("takeover of all: the first %v after the kill, the last address %v after the first takeover, %v of a processor, the latest timer %v",
		over.First.Sub(killed).Round(time.Millisecond), over.Last.Sub(over.First).Round(time.Millisecond), (over.Busy - restTwo.Busy).Round(time.Millisecond), over.Lag)
	if n := s.virtual("d2"); n != all {
		t.Errorf("the kernel has %d of %d addresses", n, all)
	}

	// Another process flushes the interface: everything is restored.
	ip(t, "-n", s.ns("d2"), "-4", "address", "flush", "to", "10.1.0.0/16")
	from = time.Now()
	inTime(t, "all addresses are back", func() bool { return s.virtual("d2") == all })
	t.Logf("after a flush of the interface all are back in %v", time.Since(from).Round(time.Millisecond))

	from = time.Now()
	d2.end(syscall.SIGTERM)
	t.Logf("a stop of all: %v", time.Since(from).Round(time.Millisecond))
	if n := s.virtual("d2"); n != 0 {
		t.Errorf("%d addresses are left", n)
	}
}

// inTime is eventually for a crowd, which a busy machine holds up for longer.
func inTime(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(3 * time.Minute); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("never came true: %s", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func percent(busy, of time.Duration) float64 { return 100 * busy.Seconds() / of.Seconds() }
