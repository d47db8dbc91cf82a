// Command demo demonstrates a pair of directors: it builds a LAN with a client, two
// directors and three web servers, runs lvsd on both directors, causes one fault after
// another and prints the effects. A step with another effect than expected ends the demo
// with exit code 1.
//
// It needs a kernel with ip_vs; `make demo` finds or boots one.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/lab"
)

const (
	vip    = "10.77.0.100"
	advert = time.Second
)

func main() {
	keep := flag.Bool("keep", false, "keep everything running, with a shell")
	lvsd := flag.String("lvsd", "bin/lvsd", "the lvsd to demonstrate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	binary, err := filepath.Abs(*lvsd)
	if err == nil {
		err = lab.Run(ctx, "demo", func(string, ...any) {}, func(ctx context.Context, tb lab.TB) {
			d := &demo{TB: tb, ctx: ctx, binary: binary}
			d.build()
			d.show()
			if *keep {
				d.shell()
			}
		})
	}
	if err != nil {
		fmt.Printf("\nFAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("\nThe demo has finished: every step had the expected effect.")
}

// demo is the hosts, the servers, and the configuration of both directors.
type demo struct {
	lab.TB
	ctx     context.Context
	binary  string
	lab     *lab.Lab
	client  *lab.Host
	lb      []*lab.Host
	servers []*lab.NginxServer
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

func (d *demo) build() {
	d.step("Building the hosts: a client, two directors, three web servers, one switch")
	d.lab = lab.New(d)
	lan := d.lab.LAN("lan", "10.77.0.0/24")
	d.client = d.lab.Host("client", lan, "10.77.0.2/24")
	for i, name := range []string{"lb1", "lb2"} {
		h := d.lab.Host(name, lan, fmt.Sprintf("10.77.0.%d/24", 11+i))
		h.PrepareDirector()
		d.lb = append(d.lb, h)
	}
	for i := range 3 {
		h := d.lab.Host(fmt.Sprint("web", i+1), lan, fmt.Sprintf("10.77.0.%d/24", 21+i))
		h.PrepareDR(vip)
		d.servers = append(d.servers, lab.Nginx(h, "80", h.Name))
	}
	d.say("client 10.77.0.2 · lb1 10.77.0.11 · lb2 10.77.0.12 · web1..3 10.77.0.21..23 (nginx) · virtual IP %s", vip)
	d.write(1, 1, 1)
	d.step("One configuration file for both directors")
	text, err := os.ReadFile(d.file)
	if err != nil {
		d.Fatalf("%v", err)
	}
	d.quote(string(text))
	d.run(d.lb[0], "check")
}

// write writes the configuration with these weights.
func (d *demo) write(weights ...int) {
	var servers strings.Builder
	for i, w := range weights {
		fmt.Fprintf(&servers, "  { address = %q, weight = %d },\n", d.servers[i].Addr(), w)
	}
	d.file = d.lab.WriteFile("lvsd.toml", fmt.Sprintf(`[[director]]
name = "lb1"
address = "10.77.0.11"
[[director]]
name = "lb2"
address = "10.77.0.12"

[global]
control_socket = { lb1 = "%[1]s/lb1.sock", lb2 = "%[1]s/lb2.sock" }
state_dir = { lb1 = "%[1]s/lb1", lb2 = "%[1]s/lb2" }

[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
advert_interval = "%[2]s"
addresses = [%[3]q]

[[virtual_service]]
name = "web"
address = "%[3]s:80"
scheduler = "rr"
forward = "dr"
check = { type = "http", path = "/healthz", interval = "500ms", timeout = "400ms", rise = 2, fall = 3 }
real_servers = [
%[4]s]
`, d.lab.Dir(), advert, vip, servers.String()))
}

// run runs a command of lvsd on a director and prints it with its output.
func (d *demo) run(on *lab.Host, command string) string {
	args := []string{d.binary, command, "-c", d.file, "--director", on.Name}
	fmt.Printf("   %s# lvsd %s\n", on.Name, command)
	ctx, cancel := context.WithTimeout(d.ctx, 30*time.Second)
	defer cancel()
	out, err := on.Run(ctx, args...)
	d.quote(out)
	// The exit code of a status with a problem is 1; the demo causes problems.
	if err != nil && command != "status" {
		d.Fatalf("lvsd %s on %s: %v", command, on.Name, err)
	}
	return out
}

func (d *demo) show() {
	d.election()
	d.spread("Requests through the virtual IP are spread over the servers", "web1", "web2", "web3")
	d.serverDies()
	d.drain()
	d.cableCut()
	d.metrics()
}

func (d *demo) election() {
	d.step("Starting lvsd on both directors: they elect a master, which takes the virtual IP")
	start := time.Now()
	for _, h := range d.lb {
		p := h.Start(d.binary, "run", "-c", d.file, "--director", h.Name)
		d.Cleanup(func() {
			if d.Failed() {
				fmt.Printf("\nlast output of %s:\n%s\n", h.Name, p.Tail(20))
			}
		})
	}
	d.until(15*time.Second, "lb1 to hold the virtual IP", func() bool { return d.holder() == "lb1" })
	d.say("lb1 (priority 200) holds %s after %v; lb2 (priority 100) is backup", vip, round(time.Since(start)))
	d.until(15*time.Second, "all servers to be up", func() bool { return d.answering(3) })
	d.run(d.lb[0], "status")
}

// holder returns the names of the directors with the virtual IP.
func (d *demo) holder() string {
	var names []string
	for _, h := range d.lb {
		if h.Holds(vip) {
			names = append(names, h.Name)
		}
	}
	return strings.Join(names, " and ")
}

// ask makes n requests and counts the responses of each server; failures count as
// "failed".
func (d *demo) ask(n int) map[string]int {
	seen := map[string]int{}
	for range n {
		_, body, err := d.client.Get("http://" + vip + "/")
		if err != nil {
			body = "failed"
		}
		seen[strings.TrimSpace(body)]++
	}
	return seen
}

func (d *demo) answering(n int) bool {
	seen := d.ask(2 * n)
	return seen["failed"] == 0 && len(seen) == n
}

// spread makes 30 requests, which exactly these servers must serve.
func (d *demo) spread(title string, want ...string) {
	d.step("%s", title)
	seen := d.ask(30)
	var names []string
	for name, n := range seen {
		names = append(names, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(names)
	d.say("30 requests: %s", strings.Join(names, ", "))
	for _, name := range want {
		if seen[name] == 0 {
			d.Fatalf("no response from %s: %v", name, seen)
		}
	}
	if len(seen) != len(want) {
		d.Fatalf("responses from %v, want %v", seen, want)
	}
}

func (d *demo) serverDies() {
	d.step("web3 fails: its port refuses connections, the checks notice, its weight becomes 0")
	start := time.Now()
	d.servers[2].Stop()
	d.until(10*time.Second, "weight 0 of web3 in the kernel", func() bool { return d.kernelWeight(2) == "0" })
	d.say("weight 0 in the kernel %v after the server stopped (3 probes, one each 500ms)", round(time.Since(start)))
	d.run(d.lb[0], "status")
	d.spread("Clients are served by the other two", "web1", "web2")

	d.step("web3 recovers: its weight is restored after 2 successful checks")
	start = time.Now()
	d.servers[2].Start()
	d.until(10*time.Second, "weight 1 of web3 in the kernel", func() bool { return d.kernelWeight(2) == "1" })
	d.say("weight 1 in the kernel %v after the server was started", round(time.Since(start)))
}

// kernelWeight returns the weight of a server that ipvsadm shows on lb1, "" if it is not
// there.
func (d *demo) kernelWeight(server int) string {
	for line := range strings.Lines(d.lb[0].MustRun("ipvsadm", "-S", "-n")) {
		if f := strings.Fields(line); len(f) > 0 && slices.Contains(f, d.servers[server].Addr().String()) {
			return f[len(f)-1]
		}
	}
	return ""
}

func (d *demo) drain() {
	d.step("Draining web2: its weight in the file becomes 0, then a reload on each director")
	d.write(1, 0, 1)
	for _, h := range d.lb {
		d.run(h, "reload")
	}
	if w := d.kernelWeight(1); w != "0" {
		d.Fatalf("the weight of web2 is %s, want 0", w)
	}
	d.quote(d.lb[0].MustRun("ipvsadm", "-L", "-n"))
	d.spread("New clients go to the other two; open connections to web2 would continue", "web1", "web3")
	d.write(1, 1, 1)
	for _, h := range d.lb {
		d.run(h, "reload")
	}
}

func (d *demo) cableCut() {
	d.step("The master's cable is cut while a client connects every 5 ms")
	outage := lab.StartOutage(d.client, vip+":80", lab.OutageConfig{})
	outage.WaitSuccesses(100, 10*time.Second)
	d.lb[0].CutCable()
	d.until(15*time.Second, "lb2 to hold the virtual IP", func() bool { return d.lb[1].Holds(vip) })
	outage.WaitSuccesses(100, 10*time.Second)
	report := outage.Stop()
	d.say("lb2 took over; outage of the client: %v (3 advertisement intervals of %v and the skew time: %v)",
		round(report.LongestGap), advert, round(3*advert+advert*156/256))
	d.run(d.lb[1], "status")
	d.spread("The client is served through lb2", "web1", "web2", "web3")
	d.step("The cable is plugged in again: lb1 has the higher priority and takes the virtual IP back")
	d.lb[0].PlugCable()
	d.until(15*time.Second, "lb1 alone to hold the virtual IP", func() bool { return d.holder() == "lb1" })
	d.say("held by %s alone", d.holder())
}

func (d *demo) metrics() {
	d.step("Some metrics of lb1")
	client := d.lb[0].HTTPClient()
	resp, err := client.Get("http://127.0.0.1:8112/metrics")
	if err != nil {
		d.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		d.Fatalf("%v", err)
	}
	shown := 0
	for line := range strings.Lines(text.String()) {
		for _, prefix := range []string{"lvsd_vrrp_state", "lvsd_vrrp_transitions_total", "lvsd_real_server_up", "lvsd_real_server_weight", "lvsd_checks_total", "lvsd_virtual_service_up"} {
			if strings.HasPrefix(line, prefix+"{") {
				d.quote(line)
				shown++
			}
		}
	}
	if shown < 10 {
		d.Fatalf("only %d series", shown)
	}
}

// shell runs a shell for the user.
func (d *demo) shell() {
	var names []string
	for _, h := range d.lab.Hosts() {
		// One command a host: `lb1 ipvsadm -L -n`, `client curl …`.
		path := d.lab.WriteFile("bin/"+h.Name, fmt.Sprintf("#!/bin/sh\nexec ip netns exec %s \"$@\"\n", h.Namespace()))
		if err := os.Chmod(path, 0o755); err != nil {
			d.Fatalf("%v", err)
		}
		names = append(names, h.Name)
	}
	fmt.Printf(`
Everything is still running. Put a host's name before a command to run it there:
   lb1 lvsd status -c %[1]s --director lb1
   client curl -s http://%[2]s/
   lb1 ipvsadm -L -n
Hosts: %[3]s. The configuration is %[1]s. "exit" ends everything.

`, d.file, vip, strings.Join(names, " "))
	// An interrupt is for the shell and must not end the demo.
	shell := exec.Command("/bin/bash", "--norc", "-i")
	shell.Env = append(os.Environ(), "PATH="+d.lab.Path("bin")+":"+filepath.Dir(d.binary)+":"+os.Getenv("PATH"), "PS1=lvsd demo# ")
	shell.Stdin, shell.Stdout, shell.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := shell.Run(); err != nil {
		d.say("the shell ended with %v", err)
	}
}

func (d *demo) until(limit time.Duration, what string, cond func() bool) {
	if _, ok := lab.Poll(limit, cond); !ok {
		d.Fatalf("not within %v: %s", limit, what)
	}
}

func round(t time.Duration) time.Duration { return t.Round(10 * time.Millisecond) }
