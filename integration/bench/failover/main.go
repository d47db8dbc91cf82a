// Command failover measures what a client sees when the address moves: a pair of
// lvsd, a pair of keepalived, and an lvsd whose peer is a keepalived, in one boot,
// on the same LAN, with the same real servers. New connects are begun every few
// milliseconds; the outage is the longest time without one that succeeded, of those
// that touch the time from the event (of a handover and a preemption, which begin with a
// process that is started: from an advert before the successor's first) to four adverts
// after the address was announced. Connections are opened before, one every 100 ms, and
// speak each second and at the end. Times of two boots or machines say little beside
// each other, ratios in one do.
//
// It needs a kernel with ip_vs; `make bench-failover` finds or boots one.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/bench/measure"
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
	directors := flag.String("directors", "", "only the directors with this name")
	trace := flag.Bool("trace", false, "tell of each round what was on the wire when")
	flag.Parse()
	measure.Main(*lvsd, func(_ context.Context, tb lab.TB, binary string) {
		head(*rounds)
		for _, c := range cases {
			if !strings.Contains(c.name, *only) {
				continue
			}
			ours := lvsdPair(binary)
			mixed := system{name: "lvsd beside keepalived", ready: ours.ready, handover: ours.handover, start: func(b *bench, i int) *lab.Process {
				return [2]system{ours, keepalivedPair}[i].start(b, i)
			}}
			for _, s := range []system{ours, keepalivedPair, mixed} {
				if (c.do != nil || s.handover != nil) && (*directors == "" || *directors == s.name) {
					measureEvent(tb, c, s, *rounds, *trace)
				}
			}
		}
	})
}

func head(rounds int) {
	fmt.Printf("%s\n%s\na connect every 5 ms; median of %d rounds (least to most), of connections the sum of all\n"+
		"| what, adverts | directors | outage, ms | failed connects | lost of those of 3 s and more | lost of younger ones |\n|---|---|---|---|---|---|\n",
		measure.Machine(), measure.Keepalived(), rounds)
}

// event is one way for the address to move.
type event struct {
	name   string
	advert time.Duration
	// do makes it happen; the master is first, its successor second. nil: the
	// system's handover does.
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
	{"handover, 1 s", time.Second, nil, 1},
	{"handover, 100 ms", 100 * time.Millisecond, nil, 1},
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
	// handover makes a director give the address away; nil: it cannot be told to.
	handover func(b *bench, i int)
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
	state     string // a folder
}

// A result is what a round showed.
type result struct {
	outage         time.Duration
	failed         int // connects
	old, lostOld   int // connections of 3 s and more
	young, lostNew int
}

func measureEvent(tb lab.TB, c event, s system, rounds int, trace bool) {
	var all []result
	for range rounds {
		err := lab.Run(context.Background(), "round", func(string, ...any) {}, func(_ context.Context, tb lab.TB) {
			all = append(all, newBench(tb, c, s).round(c, trace))
		})
		if err != nil {
			tb.Fatalf("%s, %s: %v", c.name, s.name, err)
		}
	}
	var sum result
	for _, r := range all {
		sum.old, sum.lostOld, sum.young, sum.lostNew = sum.old+r.old, sum.lostOld+r.lostOld, sum.young+r.young, sum.lostNew+r.lostNew
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.0f", d.Seconds()*1000) }
	fmt.Printf("| %s | %s | %s | %s | %d of %d | %d of %d |\n", c.name, s.name,
		spread(all, ms, func(r result) time.Duration { return r.outage }), spread(all, func(n int) string { return fmt.Sprint(n) }, func(r result) int { return r.failed }),
		sum.lostOld, sum.old, sum.lostNew, sum.young)
}

// spread is the median, the least and the most of one thing of all rounds.
func spread[T cmp.Ordered](all []result, text func(T) string, of func(result) T) string {
	var values []T
	for _, r := range all {
		values = append(values, of(r))
	}
	slices.Sort(values)
	n := len(values) - 1
	return fmt.Sprintf("%s (%s to %s)", text(values[n/2]), text(values[0]), text(values[n]))
}

func newBench(tb lab.TB, c event, s system) *bench {
	b := &bench{TB: tb, Lab: lab.New(tb), system: s, advert: c.advert}
	var err error
	// In memory: an fsync of the guest's is one of the machine below, for which the
	// guest's only processor waits with all that is on it.
	if b.state, err = os.MkdirTemp("/run", "failover"); err != nil {
		tb.Fatalf("%v", err)
	}
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
func (b *bench) round(c event, trace bool) result {
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
	talks := b.gather()
	heard := b.client.Capture("eth0", func(f lab.Frame) bool {
		_, advert := f.VRRP()
		a, arp := f.ARP()
		return advert || arp && a.SenderIP.String() == vip
	})
	outage := lab.StartOutage(b.client, service, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(100, 20*time.Second)
	talks = slices.DeleteFunc(talks, func(t talk) bool { return t.Err() != nil })
	began := time.Now()
	if c.do != nil {
		c.do(b)
	} else {
		b.system.handover(b, 0)
	}
	b.WaitUntil(60*time.Second, "the successor", func() bool { return b.lb[c.to].Holds(vip) })
	// Until the last that a leaving director does is over.
	time.Sleep(max(4*b.advert, 2*time.Second))
	for until, n := time.Now().Add(20*time.Second), outage.Successes(); outage.Successes() < n+50 && time.Now().Before(until); {
		time.Sleep(50 * time.Millisecond) // an address that nobody finds again is a result, too
	}
	report := outage.Stop()
	w := wire(heard.Stop(), b.lb[1-c.to].MAC("eth0").String(), b.lb[c.to].MAC("eth0").String(), began)
	// A process that starts makes the lab's kernel stand still, and takes nothing away
	// before the old master has resigned or heard the new one.
	if c.to == 0 || c.do == nil {
		began = w.first.Add(-b.advert)
	}
	from, gap := report.Gap(began, w.known.Add(4*b.advert))
	failed := report.FailedBetween(began, time.Now())
	if trace {
		after := func(at time.Time) string { return fmt.Sprintf("%.1f", at.Sub(began).Seconds()*1000) }
		fmt.Printf("  %s, ms: the last advert before %s, the successor's first %s, announced %s; no connect from %s to %s\n",
			b.system.name, after(w.last), after(w.first), after(w.known), after(from), after(from.Add(gap)))
		for _, at := range failed {
			fmt.Printf("    a connect begun at %s failed\n", after(at))
		}
	}
	r := result{outage: gap, failed: len(failed)}
	moved := began
	if c.to == 1 && strings.HasPrefix(c.name, "cut") {
		moved = w.known
	}
	for _, t := range talks {
		lost := 0
		if t.Say(10*time.Second) != nil {
			lost = 1
		}
		if moved.Sub(t.born) >= young {
			r.old, r.lostOld = r.old+1, r.lostOld+lost
		} else {
			r.young, r.lostNew = r.young+1, r.lostNew+lost
		}
		t.Close()
	}
	return r
}

// young is the age up to which the kernels need not have told of a connection.
const young = 3 * time.Second

// A talk is an established connection.
type talk struct {
	*lab.Conversation
	born time.Time
}

// gather opens connections of all ages up to six seconds.
func (b *bench) gather() (talks []talk) {
	for range 60 {
		next := time.Now().Add(2 * young / 60)
		// One that fails now is not what is measured: with adverts of 10 ms a kernel
		// that stands still for a moment makes a master more.
		if c, err := lab.TryConverse(b.client, service, 5*time.Second); err == nil {
			c.Keep(time.Second, 10*time.Second)
			talks = append(talks, talk{c, time.Now()})
		}
		time.Sleep(time.Until(next))
	}
	return talks
}

// A takeover is what was on the wire.
type takeover struct {
	last  time.Time // the old master's last advert before its successor's first
	first time.Time
	known time.Time // the successor's first announcement of the address
}

// wire finds the takeover, after an event, of two stations.
func wire(frames []lab.Frame, before, after string, event time.Time) (w takeover) {
	for _, f := range frames {
		_, advert := f.VRRP()
		switch {
		case advert && f.Src.String() == before && w.first.IsZero():
			w.last = f.At
		case f.At.Before(event) || f.Src.String() != after:
		case advert && w.first.IsZero():
			w.first = f.At
		case !advert && w.known.IsZero():
			w.known = f.At
		}
	}
	if w.known.IsZero() {
		w.known = w.first
	}
	return w
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
[ipvs]
sync = { interface = "eth0", id = 51, vrrp = "web" }
[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
advert_interval = "%[3]v"
addresses = [%[4]q]
sync_hold = "0s"
[[virtual_service]]
name = "web"
address = %[5]q
scheduler = "rr"
check = { type = "connect", interval = "1s", timeout = "900ms" }
real_servers = [{ address = "%[6]s:80" }, { address = "%[7]s:80" }]
`, b.Path(name+".sock"), filepath.Join(b.state, name), b.advert, vip, service, b.real[0].Addr(), b.real[1].Addr()))
		return b.lb[i].Start(binary, "run", "--director", name, "-c", file)
	}, handover: func(b *bench, i int) {
		b.lb[i].MustRun(binary, "handover", "--force", "--director", b.lb[i].Name, "-c", b.Path(b.lb[i].Name+".toml"), "--socket", b.Path(b.lb[i].Name+".sock"))
	}}
}

var keepalivedPair = system{name: "keepalived", ready: (*bench).inTable, start: func(b *bench, i int) *lab.Process {
	name := b.lb[i].Name
	file := b.WriteFile(name+".conf", fmt.Sprintf(`
global_defs {
  router_id %[1]s
  lvs_sync_daemon eth0 web id 51
}
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
