// Command ipvs measures the reconciler on a real IPVS: the time in which lvsd fills a
// large table, reloads one changed weight and compares a table without a difference, and
// the memory, together with ipvsadm -R and keepalived in the same boot.
//
// Compare ratios within one boot; times of different boots or machines differ too much.
//
// It needs a kernel with ip_vs; `make bench-ipvs` finds or boots one.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/bench/measure"
	"lvsd/integration/lab"
	"lvsd/ipvs"
	"lvsd/ipvs/ipvsadm"
	"lvsd/ipvs/netlink"
)

func main() {
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to measure")
	small := flag.Bool("small", false, "only the small table")
	middle := flag.Bool("middle", false, "only the middle table")
	large := flag.Bool("large", false, "only the large table")
	start := flag.Int("start", 0, "only the times from start to a full table, this many rounds; with -small up to 2,000 servers")
	rest := flag.Bool("rest", false, "only what both cost while nothing happens")
	flag.Parse()
	measure.Main(*lvsd, func(ctx context.Context, tb lab.TB, binary string) {
		b := &bench{TB: tb, ctx: ctx, binary: binary, lab: lab.New(tb)}
		b.say("%s", measure.Machine())
		if *start > 0 {
			sizes := []size{{services: 13, servers: 250}, {services: 100, servers: 2000}, {services: 500, servers: 10_000}}
			if *small {
				sizes = sizes[:2]
			}
			b.starts(*start, sizes...)
			return
		}
		if *rest {
			b.rest()
			return
		}
		all := !*small && !*middle && !*large
		if all || *small {
			b.measure(size{services: 100, servers: 2000, reloads: 3, keepalived: 3})
		}
		if all || *middle {
			b.measure(size{services: 500, servers: 10_000, reloads: 3, keepalived: 1})
		}
		if all || *large {
			b.measure(size{services: 2277, servers: 37_205, reloads: 3})
		}
		b.summary()
	})
}

type bench struct {
	lab.TB
	ctx    context.Context
	binary string
	lab    *lab.Lab
	table  []row
}

// row is the results of a table, for the summary.
type row struct {
	servers                     int
	restore, fill, first, later time.Duration // later: the fastest after the first
	keepalived                  time.Duration // its fastest
	rss                         string
}

// summary prints the results of all tables.
func (b *bench) summary() {
	b.say("\nservers   ipvsadm -R   filled   one weight: first, then   each 1,000 servers   keepalived   resident")
	for _, r := range b.table {
		b.say("%7d   %10v   %6v   %17v, %4v   %18v   %10v   %s", r.servers, r.restore, r.fill, r.first, r.later,
			(r.later * 1000 / time.Duration(r.servers)).Round(100*time.Microsecond), r.keepalived, r.rss)
	}
}

// size is the size of a table, and the number of its reloads with one changed weight.
type size struct {
	services, servers   int
	reloads, keepalived int
}

func (b *bench) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// each calls the functions for every service and server, which are spread evenly.
func (s size) each(service func(i int), server func(i, j int)) {
	per, more := s.servers/s.services, s.servers%s.services
	for i := range s.services {
		service(i)
		n := per
		if i < more {
			n++
		}
		for j := range n {
			server(i, j)
		}
	}
}

func virtual(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), 80)
}

func real(i, j int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 128 + byte(i>>8), byte(i), byte(j + 1)}), 80)
}

// table returns the table; changed is the weight of one server in the middle.
func (s size) table(changed int) ipvs.Table {
	t := ipvs.Table{}
	s.each(func(i int) {
		k := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: virtual(i)}
		t[k] = ipvs.Service{Key: k, Scheduler: "wlc", Destinations: map[netip.AddrPort]ipvs.Destination{}}
	}, func(i, j int) {
		k := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: virtual(i)}
		t[k].Destinations[real(i, j)] = ipvs.Destination{Address: real(i, j), Forward: ipvs.DirectRoute, Weight: s.weight(i, j, changed)}
	})
	return t
}

func (s size) weight(i, j, changed int) int {
	if i == s.services/2 && j == 0 {
		return changed
	}
	return 1
}

func (s size) target() (ipvs.ServiceKey, netip.AddrPort) {
	return ipvs.ServiceKey{Protocol: ipvs.TCP, Address: virtual(s.services / 2)}, real(s.services/2, 0)
}

// config returns the configuration of lvsd.
func (s size) config(dir string, changed int) string {
	var t strings.Builder
	fmt.Fprintf(&t, "[global]\ncontrol_socket = \"%s/lvsd.sock\"\nstate_dir = \"%s/state\"\nhttp_listen = \"\"\n", dir, dir)
	s.each(func(i int) {
		if i > 0 {
			t.WriteString("]\n")
		}
		fmt.Fprintf(&t, "[[virtual_service]]\nname = \"s%d\"\naddress = %q\nscheduler = \"wlc\"\ncheck = { type = \"on\" }\nreal_servers = [\n", i, virtual(i))
	}, func(i, j int) {
		fmt.Fprintf(&t, "  { address = %q, weight = %d },\n", real(i, j), s.weight(i, j, changed))
	})
	t.WriteString("]\n")
	return t.String()
}

// keepalivedConfig returns the same configuration for keepalived.
func (s size) keepalivedConfig(changed int) string {
	var t strings.Builder
	s.each(func(i int) {
		if i > 0 {
			t.WriteString("}\n")
		}
		v := virtual(i)
		fmt.Fprintf(&t, "virtual_server %s %d {\n lb_algo wlc\n lb_kind DR\n protocol TCP\n", v.Addr(), v.Port())
	}, func(i, j int) {
		r := real(i, j)
		fmt.Fprintf(&t, " real_server %s %d {\n  weight %d\n }\n", r.Addr(), r.Port(), s.weight(i, j, changed))
	})
	t.WriteString("}\n")
	return t.String()
}

// director returns a new host, so that each measurement has an empty table.
func (b *bench) director(name string) *lab.Host {
	lan := b.lab.LAN("lan-"+name, "10.77.0.0/24")
	h := b.lab.Host(name, lan, "10.77.0.11/24")
	h.DefaultRoute("10.77.0.1")
	return h
}

func (b *bench) must(err error, what string) {
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

func (b *bench) measure(s size) {
	name := fmt.Sprint(s.servers)
	b.table = append(b.table, row{servers: s.servers})
	b.say("\n%d real servers in %d services", s.servers, s.services)
	b.restore(b.director("adm"+name), s)
	b.library(b.director("lib"+name), s)
	debug.FreeOSMemory() // the guest has little memory
	b.daemon(b.director("lvsd"+name), s)
	if s.keepalived > 0 {
		b.peer(b.director("ka"+name), s)
	}
}

// restore measures ipvsadm -R with the same table.
func (b *bench) restore(h *lab.Host, s size) {
	file := b.lab.WriteFile(h.Name+".ipvsadm", ipvsadm.Format(s.table(1)))
	for range 2 { // the first loads the program into the page cache
		h.MustRun("ipvsadm", "-C")
		start := time.Now()
		if out, err := h.Run(b.ctx, "sh", "-c", "ipvsadm -R < "+file); err != nil {
			b.Fatalf("ipvsadm -R: %v\n%s", err, out)
		}
		b.now().restore = since(start)
		b.say("  ipvsadm -R: %v", b.now().restore)
	}
	h.MustRun("ipvsadm", "-C")
}

// library measures the reconciler without the daemon.
func (b *bench) library(h *lab.Host, s size) {
	b.must(h.Do(func() error {
		k, err := netlink.Open()
		if err != nil {
			return err
		}
		defer k.Close()
		table := s.table(1)
		start := time.Now()
		ops, _ := ipvs.Diff(ipvs.Table{}, table, ipvs.Owned{}, ipvs.Alarm)
		diff := time.Since(start)
		for _, op := range ops {
			if err := k.Apply(op); err != nil {
				return err
			}
		}
		b.now().fill = since(start)
		b.say("  reconciler, fill: %v (of it the difference %v)", b.now().fill, diff.Round(time.Millisecond))
		start = time.Now()
		reading, err := k.Read()
		if err != nil {
			return err
		}
		read := time.Since(start)
		ops, _ = ipvs.Diff(reading.Table, table, ipvs.Owned{}, ipvs.Alarm)
		b.say("  reconciler, nothing to do: %v (of it the dump %v)", time.Since(start).Round(time.Millisecond), read.Round(time.Millisecond))
		if len(ops) != 0 {
			return fmt.Errorf("%d writes for nothing", len(ops))
		}
		return nil
	}), "the reconciler")
	h.MustRun("ipvsadm", "-C")
}

// weight returns the weight of a server in the kernel, -1 if it is not there. It reads
// one service only: reading the whole table would take longer than what is measured.
func (b *bench) weight(h *lab.Host, k ipvs.ServiceKey, r netip.AddrPort) int {
	weight := -1
	text, _ := h.Run(b.ctx, "ipvsadm", "-L", "-n", "-t", k.Address.String())
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == r.String() {
			fmt.Sscan(fields[3], &weight)
		}
	}
	return weight
}

// full reports whether the last server that a director writes is in the table.
func (b *bench) full(h *lab.Host, s size) bool {
	k := ipvs.ServiceKey{Protocol: ipvs.TCP, Address: virtual(s.services - 1)}
	return b.weight(h, k, real(s.services-1, s.servers/s.services-1)) == 1
}

// at reports whether the changed server has this weight.
func (b *bench) at(h *lab.Host, s size, weight int) bool {
	k, r := s.target()
	return b.weight(h, k, r) == weight
}

func (b *bench) wait(what string, every time.Duration, done func() bool) {
	for deadline := time.Now().Add(5 * time.Minute); !done(); time.Sleep(every) {
		if time.Now().After(deadline) || b.ctx.Err() != nil {
			b.Fatalf("not within 5 minutes: %s", what)
		}
	}
}

// daemon measures lvsd run.
func (b *bench) daemon(h *lab.Host, s size) {
	dir := b.lab.Path(h.Name)
	b.must(os.MkdirAll(dir, 0o700), "make a folder")
	file := b.lab.WriteFile(h.Name+".toml", s.config(dir, 1))
	start := time.Now()
	h.MustRun(b.binary, "check", "-c", file)
	b.say("  lvsd check: %v", time.Since(start).Round(time.Millisecond))
	start = time.Now()
	p := h.Start(b.binary, "run", "-c", file)
	b.wait("lvsd to fill the table", 200*time.Millisecond, func() bool {
		if !p.Running() {
			b.Fatalf("lvsd ended: %s", p.Output())
		}
		return b.full(h, s)
	})
	b.say("  lvsd run, from its start until all serve: %v", time.Since(start).Round(time.Millisecond))
	time.Sleep(3 * time.Second) // the comparison after the fill is over
	b.say("  lvsd wrote %d log lines so far", strings.Count(p.Output(), "\n"))
	b.say("  lvsd, memory: %s", measure.Memory(p.Pid()))
	used := measure.CPUTime(p.Pid())
	for i := range s.reloads {
		b.lab.WriteFile(h.Name+".toml", s.config(dir, 15+i))
		faults := measure.PageFaults(p.Pid())
		start = time.Now()
		b.must(p.Signal(syscall.SIGHUP), "signal lvsd")
		b.wait("lvsd to reload", 10*time.Millisecond, func() bool { return b.at(h, s, 15+i) })
		took := since(start)
		b.say("  lvsd, one weight, from SIGHUP to the kernel: %v (%d pages of memory new to it)", took, measure.PageFaults(p.Pid())-faults)
		if r := b.now(); i == 0 {
			r.first = took
		} else if r.later == 0 || took < r.later {
			r.later = took
		}
		time.Sleep(3 * time.Second)
	}
	b.say("  lvsd, these %d reloads and the 3 s after each: %v of cpu", s.reloads, measure.CPUTime(p.Pid())-used)
	for i := range s.reloads {
		b.lab.WriteFile(h.Name+".toml", s.config(dir, 5+i))
		start = time.Now()
		out, err := h.Run(b.ctx, b.binary, "reload", "-c", file, "--socket", dir+"/lvsd.sock")
		took := time.Since(start)
		if err != nil {
			kernel, _ := exec.Command("sh", "-c", "dmesg | tail -3").CombinedOutput()
			b.Fatalf("reload: %v\n%s\nlvsd running: %v, its output:\n%s\nkernel log:\n%s", err, out, p.Running(), p.Tail(5), kernel)
		}
		if !b.at(h, s, 5+i) {
			b.Fatalf("after a reload the weight is not there")
		}
		b.say("  lvsd reload, one weight, as the command sees it: %v", took.Round(time.Millisecond))
		time.Sleep(2 * time.Second)
	}
	b.say("  lvsd, memory after the reloads: %s", measure.Memory(p.Pid()))
	before := measure.CPUTime(p.Pid())
	time.Sleep(20 * time.Second)
	b.say("  lvsd, 20 s with nothing to do: %v of cpu (a comparison each 10 s)", measure.CPUTime(p.Pid())-before)
	b.now().rss = measure.Memory(p.Pid())
	b.say("  lvsd, memory after these: %s", b.now().rss)
	p.Terminate()
	<-p.Done()
	h.MustRun("ipvsadm", "-C")
}

// peer measures keepalived.
func (b *bench) peer(h *lab.Host, s size) {
	file := b.lab.WriteFile(h.Name+".conf", s.keepalivedConfig(1))
	start := time.Now()
	p := h.Start("keepalived", "-n", "-l", "-C", "-f", file, "-p", b.lab.Path("ka.pid"), "-c", b.lab.Path("kac.pid"))
	b.wait("keepalived to fill the table", 200*time.Millisecond, func() bool {
		return b.full(h, s)
	})
	b.say("  %s", measure.Keepalived())
	b.say("  keepalived, from its start until all serve: %v", time.Since(start).Round(time.Millisecond))
	time.Sleep(3 * time.Second)
	checker := 0
	if pid, err := os.ReadFile(b.lab.Path("kac.pid")); err == nil {
		fmt.Sscan(string(pid), &checker)
	}
	used := measure.CPUTime(p.Pid()) + measure.CPUTime(checker)
	for i := range s.keepalived {
		b.lab.WriteFile(h.Name+".conf", s.keepalivedConfig(5+i))
		start = time.Now()
		b.must(p.Signal(syscall.SIGHUP), "signal keepalived")
		b.wait("keepalived to reload", 10*time.Millisecond, func() bool { return b.at(h, s, 5+i) })
		took := since(start)
		b.say("  keepalived, one weight, from SIGHUP to the kernel: %v", took)
		if r := b.now(); r.keepalived == 0 || took < r.keepalived {
			r.keepalived = took
		}
		time.Sleep(3 * time.Second)
	}
	b.say("  keepalived, these %d reloads and the 3 s after each: %v of cpu", s.keepalived, measure.CPUTime(p.Pid())+measure.CPUTime(checker)-used)
	b.say("  keepalived's checker, memory: %s", measure.Memory(checker))
	p.Kill()
	<-p.Done()
}

// now returns the row of the current table.
func (b *bench) now() *row { return &b.table[len(b.table)-1] }

func since(start time.Time) time.Duration { return time.Since(start).Round(time.Millisecond) }
