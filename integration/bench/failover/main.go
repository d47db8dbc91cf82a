// Command failover measures what a client sees when the address moves: with a pair of
// lvsd, a pair of keepalived, and an lvsd with a keepalived as peer, in one boot, on the
// same LAN, with the same real servers.
//
// The client starts a connect every few milliseconds. The outage is the longest time
// without a successful one that overlaps with the time from the event to four
// advertisement intervals after the address was announced. (A handover and a preemption
// start a process first; their time begins one interval before the new master's first
// advertisement.) Other connections were opened before, one every 100 ms, and send a line
// every second and at the end.
//
// Compare ratios within one boot; times of different boots or machines differ too much.
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
	rounds := flag.Int("rounds", 3, "rounds of each measurement; the median is printed")
	only := flag.String("only", "", "only events whose name contains this")
	directors := flag.String("directors", "", "only the directors with this name")
	trace := flag.Bool("trace", false, "print the times of the advertisements of each round")
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

// event is an event at which the address moves.
type event struct {
	name   string
	advert time.Duration
	// do causes it; nil: the system's handover does.
	do func(b *bench)
	// to is the index of the director that has the address afterwards. At 0 that one is
	// started by the event, and with stays both run and the address does not move.
	to int
}

const stays = -1

var cases = []event{
	// The control: the longest time that the directors at rest keep the client from the only
	// processor.
	{"none, 1 s", time.Second, func(*bench) {}, stays},
	{"none, 100 ms", 100 * time.Millisecond, func(*bench) {}, stays},
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
	// ready reports whether its table is complete.
	ready func(b *bench, i int) bool
	// handover hands the address over; nil: not supported.
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

// result is the result of a round.
type result struct {
	outage         time.Duration
	failed         int // connects
	old, lostOld   int // connections older than syncDelay
	young, lostNew int // other connections
}

func measureEvent(tb lab.TB, c event, s system, rounds int, trace bool) {
	var all []result
	for i := range rounds {
		err := lab.Run(context.Background(), "round", func(string, ...any) {}, func(_ context.Context, tb lab.TB) {
			// The backup waits from the last advert on, so what a client sees of a cut
			// depends on when in the interval it is: for each director at the same times.
			phase := c.advert * time.Duration(2*i+1) / time.Duration(2*rounds)
			all = append(all, newBench(tb, c, s).round(c, phase, trace))
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

// spread returns the median, minimum and maximum of a value over all rounds.
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
	// In memory: an fsync in User-Mode Linux is one of the host, and stops the guest's
	// only processor meanwhile.
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

// kill kills a director and its child processes.
func (b *bench) kill(i int) {
	_ = syscall.Kill(-b.processes[i].Pid(), syscall.SIGKILL)
}

// round starts the directors, causes the event this long after an advert, and returns what
// the client saw.
func (b *bench) round(c event, phase time.Duration, trace bool) result {
	master := 0
	if c.to == 0 {
		master = 1
	}
	b.start(master)
	b.WaitUntil(30*time.Second, "a master", func() bool { return b.lb[master].Holds(vip) && b.system.ready(b, master) })
	if c.to != 0 {
		b.start(1)
		b.WaitUntil(30*time.Second, "a backup", func() bool { return b.system.ready(b, 1) && !b.lb[1].Holds(vip) })
	}
	connections := b.connect()
	adverts := make(chan struct{}, 1)
	capture := b.client.Capture("eth0", func(f lab.Frame) bool {
		_, advert := f.VRRP()
		if advert {
			select {
			case adverts <- struct{}{}:
			default:
			}
		}
		a, arp := f.ARP()
		return advert || arp && a.SenderIP.String() == vip
	})
	outage := lab.StartOutage(b.client, service, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(100, 20*time.Second)
	connections = slices.DeleteFunc(connections, func(t connection) bool { return t.Err() != nil })
	for range 2 { // the first may have waited in the channel
		select {
		case <-adverts:
		case <-time.After(10 * time.Second):
			b.Fatalf("no advert from the master")
		}
	}
	time.Sleep(phase) // measured time: the cut is at this point of the interval
	began := time.Now()
	if c.do != nil {
		c.do(b)
	} else {
		b.system.handover(b, 0)
	}
	after := max(c.to, 0)
	b.WaitUntil(60*time.Second, "the new master", func() bool { return b.lb[after].Holds(vip) })
	// Until the leaving director has ended.
	time.Sleep(max(4*b.advert, 2*time.Second))
	for until, n := time.Now().Add(20*time.Second), outage.Successes(); outage.Successes() < n+50 && time.Now().Before(until); {
		time.Sleep(50 * time.Millisecond) // an address that stays unreachable is a result, too
	}
	report := outage.Stop()
	w := wire(capture.Stop(), b.lb[1-after].MAC("eth0").String(), b.lb[after].MAC("eth0").String(), began)
	// The start of a process stalls a kernel with one processor, but the address does
	// not move before the old master has resigned or received an advertisement.
	if c.to == 0 || c.do == nil {
		began = w.first.Add(-b.advert)
	}
	from, gap := report.Gap(began, w.known.Add(4*b.advert))
	failed := report.FailedBetween(began, time.Now())
	if trace {
		ms := func(at time.Time) string {
			if at.IsZero() {
				return "none"
			}
			return fmt.Sprintf("%.1f", at.Sub(began).Seconds()*1000)
		}
		fmt.Printf("  %s, ms: last advertisement of the old master %s, first of the new one %s, announcement %s; no connect from %s to %s\n",
			b.system.name, ms(w.last), ms(w.first), ms(w.known), ms(from), ms(from.Add(gap)))
		for _, at := range failed {
			fmt.Printf("    a connect begun at %s failed\n", ms(at))
		}
	}
	r := result{outage: gap, failed: len(failed)}
	moved := began
	if c.to == 1 && strings.HasPrefix(c.name, "cut") {
		moved = w.known
	}
	for _, t := range connections {
		lost := 0
		if t.Say(10*time.Second) != nil {
			lost = 1
		}
		if moved.Sub(t.opened) >= syncDelay {
			r.old, r.lostOld = r.old+1, r.lostOld+lost
		} else {
			r.young, r.lostNew = r.young+1, r.lostNew+lost
		}
		t.Close()
	}
	return r
}

// syncDelay is the age up to which the kernel may not have synchronised a connection.
const syncDelay = 3 * time.Second

// connection is an established connection with the time at which it was opened.
type connection struct {
	*lab.Conversation
	opened time.Time
}

// connect opens connections of all ages up to six seconds.
func (b *bench) connect() (all []connection) {
	for range 60 {
		next := time.Now().Add(2 * syncDelay / 60)
		// One that fails is ignored: with an interval of 10 ms a kernel that stalls for a
		// moment causes a second master.
		if c, err := lab.TryConverse(b.client, service, 5*time.Second); err == nil {
			c.Keep(time.Second, 10*time.Second)
			all = append(all, connection{c, time.Now()})
		}
		time.Sleep(time.Until(next))
	}
	return all
}

// takeover is the times of a takeover on the wire.
type takeover struct {
	last  time.Time // the old master's last advertisement before the new one's first
	first time.Time // the new master's first advertisement
	known time.Time // the new master's first announcement of the address
}

// wire finds the takeover after an event in a capture, by the MAC addresses of the old
// and the new master.
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
