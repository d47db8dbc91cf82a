// Command checker measures what probes cost: lvsd beside keepalived in one boot,
// the same servers, one probe a second each. Of each it tells the processor time a
// probe, the probes done against those wanted, and the memory. Times of two boots
// or machines say little beside each other, ratios in one do.
//
// It needs a kernel with ip_vs; `make bench-checker` finds or boots one.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/lab"
)

func main() {
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to measure")
	servers := flag.Int("servers", 500, "real servers")
	span := flag.Duration("for", 30*time.Second, "how long each is measured")
	rounds := flag.Int("rounds", 2, "how often")
	calls := flag.Bool("calls", false, "count system calls with strace; the times then say nothing")
	only := flag.String("kinds", "connect http syn", "the kinds of check")
	host := flag.Bool("host", false, "measure the engine alone, on this machine's own kernel")
	serving := flag.Bool("serve", false, "be the servers of -host")
	profile := flag.String("profile", "", "with -host: write a processor profile there")
	flag.Parse()
	if *serving {
		if err := serve(); err != nil {
			fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *host {
		if err := profiled(*profile, func() error { return onHost(ctx, strings.Fields(*only), *servers, *span) }); err != nil {
			fatal(err)
		}
		return
	}
	binary, err := filepath.Abs(*lvsd)
	if err == nil {
		err = lab.Run(ctx, "bench", func(string, ...any) {}, func(ctx context.Context, tb lab.TB) {
			b := &bench{TB: tb, binary: binary, lab: lab.New(tb), servers: *servers, span: *span, calls: *calls}
			b.build()
			for range *rounds {
				for _, kind := range strings.Fields(*only) {
					b.measure(kind)
				}
			}
		})
	}
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Printf("FAILED: %v\n", err)
	os.Exit(1)
}

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
	director *lab.Host
	farm     *lab.Host
	servers  int
	span     time.Duration
	calls    bool
	runs     int
}

// build makes a director, and one host that is all real servers: nginx on a
// prefix.
func (b *bench) build() {
	lan := b.lab.LAN("lan", "10.77.0.0/24")
	b.director = b.lab.Host("lb1", lan, "10.77.0.11/24")
	b.director.PrepareDirector()
	b.farm = b.lab.Host("farm", lan, "10.77.0.21/24")
	b.farm.ServePrefix("10.128.0.0/16")
	b.director.Route("10.128.0.0/16", "10.77.0.21")
	lab.Nginx(b.farm, "80", "farm")
	version, _ := os.ReadFile("/proc/version")
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	kind := "this machine's own kernel"
	if strings.Contains(string(cpu), "User Mode Linux") {
		kind = "User-Mode Linux"
	}
	out, _ := exec.Command("keepalived", "--version").CombinedOutput()
	peer, _, _ := strings.Cut(string(out), "\n")
	fmt.Printf("%s, %d cpu: %s\n%s\n%d real servers (one nginx), one probe a second each, measured for %v\n",
		kind, runtime.NumCPU(), strings.Join(strings.Fields(string(version))[:3], " "), peer, b.servers, b.span)
}

func (b *bench) server(i int) string { return fmt.Sprintf("10.128.%d.%d", i>>8, i&255) }

func (b *bench) measure(kind string) {
	own := b.run(kind, "lvsd", b.lvsd(kind))
	if kind == "syn" { // keepalived has no such check
		return
	}
	peer := b.run(kind, "keepalived", b.keepalived(kind))
	fmt.Printf("  %s: lvsd takes %.2f of keepalived's processor time a probe\n", kind, own/peer)
}

// run measures a running program, and ends it. It returns the time a probe, in µs.
func (b *bench) run(kind, name string, start func() (*lab.Process, int)) float64 {
	p, pid := start()
	time.Sleep(10 * time.Second) // the first probes, and what a start costs
	cpu, probes, begin := cpuTime(pid), b.probes(kind), time.Now()
	if b.calls {
		b.trace(pid)
	} else {
		time.Sleep(b.span)
	}
	cpu, probes = cpuTime(pid)-cpu, b.probes(kind)-probes
	took := time.Since(begin)
	wanted := float64(b.servers) * took.Seconds()
	each := float64(cpu.Microseconds()) / float64(max(probes, 1))
	fmt.Printf("  %s, %s: %.0f µs of cpu a probe (user and system), %d probes of %.0f wanted, %s\n", kind, name, each, probes, wanted, memory(pid))
	p.Terminate()
	<-p.Done()
	b.director.MustRun("ipvsadm", "-C")
	return each
}

// trace shows which system calls a process makes in the time of a measurement.
func (b *bench) trace(pid int) {
	ctx, cancel := context.WithTimeout(context.Background(), b.span)
	defer cancel()
	c := exec.CommandContext(ctx, "strace", "-f", "-c", "-U", "calls,name", "-p", fmt.Sprint(pid))
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGINT) }
	out, _ := c.CombinedOutput() // it ends by the signal
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "strace: ") {
			fmt.Print("    ", line)
		}
	}
}

// lvsd starts lvsd.
func (b *bench) lvsd(kind string) func() (*lab.Process, int) {
	return func() (*lab.Process, int) {
		b.runs++
		dir := b.lab.Path(fmt.Sprint("lvsd", b.runs))
		check := map[string]string{"connect": `type = "connect"`, "syn": `type = "syn"`, "http": `type = "http", path = "/healthz", status = "200"`}[kind]
		var t strings.Builder
		fmt.Fprintf(&t, "[global]\ncontrol_socket = \"%s/lvsd.sock\"\nstate_dir = \"%s/state\"\nhttp_listen = \"\"\n", dir, dir)
		fmt.Fprintf(&t, "[[virtual_service]]\nname = \"web\"\naddress = \"10.77.0.100:80\"\ncheck = { interval = \"1s\", timeout = \"1s\", %s }\nreal_servers = [\n", check)
		for i := range b.servers {
			fmt.Fprintf(&t, "  { address = \"%s:80\" },\n", b.server(i+1))
		}
		t.WriteString("]\n")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatalf("make a folder: %v", err)
		}
		p := b.director.Start(b.binary, "run", "-c", b.lab.WriteFile(fmt.Sprintf("lvsd%d.toml", b.runs), t.String()))
		return p, p.Pid()
	}
}

// keepalived starts keepalived's checkers alone.
func (b *bench) keepalived(kind string) func() (*lab.Process, int) {
	return func() (*lab.Process, int) {
		b.runs++
		check := map[string]string{"connect": "TCP_CHECK {\n connect_timeout 1\n }\n",
			"http": "HTTP_GET {\n url {\n path /healthz\n status_code 200\n }\n connect_timeout 1\n }\n"}[kind]
		var t strings.Builder
		t.WriteString("virtual_server 10.77.0.100 80 {\n delay_loop 1\n lb_algo wlc\n lb_kind DR\n protocol TCP\n")
		for i := range b.servers {
			fmt.Fprintf(&t, " real_server %s 80 {\n weight 1\n %s }\n", b.server(i+1), check)
		}
		t.WriteString("}\n")
		checkers := b.lab.Path(fmt.Sprintf("kac%d.pid", b.runs))
		p := b.director.Start("keepalived", "-n", "-l", "-C", "-f", b.lab.WriteFile(fmt.Sprintf("ka%d.conf", b.runs), t.String()),
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
}

// probes counts at the servers: connections that were accepted; of half-open
// ones, the SYN and the reset that each is.
func (b *bench) probes(kind string) int {
	var text []byte
	if err := b.farm.Do(func() (err error) { text, err = os.ReadFile("/proc/thread-self/net/snmp"); return err }); err != nil {
		b.Fatalf("%v", err)
	}
	var heading []string
	values := map[string]int{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] != "Tcp:" {
			continue
		}
		if heading == nil {
			heading = f
			continue
		}
		for i, v := range f[1:] {
			n := 0
			fmt.Sscan(v, &n)
			values[heading[i+1]] = n
		}
	}
	if kind == "syn" {
		return values["InSegs"] / 2
	}
	return values["PassiveOpens"]
}

// cpuTime is what a process has used, in the kernel's ticks of 10 ms.
func cpuTime(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var user, system int
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory is a process's present and highest resident size.
func memory(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS:") || strings.HasPrefix(line, "VmHWM:") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, ", ")
}
