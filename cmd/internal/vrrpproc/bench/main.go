// Command bench measures whether anything delays an advertisement: two directors with
// an advertisement interval of 10 ms, each a process that also runs the checkers at
// full load and reloads a large configuration repeatedly, while every processor of
// the machine is busy with other work. A false transition is a change of state that
// no failure caused. VRRP runs in a process of its own, as in lvsd run; -together
// puts it into the process of the checkers, for comparison.
//
// It runs on this machine's own kernel (no ip_vs is needed) in network
// namespaces of its own; `make bench-deadline` starts it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"lvsd/checker"
	"lvsd/checker/probe"
	"lvsd/cmd/internal/vrrpproc"
	"lvsd/config"
	"lvsd/integration/bench/measure"
	"lvsd/integration/lab"
	"lvsd/vrrp"
)

// settings are what is measured; the roles get them as JSON.
type settings struct {
	Role     string // "" is the bench itself; "director", "vrrp", "server", "busy"
	Name     string
	Priority uint8
	Advert   time.Duration
	Servers  int           // real servers, one connect probe each in Interval
	Interval time.Duration // of a check
	Reloads  time.Duration // from one reload to the next; 0: none
	For      time.Duration
	Together bool // one process does all
}

const roleVariable = "LVSD_BENCH_DEADLINE"

func main() {
	if text := os.Getenv(roleVariable); text != "" {
		var s settings
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			measure.Fatal(err)
		}
		if err := play(s); err != nil {
			measure.Fatal(err)
		}
		return
	}
	s := settings{}
	flag.DurationVar(&s.Advert, "advert", 10*time.Millisecond, "advert interval")
	flag.IntVar(&s.Servers, "servers", 2000, "real servers that each director probes")
	flag.DurationVar(&s.Interval, "interval", time.Second, "interval of a check")
	flag.DurationVar(&s.Reloads, "reloads", 500*time.Millisecond, "from one reload to the next")
	flag.DurationVar(&s.For, "for", time.Minute, "duration of the measurement")
	flag.BoolVar(&s.Together, "together", false, "VRRP, checkers and reloads in one process")
	busy := flag.Int("busy", runtime.NumCPU(), "processes that do nothing but compute")
	flag.Parse()
	measure.Main("", func(_ context.Context, tb lab.TB, _ string) { measurePair(tb, s, *busy) })
}

func measurePair(tb lab.TB, s settings, busy int) {
	l := lab.New(tb)
	lan := l.LAN("lan", "10.77.0.0/24")
	fmt.Printf("%d cpu, %d processes that compute, adverts of %v for %v; each director probes %d servers every %v and reloads them every %v\n",
		runtime.NumCPU(), busy, s.Advert, s.For, s.Servers, s.Interval, s.Reloads)
	var hosts [2]*lab.Host
	var directors [2]*lab.Process
	for i := range hosts {
		hosts[i] = l.Host(fmt.Sprintf("lb%d", i+1), lan, fmt.Sprintf("10.77.0.%d/24", 11+i))
	}
	start := func(h *lab.Host, s settings) *lab.Process {
		text, err := json.Marshal(s)
		if err != nil {
			tb.Fatalf("%v", err)
		}
		return h.StartCommand(lab.Command{Args: []string{self(tb)}, Env: []string{roleVariable + "=" + string(text)}, Name: h.Name + "-" + s.Role})
	}
	for range busy {
		start(hosts[0], settings{Role: "busy"})
	}
	for i, h := range hosts {
		own := s
		own.Role = "server"
		start(h, own)
		own.Role, own.Name, own.Priority = "director", h.Name, uint8(200-100*i)
		directors[i] = start(h, own)
	}
	for _, p := range directors {
		select {
		case <-p.Done():
		case <-time.After(s.For + time.Minute):
			tb.Fatalf("a director does not end:\n%s", p.Tail(20))
		}
		fmt.Print(p.Output())
	}
}

func play(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch s.Role {
	case "busy":
		for i := 0; ctx.Err() == nil; i++ {
			for range 1_000_000 {
				i ^= i << 1
			}
		}
		return nil
	case "server":
		return serve(ctx)
	case "vrrp":
		return vrrpproc.Serve(os.Stdin, os.Stdout, slog.New(slog.DiscardHandler), func(string) error { return nil })
	}
	return direct(ctx, s)
}

// serve accepts what the probes connect to.
func serve(ctx context.Context) error {
	listen, err := net.Listen("tcp", "0.0.0.0:8000")
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = listen.Close() })
	for {
		c, err := listen.Accept()
		if err != nil {
			return nil
		}
		_ = c.Close()
	}
}

// direct runs one director.
func direct(ctx context.Context, s settings) error {
	var lags lags
	var transitions atomic.Int64
	var reloads int
	happened := func(vrrp.Event) { transitions.Add(1) }
	engine, fresh, end, err := open(s, lags.observe, happened)
	if err != nil {
		return err
	}
	defer end()
	checks := checker.New(checker.Options{Log: slog.New(slog.DiscardHandler), Wake: func() {}})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return engine.Run(ctx) })
	tasks.Go(func() error { return checks.Run(ctx) })
	tasks.Go(func() error {
		defer cancel()
		time.Sleep(5 * time.Second) // until there is a master
		settled := transitions.Load()
		lags.reset()
		state := engine.Status().State
		done := time.After(s.For)
		tick := time.NewTicker(max(s.Reloads, time.Millisecond))
		defer tick.Stop()
		if err := reload(checks, s); err != nil {
			return err
		}
		for {
			select {
			case <-done:
				fresh()
				st := engine.Status()
				seen := transitions.Load() - settled
				fmt.Printf("  %s: %s all the time: %v; %d false transitions; %d adverts sent, %d received, %d reloads; timers late by %s\n",
					s.Name, state, st.State == state, seen, st.AdvertsSent, st.AdvertsReceived, reloads, lags.String())
				if s.Name == "lb1" { // the other becomes master when the first leaves, which is not a false transition
					time.Sleep(3 * time.Second)
				}
				return nil
			case <-tick.C:
				if s.Reloads == 0 {
					continue
				}
				if err := reload(checks, s); err != nil {
					return err
				}
				reloads++
			}
		}
	})
	return tasks.Wait()
}

// engine is a VRRP instance, in this process or the child process.
type engine interface {
	Run(context.Context) error
	Status() vrrp.Status
}

// open opens the VRRP instance in the process that the settings name. fresh updates
// its counters.
func open(s settings, late func(time.Duration), happened func(vrrp.Event)) (e engine, fresh, end func(), err error) {
	cfg := vrrp.Config{Name: "web", Interface: "eth0", VRID: 51, Priority: s.Priority, AdvertInterval: s.Advert,
		Preempt: true, Addresses: []netip.Prefix{netip.MustParsePrefix("10.77.0.100/32")}}
	log := slog.New(slog.DiscardHandler)
	if s.Together {
		e, err := vrrp.Open(cfg, vrrp.Options{Log: log, ObserveLag: late, OnEvent: happened})
		return e, func() {}, func() {}, err
	}
	text, err := json.Marshal(settings{Role: "vrrp"})
	if err != nil {
		return nil, nil, nil, err
	}
	os.Setenv(roleVariable, string(text)) // the process inherits it
	p := vrrpproc.New(vrrpproc.Options{Command: []string{"/proc/self/exe"}, Log: slog.New(slog.NewTextHandler(os.Stdout, nil)), ObserveLag: late, OnEvent: happened})
	e, err = p.Open(cfg)
	return e, func() { p.Refresh(context.Background()) }, p.Close, err
}

// reload does what a daemon does at a reload, except for the kernel: it parses and
// validates the configuration and passes the checkers their targets.
func reload(checks *checker.Engine, s settings) error {
	var text strings.Builder
	fmt.Fprintf(&text, "[[virtual_service]]\nname = \"web\"\naddress = \"10.77.0.100:80\"\ncheck = { type = \"connect\", address = \"127.0.0.1:8000\", interval = %q, timeout = \"1s\" }\nreal_servers = [\n", s.Interval)
	for i := range s.Servers {
		fmt.Fprintf(&text, "  { address = \"10.78.%d.%d:80\" },\n", i>>8, i&255)
	}
	text.WriteString("]\n")
	file, err := config.Parse("lvsd.toml", []byte(text.String()))
	if err != nil {
		return err
	}
	c, err := file.For(s.Name)
	if err != nil {
		return err
	}
	var targets []checker.Target
	for i, rs := range c.Services[0].RealServers {
		k := rs.Checks[0]
		targets = append(targets, checker.Target{ID: checker.ID{Service: "web", RealServer: rs.Address.String()}, Checks: []probe.Check{{
			Type: probe.TypeConnect, Interval: k.Interval, Timeout: k.Timeout, Rise: k.Rise, Fall: k.Fall,
			// An address of its own for each: the same one would be one shared probe.
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), 8000),
		}}})
	}
	return checks.Set(targets)
}

// lags are the delays of the VRRP instance's timers.
type lags struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *lags) observe(d time.Duration) {
	l.mu.Lock()
	l.all = append(l.all, d)
	l.mu.Unlock()
}

func (l *lags) reset() {
	l.mu.Lock()
	l.all = nil
	l.mu.Unlock()
}

func (l *lags) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return "nothing (no timer was served)"
	}
	slices.Sort(l.all)
	at := func(share float64) time.Duration {
		return l.all[min(int(share*float64(len(l.all))), len(l.all)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%v (median), %v (99 %%), %v (99.9 %%), %v (most)", at(.5), at(.99), at(.999), at(1))
}

// self returns the path of this program.
func self(tb lab.TB) string {
	path, err := os.Executable()
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return path
}
