// Command failover measures what a client sees when the address moves: a pair of
// lvsd, a pair of keepalived, and an lvsd whose peer is a keepalived, in one boot,
// on the same LAN, with the same real servers. New connects are begun every few milliseconds; the outage is the
// longest time without one that succeeded. Times of two boots or machines say
// little beside each other, ratios in one do.
//
// It needs a kernel with ip_vs; `make bench-failover` finds or boots one.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/lab"
)

const (
	vip     = "10.77.0.100"
	service = vip + ":80"
)

func main() {
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to measure")
	rounds := flag.Int("rounds", 3, "how often each is measured; the median is told")
	only := flag.String("only", "", "only what has this in its name")
	trace := flag.Bool("trace", false, "tell of each round what was on the wire when")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	binary, err := filepath.Abs(*lvsd)
	if err == nil {
		err = lab.Run(ctx, "bench", func(string, ...any) {}, func(ctx context.Context, tb lab.TB) {
			head()
			for _, c := range cases {
				if !strings.Contains(c.name, *only) {
					continue
				}
				ours := lvsdPair(binary)
				mixed := system{name: "lvsd beside keepalived", ready: ours.ready, start: func(b *bench, i int) *lab.Process {
					return [2]system{ours, keepalivedPair}[i].start(b, i)
				}}
				for _, s := range []system{ours, keepalivedPair, mixed} {
					measure(ctx, tb, c, s, *rounds, *trace)
				}
			}
		})
	}
	if err != nil {
		fmt.Printf("FAILED: %v\n", err)
		os.Exit(1)
	}
}

func head() {
	version, _ := os.ReadFile("/proc/version")
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	kind := "this machine's own kernel"
	if strings.Contains(string(cpu), "User Mode Linux") {
		kind = "User-Mode Linux"
	}
	out, _ := exec.Command("keepalived", "--version").CombinedOutput()
	peer, _, _ := strings.Cut(string(out), "\n")
	fmt.Printf("%s, %d cpu: %s\n%s\na connect every 5 ms, outage and failed connects: median of all rounds (least to most)\n",
		kind, runtime.NumCPU(), strings.Join(strings.Fields(string(version))[:3], " "), peer)
}

// event is one way for the address to move.
type event struct {
	name   string
	advert time.Duration
	// do makes it happen; the master is first, its successor second.
	do func(b *bench)
	// to is the number of the director that is to have the address afterwards.
	to int
}

var cases = []event{
	{"cut cable, 1 s", time.Second, func(b *bench) { b.lb[0].CutCable() }, 1},
	{"cut cable, 100 ms", 100 * time.Millisecond, func(b *bench) { b.lb[0].CutCable() }, 1},
	{"cut cable, 10 ms", 10 * time.Millisecond, func(b *bench) { b.lb[0].CutCable() }, 1},
	{"killed, 1 s", time.Second, func(b *bench) { b.kill(0) }, 1},
	{"planned stop, 1 s", time.Second, func(b *bench) { b.processes[0].Terminate() }, 1},
	{"planned stop, 100 ms", 100 * time.Millisecond, func(b *bench) { b.processes[0].Terminate() }, 1},
	{"preemption, 1 s", time.Second, func(b *bench) { b.start(0) }, 0},
	{"preemption, 100 ms", 100 * time.Millisecond, func(b *bench) { b.start(0) }, 0},
}

// system is a pair of directors of one kind.
type system struct {
	name string
	// start starts a director.
	start func(b *bench, i int) *lab.Process
	// ready says that its table is complete.
	ready func(b *bench, i int) bool
}

type bench struct {
	lab.TB
	*lab.Lab
	system    system
	advert    time.Duration
	client    *lab.Host
	lb        [2]*lab.Host
	processes [2]*lab.Process
	real      []*lab.Host
	trace     bool
}

func measure(ctx context.Context, tb lab.TB, c event, s system, rounds int, trace bool) {
	var outages []time.Duration
	var failed []int
	for range rounds {
		err := lab.Run(ctx, "round", func(string, ...any) {}, func(_ context.Context, tb lab.TB) {
			b := newBench(tb, c, s)
			b.trace = trace
			r := b.round(c)
			outages, failed = append(outages, r.LongestGap), append(failed, r.Failed)
		})
		if err != nil {
			tb.Fatalf("%s, %s: %v", c.name, s.name, err)
		}
	}
	slices.Sort(outages)
	slices.Sort(failed)
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	n := len(outages) - 1
	fmt.Printf("| %s | %s | %v (%v to %v) | %d (%d to %d) |\n", c.name, s.name, ms(outages[n/2]), ms(outages[0]), ms(outages[n]), failed[n/2], failed[0], failed[n])
}

func newBench(tb lab.TB, c event, s system) *bench {
	b := &bench{TB: tb, Lab: lab.New(tb), system: s, advert: c.advert}
	lan := b.LAN("lan", "10.77.0.0/24")
	b.client = b.Host("client", lan, "10.77.0.2/24")
	for i := range b.lb {
		b.lb[i] = b.Host(fmt.Sprint("lb", i+1), lan, fmt.Sprintf("10.77.0.%d/24", 11+i))
		b.lb[i].PrepareDirector()
		b.lb[i].SetSysctl("net.ipv4.vs.expire_nodest_conn", "1")
	}
	for i := range 2 {
		r := b.Host(fmt.Sprint("rs", i+1), lan, fmt.Sprintf("10.77.0.%d/24", 21+i))
		r.PrepareDR(vip)
		lab.ServeLines(r, ":80", r.Name)
		b.real = append(b.real, r)
	}
	return b
}

func (b *bench) start(i int) { b.processes[i] = b.system.start(b, i) }

// kill ends a director at once, with the processes that it has.
func (b *bench) kill(i int) {
	_ = syscall.Kill(-b.processes[i].Pid(), syscall.SIGKILL)
}

// round builds up, lets it happen, and tells what the client saw of it.
func (b *bench) round(c event) lab.OutageReport {
	for i := range b.lb {
		if i == c.to && c.to == 0 {
			continue // who preempts comes later
		}
		b.start(i)
	}
	master := 1 - c.to
	b.WaitUntil(30*time.Second, "a master", func() bool { return b.lb[master].Holds(vip) && b.system.ready(b, master) })
	if c.to == 1 {
		b.WaitUntil(30*time.Second, "a backup", func() bool { return b.system.ready(b, 1) && !b.lb[1].Holds(vip) })
	}
	heard := b.listen()
	outage := lab.StartOutage(b.client, service, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(100, 20*time.Second)
	began := time.Now()
	c.do(b)
	b.WaitUntil(60*time.Second, "the successor", func() bool { return b.lb[c.to].Holds(vip) })
	// Until the last that a leaving director does is over.
	time.Sleep(max(4*b.advert, 2*time.Second))
	outage.WaitSuccesses(50, 20*time.Second)
	report := outage.Stop()
	if b.trace {
		b.tell(heard.Stop(), began, report)
	}
	return report
}

// listen hears adverts and what is said by ARP of the address, as the successor's
// port in the switch hears them: nothing that was not sent is heard there.
func (b *bench) listen() *lab.Capture {
	return b.client.Capture("eth0", func(f lab.Frame) bool {
		if _, ok := f.VRRP(); ok {
			return true
		}
		a, ok := f.ARP()
		return ok && a.SenderIP.String() == vip
	})
}

// tell tells when the master was heard last, its successor first, the address
// announced first, and a connect answered again; all counted from the event.
func (b *bench) tell(frames []lab.Frame, began time.Time, r lab.OutageReport) {
	old, new := b.lb[0].MAC("eth0").String(), b.lb[1].MAC("eth0").String()
	var last, first, known time.Time
	for _, f := range frames {
		_, advert := f.VRRP()
		switch {
		case advert && f.Src.String() == old && first.IsZero():
			last = f.At
		case advert && f.Src.String() == new && first.IsZero():
			first = f.At
		case !advert && f.Src.String() == new && known.IsZero():
			known = f.At
		}
	}
	ms := func(at time.Time) string { return fmt.Sprintf("%.1f ms", at.Sub(began).Seconds()*1000) }
	fmt.Printf("  %s: the last advert before %s, the successor's first %s, announced %s, no connect from %s to %s\n",
		b.system.name, ms(last), ms(first), ms(known), ms(r.GapFrom), ms(r.GapFrom.Add(r.LongestGap)))
}

func (b *bench) inTable(i int) bool {
	return strings.Count(b.lb[i].MustRun("ipvsadm", "-S", "-n"), "-w 1") == len(b.real)
}

func lvsdPair(binary string) system {
	return system{name: "lvsd", ready: (*bench).inTable, start: func(b *bench, i int) *lab.Process {
		name := b.lb[i].Name
		file := b.WriteFile(name+".toml", fmt.Sprintf(`
[[director]]
name = "lb1"
[[director]]
name = "lb2"
[global]
http_listen = ""
control_socket = %[1]q
state_dir = %[2]q
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
advert_interval = "%[3]v"
addresses = [%[4]q]
[[virtual_service]]
name = "web"
address = %[5]q
scheduler = "rr"
check = { type = "connect", interval = "1s", timeout = "900ms" }
real_servers = [{ address = "%[6]s:80" }, { address = "%[7]s:80" }]
`, b.Path(name+".sock"), b.Path(name+".state"), b.advert, vip, service, b.real[0].Addr(), b.real[1].Addr()))
		return b.lb[i].Start(binary, "run", "--director", name, "-c", file)
	}}
}

var keepalivedPair = system{name: "keepalived", ready: (*bench).inTable, start: func(b *bench, i int) *lab.Process {
	name := b.lb[i].Name
	file := b.WriteFile(name+".conf", fmt.Sprintf(`
global_defs { router_id %[1]s }
vrrp_instance web {
  interface eth0
  state BACKUP
  version 3
  virtual_router_id 51
  priority %[2]d
  advert_int %.2[3]f
  virtual_ipaddress { %[4]s/32 }
}
virtual_server %[4]s 80 {
  delay_loop 1
  lb_algo rr
  lb_kind DR
  protocol TCP
  real_server %[5]s 80 { weight 1
    TCP_CHECK { connect_timeout 1 } }
  real_server %[6]s 80 { weight 1
    TCP_CHECK { connect_timeout 1 } }
}
`, name, 200-100*i, b.advert.Seconds(), vip, b.real[0].Addr(), b.real[1].Addr()))
	return b.lb[i].Start("keepalived", "-n", "-l", "-f", file, "-p", b.Path(name+".p"), "-r", b.Path(name+".r"), "-c", b.Path(name+".c"))
}}
