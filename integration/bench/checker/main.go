// Command checker measures the cost of probes: lvsd and keepalived in one boot, with the
// same servers and one probe a second of each. It prints the processor time of a probe,
// the share of the intended probes, and the memory. With -host it measures the engine
// alone, on this machine's own kernel.
//
// Compare ratios within one boot; times of different boots or machines differ too much.
//
// It needs a kernel with ip_vs; `make bench-checker` finds or boots one.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"lvsd/integration/bench/measure"
	"lvsd/integration/lab"
)

func main() {
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to measure")
	servers := flag.String("servers", "500 1000", "numbers of real servers; with -host one, 10000 by default")
	span := flag.Duration("for", 12*time.Second, "duration of each measurement")
	interval := flag.Duration("interval", time.Second, "of each server's probes, in whole seconds")
	rounds := flag.Int("rounds", 1, "rounds")
	together := flag.Bool("together", false, "measure both at the same time, so that other load affects both")
	calls := flag.Bool("calls", false, "count system calls with strace; the times are then meaningless")
	only := flag.String("kinds", "connect http syn", "the kinds of check; beside keepalived also https dns ping exec")
	host := flag.Bool("host", false, "measure the engine alone, on this machine's own kernel")
	serving := flag.Bool("serve", false, "be the servers of -host")
	profile := flag.String("profile", "", "with -host: write a processor profile there")
	flag.Parse()
	if *serving {
		if err := serve(); err != nil {
			measure.Fatal(err)
		}
		return
	}
	sizes, chosen := numbers(*servers), strings.Fields(*only)
	if *host {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if len(sizes) != 1 {
			sizes = []int{10000}
		}
		if len(chosen) == 3 {
			chosen = append(chosen, hanging)
		}
		run := func() error { return onHost(ctx, chosen, sizes[0], *span) }
		if len(chosen) > 1 && *profile == "" {
			run = func() error { return eachAlone(ctx, chosen) }
		}
		if err := profiled(*profile, run); err != nil {
			measure.Fatal(err)
		}
		return
	}
	for _, kind := range chosen {
		if _, known := kinds[kind]; !known {
			measure.Fatal(fmt.Errorf("-kinds: no kind %q is measured", kind))
		}
	}
	measure.Main(*lvsd, func(_ context.Context, tb lab.TB, binary string) {
		b := &bench{TB: tb, binary: binary, lab: lab.New(tb), span: *span, interval: *interval, calls: *calls, together: *together}
		b.build()
		for range *rounds {
			for _, b.servers = range sizes {
				for _, kind := range chosen {
					b.measure(kind)
				}
			}
		}
		b.table()
	})
}

// numbers parses a list of numbers.
func numbers(list string) (all []int) {
	for _, text := range strings.Fields(list) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			measure.Fatal(fmt.Errorf("-servers: %q is not a number of servers", text))
		}
		all = append(all, n)
	}
	return all
}

// profiled runs f, with a processor profile unless path is empty.
func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

type bench struct {
	lab.TB
	binary   string
	lab      *lab.Lab
	servers  int
	span     time.Duration
	interval time.Duration
	calls    bool
	together bool
	runs     int
	rows     []string // of the table
	sites    [2]site  // of lvsd and of keepalived
}

// site is a director and one host that is all its real servers: nginx on a prefix. Each
// program has a site, so that both may run at the same time.
type site struct {
	director, farm *lab.Host
	prefix         string
	queries        atomic.Int64 // of DNS
}

// build builds both sites.
func (b *bench) build() {
	cert, key := b.certificate()
	for i := range b.sites {
		s := &b.sites[i]
		lan := b.lab.LAN(fmt.Sprint("lan", i), fmt.Sprintf("10.77.%d.0/24", i))
		s.prefix = fmt.Sprint("10.", 128+i)
		s.director = b.lab.Host(fmt.Sprint("lb", i), lan, fmt.Sprintf("10.77.%d.11/24", i))
		s.director.PrepareDirector()
		s.farm = b.lab.Host(fmt.Sprint("farm", i), lan, fmt.Sprintf("10.77.%d.21/24", i))
		s.farm.ServePrefix(s.prefix + ".0.0/16")
		s.director.Route(s.prefix+".0.0/16", fmt.Sprintf("10.77.%d.21", i))
		lab.Nginx(s.farm, "80", "farm")
		lab.NginxTLS(s.farm, "443", "farm", cert, key)
		b.serveDNS(s)
	}
	fmt.Printf("%s\n%s\none nginx is all real servers, a probe of each every %v, measured for %v\n",
		measure.Machine(), measure.Keepalived(), b.interval, b.span)
}

func (s *site) server(i int) string { return fmt.Sprintf("%s.%d.%d", s.prefix, i>>8, i&255) }

func (b *bench) measure(kind string) {
	own := &run{bench: b, site: &b.sites[0], name: "lvsd", kind: kind}
	peer := &run{bench: b, site: &b.sites[1], name: "keepalived", kind: cmp.Or(kinds[kind].beside, kind)}
	if b.together {
		own.begin(b.lvsd)
		peer.begin(b.keepalived)
		time.Sleep(settling + b.interval)
		own.sample()
		peer.sample()
		time.Sleep(b.span)
		own.sample()
		peer.sample()
		own.end()
		peer.end()
	} else {
		own.alone(b.lvsd)
		peer.alone(b.keepalived)
	}
	fmt.Printf("  %s: lvsd takes %.2f of the processor time a probe of keepalived's %s\n", kind, own.each/peer.each, peer.kind)
	beside := ""
	if peer.kind != kind {
		beside = ", beside keepalived's " + peer.kind
	}
	b.rows = append(b.rows, fmt.Sprintf("| %d | %s%s | %.0f | %.0f | **%.2f** | %s | %s | %s | %s |", b.servers, kind, beside,
		own.each, peer.each, own.each/peer.each, own.done(), peer.done(), own.memory, peer.memory))
}

// table prints the results in the form of docs/performance.md.
func (b *bench) table() {
	fmt.Print("\n| servers | kind | lvsd, µs a probe | keepalived | of keepalived's | lvsd: probes done of those wanted | keepalived | lvsd: resident | keepalived |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range b.rows {
		fmt.Println(row)
	}
}

// settling is the time that a start and the first probes take.
const settling = 10 * time.Second

// run is the measurement of one program.
type run struct {
	*bench
	*site
	name, kind string

	process *lab.Process
	pid     int
	begun   time.Time
	cpu     time.Duration // at the first sample, then since that
	probes  int           // as cpu
	each    float64       // µs a probe
	wanted  float64       // probes
	memory  string
}

func (r *run) done() string { return fmt.Sprintf("%.0f %%", 100*float64(r.probes)/r.wanted) }

func (r *run) alone(start func(*site, string) (*lab.Process, int)) {
	r.begin(start)
	time.Sleep(settling + r.interval) // until the first probes are over
	r.sample()
	if r.calls {
		r.trace(r.pid)
	} else {
		time.Sleep(r.span)
	}
	r.sample()
	r.end()
}

func (r *run) begin(start func(*site, string) (*lab.Process, int)) {
	r.process, r.pid = start(r.site, r.kind)
}

// sample is called at the begin and the end of a measurement.
func (r *run) sample() {
	cpu, probes := measure.CPUTime(r.pid)+measure.ReapedTime(r.pid), kinds[r.kind].count(r.site)
	if r.begun.IsZero() {
		r.begun = time.Now()
		r.cpu, r.probes = cpu, probes
		return
	}
	took := time.Since(r.begun)
	r.cpu, r.probes = cpu-r.cpu, probes-r.probes
	r.each = float64(r.cpu.Microseconds()) / float64(max(r.probes, 1))
	r.wanted = float64(r.servers) * took.Seconds() / r.interval.Seconds()
	r.memory = measure.Memory(r.pid)
	fmt.Printf("  %d servers, %s, %s: %.0f µs of cpu a probe (user and system), %d probes of %.0f wanted, %s\n",
		r.servers, r.kind, r.name, r.each, r.probes, r.wanted, r.memory)
}

func (r *run) end() {
	r.process.Terminate()
	<-r.process.Done()
	r.director.MustRun("ipvsadm", "-C")
}

// trace prints the system calls of a process during a measurement.
func (b *bench) trace(pid int) {
	ctx, cancel := context.WithTimeout(context.Background(), b.span)
	defer cancel()
	c := exec.CommandContext(ctx, "strace", "-f", "-c", "-U", "calls,name", "-p", fmt.Sprint(pid))
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGINT) }
	out, _ := c.CombinedOutput() // ended by the signal
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "strace: ") {
			fmt.Print("    ", line)
		}
	}
}

// lvsd starts lvsd and returns its process id.
func (b *bench) lvsd(s *site, kind string) (*lab.Process, int) {
	b.runs++
	dir := b.lab.Path(fmt.Sprint("lvsd", b.runs))
	var t strings.Builder
	fmt.Fprintf(&t, "[global]\ncontrol_socket = \"%s/lvsd.sock\"\nstate_dir = \"%s/state\"\nhttp_listen = \"\"\n", dir, dir)
	fmt.Fprintf(&t, "[[virtual_service]]\nname = \"web\"\naddress = \"10.77.9.100:%s\"\ncheck = { interval = \"%v\", timeout = \"1s\", %s }\nreal_servers = [\n", kinds[kind].port, b.interval, kinds[kind].lvsd)
	for i := range b.servers {
		fmt.Fprintf(&t, "  { address = \"%s:%s\" },\n", s.server(i+1), kinds[kind].port)
	}
	t.WriteString("]\n")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatalf("make a folder: %v", err)
	}
	p := s.director.Start(b.binary, "run", "-c", b.lab.WriteFile(fmt.Sprintf("lvsd%d.toml", b.runs), t.String()))
	return p, p.Pid()
}

// keepalived starts keepalived without VRRP and returns the process id of its checkers.
func (b *bench) keepalived(s *site, kind string) (*lab.Process, int) {
	b.runs++
	var t strings.Builder
	t.WriteString("virtual_server 10.77.9.100 " + kinds[kind].port + " {\n")
	fmt.Fprintf(&t, " delay_loop %.0f\n lb_algo wlc\n lb_kind DR\n protocol TCP\n", b.interval.Seconds())
	for i := range b.servers {
		fmt.Fprintf(&t, " real_server %s %s {\n weight 1\n %s }\n", s.server(i+1), kinds[kind].port, kinds[kind].keepalived)
	}
	t.WriteString("}\n")
	checkers := b.lab.Path(fmt.Sprintf("kac%d.pid", b.runs))
	p := s.director.Start("keepalived", "-n", "-l", "-C", "-f", b.lab.WriteFile(fmt.Sprintf("ka%d.conf", b.runs), t.String()),
		"-p", b.lab.Path(fmt.Sprintf("ka%d.pid", b.runs)), "-c", checkers)
	pid := 0
	if _, ok := lab.Poll(20*time.Second, func() bool {
		text, _ := os.ReadFile(checkers)
		fmt.Sscan(string(text), &pid)
		return pid > 0
	}); !ok {
		b.Fatalf("keepalived has no checkers:\n%s", p.Tail(20))
	}
	return p, pid
}
