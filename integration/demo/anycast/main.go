// Command anycast demonstrates three directors that serve one address at once, behind a
// router, with BIRD: it builds the set-up of docs/guides/anycast.md, opens connections, lets
// one director after another leave, and counts what breaks. A step with another effect than
// expected ends the demo with exit code 1.
//
// It needs a kernel with ip_vs, and BIRD; `make demo-anycast` finds or boots the one and
// installs the other. It runs in the folder of the repository.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/lab"
)

const (
	page    = "docs/guides/anycast.md"
	vip     = "192.0.2.80"
	clients = 60
	patient = 60 * time.Second
)

func main() {
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to demonstrate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	binary, err := filepath.Abs(*lvsd)
	if err == nil {
		_, err = exec.LookPath("bird")
	}
	if err == nil {
		err = lab.Run(ctx, "anycast", func(string, ...any) {}, func(ctx context.Context, tb lab.TB) {
			d := &demo{TB: tb, ctx: ctx, binary: binary}
			d.build()
			d.start()
			d.leave()
			d.fail()
		})
	}
	if err != nil {
		fmt.Printf("\nFAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("\nThe demo has finished: every step had the expected effect.")
}

// demo is the hosts and the configuration.
type demo struct {
	lab.TB
	ctx     context.Context
	binary  string
	lab     *lab.Lab
	client  *lab.Host
	router  *lab.Host
	lb      []*lab.Host
	running map[string]*lab.Process
	servers []*lab.Server
	blocks  map[string]string // of the guide
	file    string
	steps   int
}

func (d *demo) step(format string, args ...any) {
	d.steps++
	fmt.Printf("\n%d. %s\n", d.steps, fmt.Sprintf(format, args...))
}

func (d *demo) say(format string, args ...any) { fmt.Printf("   %s\n", fmt.Sprintf(format, args...)) }

// quote prints the output of a command.
func (d *demo) quote(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Printf("   | %s\n", strings.TrimRight(line, "\n"))
	}
}

func (d *demo) until(limit time.Duration, what string, cond func() bool) time.Duration {
	took, ok := lab.Poll(limit, cond)
	if !ok {
		d.Fatalf("not within %v: %s", limit, what)
	}
	return took.Round(10 * time.Millisecond)
}

// guide reads the blocks of the guide.
func (d *demo) guide() {
	text, err := os.ReadFile(page)
	if err != nil {
		d.Fatalf("%v", err)
	}
	d.blocks = map[string]string{}
	parts := strings.Split(string(text), "\n```")
	for i := 1; i < len(parts)-1; i += 2 {
		kind, body, _ := strings.Cut(parts[i], "\n")
		d.blocks[kind] = body + "\n"
	}
}

func (d *demo) build() {
	d.guide()
	d.step("Building the hosts: a client, a router, three directors, two real servers")
	d.lab, d.running = lab.New(d), map[string]*lab.Process{}
	outside, inside := d.lab.LAN("outside", "198.51.100.0/24"), d.lab.LAN("inside", "10.0.0.0/24")
	d.client = d.lab.Host("client", outside, "198.51.100.2/24")
	d.client.DefaultRoute("198.51.100.1")
	d.router = d.lab.Host("router", inside, "10.0.0.1/24")
	d.router.Plug(outside, "198.51.100.1/24")
	for _, s := range [][2]string{{"net.ipv4.ip_forward", "1"}, {"net.ipv4.conf.all.rp_filter", "0"}, {"net.ipv4.fib_multipath_hash_policy", "1"}} {
		d.router.SetSysctl(s[0], s[1])
	}
	for i := range 2 {
		r := d.lab.Host(fmt.Sprint("rs", i+1), inside, fmt.Sprintf("10.0.0.%d/24", 21+i))
		r.PrepareDR(vip)
		r.DefaultRoute("10.0.0.1")
		d.servers = append(d.servers, lab.ServeLines(r, ":80", r.Name))
	}
	for i := range 3 {
		h := d.lab.Host(fmt.Sprint("lb", i+1), inside, fmt.Sprintf("10.0.0.%d/24", 12+i))
		h.DefaultRoute("10.0.0.1")
		for _, name := range []string{"net.ipv4.conf.all.arp_ignore", "net.ipv4.vs.sloppy_tcp", "net.ipv4.vs.schedule_icmp"} {
			h.SetSysctl(name, "1")
		}
		d.lb = append(d.lb, h)
	}
	d.say("client 198.51.100.2 · router 10.0.0.1 · lb1..3 10.0.0.12..14 · rs1..2 10.0.0.21..22 · VIP %s", vip)
	each := func(suffix string) string {
		var parts []string
		for _, h := range d.lb {
			parts = append(parts, fmt.Sprintf("%s = %q", h.Name, d.lab.Path(h.Name+suffix)))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	key := d.lab.WriteFile("pair.key", "1 0123456789abcdef0123456789abcdef\n")
	if err := os.Chmod(key, 0o600); err != nil {
		d.Fatalf("%v", err)
	}
	d.file = d.lab.WriteFile("lvsd.toml", strings.Replace(d.blocks["toml"], "/etc/lvsd/pair.key", key, 1)+
		"\n[global]\ncontrol_socket = "+each(".sock")+"\nstate_dir = "+each(".state")+"\n")
	d.step("One configuration file for all directors, from %s", page)
	d.quote(d.blocks["toml"])
}

// bird starts BIRD on a host.
func (d *demo) bird(h *lab.Host, text string) {
	file := d.lab.WriteFile(h.Name+".bird.conf", text)
	h.Start("bird", "-f", "-c", file, "-s", d.lab.Path(h.Name+".bird.ctl"), "-P", d.lab.Path(h.Name+".bird.pid"))
}

func (d *demo) start() {
	d.step("Starting BIRD on the router and on the directors, and lvsd on the directors")
	d.bird(d.router, d.blocks["bird router"])
	for _, h := range d.lb {
		d.bird(h, strings.ReplaceAll(d.blocks["bird director"], "10.0.0.12", h.Addr().String()))
		d.run(h)
	}
	d.say("the router uses three directors after %v", d.until(patient, "three directors at the router", func() bool { return d.hops() == 3 }))
	d.quote(d.router.MustRun("ip", "route", "show", vip))
	d.quote(d.lb[0].MustRun("ip", "route", "show", "table", "112"))
}

// run starts lvsd on a director.
func (d *demo) run(h *lab.Host) {
	p := h.Start(d.binary, "run", "-c", d.file, "--director", h.Name)
	d.running[h.Name] = p
	d.Cleanup(func() {
		if d.Failed() {
			fmt.Printf("\nlast output of %s:\n%s\n", h.Name, p.Tail(20))
		}
	})
}

// command runs a command of lvsd on a director and prints it with its output.
func (d *demo) command(h *lab.Host, args ...string) {
	fmt.Printf("   %s# lvsd %s\n", h.Name, strings.Join(args, " "))
	ctx, cancel := context.WithTimeout(d.ctx, patient)
	defer cancel()
	out, err := h.Run(ctx, append(append([]string{d.binary}, args...), "-c", d.file, "--director", h.Name)...)
	d.quote(out)
	if err != nil && args[0] != "status" {
		d.Fatalf("lvsd %s on %s: %v", args[0], h.Name, err)
	}
}

// hops counts the directors that the router uses.
func (d *demo) hops() int {
	return strings.Count(d.router.MustRun("ip", "route", "show", vip), "via 10.0.0.")
}

// conversations opens connections, and broken sends something on each.
func (d *demo) conversations() []*lab.Conversation {
	var all []*lab.Conversation
	for len(all) < clients {
		c, err := lab.TryConverse(d.client, vip+":80", patient)
		if err != nil {
			d.Fatalf("connection %d: %v", len(all)+1, err)
		}
		all = append(all, c)
	}
	return all
}

func (d *demo) broken(all []*lab.Conversation) (n int) {
	for _, c := range all {
		if c.Say(patient) != nil {
			n++
		}
	}
	return n
}

// unbroken requires that all connections continue.
func (d *demo) unbroken(all []*lab.Conversation) {
	if n := d.broken(all); n > 0 {
		d.Fatalf("%d of %d connections broke", n, len(all))
	}
	d.say("0 of %d connections broke", len(all))
}

func (d *demo) leave() {
	d.step("%d clients connect; then lb3 is taken out for maintenance", clients)
	all := d.conversations()
	d.command(d.lb[2], "handover")
	d.say("the router follows after %v", d.until(patient, "two directors at the router", func() bool { return d.hops() == 2 }))
	d.unbroken(all)
	d.command(d.lb[2], "handover", "--end")
	d.until(patient, "three directors at the router", func() bool { return d.hops() == 3 })
	d.unbroken(all)

	d.step("lb2 dies: its cable is cut, without a word to the router")
	d.lb[1].CutCable()
	d.say("BFD tells the router after %v", d.until(patient, "two directors at the router", func() bool { return d.hops() == 2 }))
	d.unbroken(all)
	d.command(d.lb[0], "status")
	d.lb[1].PlugCable()
	d.until(patient, "three directors at the router", func() bool { return d.hops() == 3 })
	d.unbroken(all)
	for _, c := range all {
		c.Close()
	}
}

func (d *demo) fail() {
	d.step("lb1 alone loses its real servers: it withdraws")
	for _, s := range []string{"10.0.0.21", "10.0.0.22"} {
		d.lb[0].MustRun("ip", "route", "add", "prohibit", s, "metric", "1")
	}
	d.say("withdrawn after %v", d.until(patient, "two directors at the router", func() bool { return d.hops() == 2 }))
	for _, s := range []string{"10.0.0.21", "10.0.0.22"} {
		d.lb[0].MustRun("ip", "route", "del", "prohibit", s, "metric", "1")
	}
	d.until(patient, "three directors at the router", func() bool { return d.hops() == 3 })

	d.step("All real servers refuse connections: no director withdraws because of another")
	for _, s := range d.servers {
		s.Refuse()
	}
	d.until(patient, "metric 4000 on all directors", func() bool {
		for _, h := range d.lb {
			if !strings.Contains(h.MustRun("ip", "route", "show", "table", "112"), "metric 4000") {
				return false
			}
		}
		return true
	})
	d.command(d.lb[0], "status")
	for _, s := range d.servers {
		s.Start()
	}
	d.until(patient, "three directors that serve", func() bool {
		for _, h := range d.lb {
			if !strings.Contains(h.MustRun("ip", "route", "show", "table", "112"), "metric 100") {
				return false
			}
		}
		return d.hops() == 3
	})
	d.unbroken(d.conversations())
}
