// Package integration runs the built lvsd as a black box: on hosts made of
// network namespaces, on a kernel with a real IPVS, against real servers. It
// sees of lvsd what a user sees: files, commands, the HTTP port, the network
// and the kernel's own tools.
package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// The addresses of every pair.
const (
	vip      = "10.77.0.100"
	vipPort  = vip + ":80"
	httpPort = "8112"
)

// binary is the lvsd under test: LVSD_BIN, or what make build leaves.
func binary(tb testing.TB) string {
	path := os.Getenv("LVSD_BIN")
	if path == "" {
		path = "../bin/lvsd"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("there is no lvsd to test (make build makes it): %v", err)
	}
	return path
}

// pair is two directors, a client and real servers on one LAN. A test changes
// the configuration's parts before it starts a director.
type pair struct {
	*lab.Lab
	t      testing.TB
	lan    *lab.LAN
	client *lab.Host
	lb     [2]*director
	real   []*lab.Host

	advert    string // advert_interval
	vrrpExtra string // more lines of [[vrrp]]
	services  string // the [[virtual_service]] tables
	file      string
}

// director is one lvsd on one host.
type director struct {
	*lab.Host
	p       *pair
	process *lab.Process
	socket  string
	http    http.Client
	scraped time.Time // when metric read last
}

// scrapeKept is how long the daemon answers scrapes with the same series, and a
// little more.
const scrapeKept = 1050 * time.Millisecond

// newPair builds the hosts; nothing runs on them yet.
func newPair(t testing.TB, realServers int) *pair {
	t.Helper()
	lab.RequireKernel(t)
	p := &pair{Lab: lab.New(t), t: t, advert: "300ms"}
	p.lan = p.LAN("lan", "10.77.0.0/24")
	p.client = p.Host("client", p.lan, "10.77.0.2/24")
	for i, name := range []string{"lb1", "lb2"} {
		p.lb[i] = p.director(name, fmt.Sprintf("10.77.0.%d/24", 11+i))
		p.lb[i].PrepareDirector()
	}
	for i := range realServers {
		p.real = append(p.real, p.Host(fmt.Sprint("rs", i+1), p.lan, fmt.Sprintf("10.77.0.%d/24", 21+i)))
	}
	return p
}

// director makes the host of one.
func (p *pair) director(name, addr string) *director {
	d := &director{Host: p.Host(name, p.lan, addr), p: p}
	d.socket = p.Path(name + ".sock")
	d.http.Timeout = 30 * time.Second
	d.http.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.socket)
	}}
	return d
}

// config is the whole file, the same for both directors.
func (p *pair) config() string {
	return fmt.Sprintf(`
[[director]]
name = "lb1"
address = "10.77.0.11"
[[director]]
name = "lb2"
address = "10.77.0.12"

[global]
control_socket = { lb1 = %q, lb2 = %q }
state_dir = { lb1 = %q, lb2 = %q }

[ipvs]
resync_interval = "1s"

[[vrrp]]
name = "web"
interface = "eth0"
virtual_router_id = 51
priority = { lb1 = 200, lb2 = 100 }
advert_interval = %q
addresses = [%q]
%s
%s
`, p.lb[0].socket, p.lb[1].socket, p.Path("lb1.state"), p.Path("lb2.state"), p.advert, vip, p.vrrpExtra, p.services)
}

// write writes the file as the test has it now.
func (p *pair) write() { p.file = p.WriteFile("lvsd.toml", p.config()) }

// web is a service of the pair's real servers by direct routing.
func (p *pair) web(check string, weights ...int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = \"web\"\naddress = %q\nscheduler = \"rr\"\ncheck = %s\nreal_servers = [\n", vipPort, check)
	for i, w := range weights {
		fmt.Fprintf(&b, "  { address = \"%s:80\", weight = %d },\n", p.real[i].Addr(), w)
	}
	b.WriteString("]\n")
	return b.String()
}

// quick is a check that notices a refusing server within 300 ms. Its timeout is
// long: a busy machine that stands still for a moment is not what is tested.
const quick = `{ type = "connect", interval = "100ms", timeout = "2s", rise = 1, fall = 3 }`

// prepareDR makes every real server ready for direct routing.
func (p *pair) prepareDR() {
	for _, r := range p.real {
		r.PrepareDR(vip)
	}
}

// start runs the daemon.
func (d *director) start() {
	d.p.t.Helper()
	if d.p.file == "" {
		d.p.write()
	}
	d.process = d.Start(binary(d.p.t), "run", "-c", d.p.file, "--director", d.Name)
	d.p.t.Cleanup(func() {
		if d.p.t.Failed() {
			d.p.t.Logf("%s said:\n%s", d.Name, d.process.Tail(40))
		}
	})
	d.p.WaitUntil(30*time.Second, d.Name+" to answer", func() bool {
		_, err := d.status()
		if err != nil && !d.process.Running() {
			d.p.t.Fatalf("%s ended with %d:\n%s", d.Name, d.process.ExitCode(), d.process.Output())
		}
		return err == nil
	})
}

// run runs a command of lvsd on the director's host.
func (d *director) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.p.t.Context(), 30*time.Second)
	defer cancel()
	return d.Run(ctx, append([]string{binary(d.p.t)}, args...)...)
}

// reload runs lvsd reload.
func (d *director) reload() (string, error) {
	return d.run("reload", "-c", d.p.file, "--socket", d.socket)
}

// status is what the tests read of lvsd status --json. The names are written
// down here a second time on purpose: they are a contract.
type status struct {
	Director string   `json:"director"`
	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems"`
	Config   struct {
		Hash        string `json:"hash"`
		ReloadError string `json:"reload_error"`
	} `json:"config"`
	VRRP []struct {
		Name      string   `json:"name"`
		State     string   `json:"state"`
		Priority  int      `json:"priority"`
		Contested bool     `json:"contested"`
		Waits     string   `json:"waits"`
		Held      bool     `json:"held"`
		Reason    string   `json:"reason"`
		Holding   bool     `json:"holding"`
		Addresses []string `json:"addresses"`
	} `json:"vrrp"`
	Services []struct {
		Name        string `json:"name"`
		Up          bool   `json:"up"`
		RealServers []struct {
			Address    string `json:"address"`
			Weight     *int   `json:"weight"`
			Configured int    `json:"configured_weight"`
			Verdict    string `json:"verdict"`
			Draining   bool   `json:"draining"`
			Why        string `json:"why"`
			Active     int    `json:"active_connections"`
		} `json:"real_servers"`
	} `json:"virtual_services"`
}

// status asks over the control socket, without the cost of a process.
func (d *director) status() (status, error) {
	var s status
	text, err := d.get("/api/v1/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}

func (d *director) get(path string) (string, error) {
	resp, err := d.http.Get("http://lvsd" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return string(text), err
}

// verdict is what a reload answers.
type verdict struct {
	OK     bool     `json:"ok"`
	Hash   string   `json:"hash"`
	Errors []string `json:"errors"`
}

func (d *director) post(path string) (v verdict, err error) {
	resp, err := d.http.Post("http://lvsd"+path, "", nil)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// state is the election's state, "" while nobody answers.
func (d *director) state() string {
	s, err := d.status()
	if err != nil || len(s.VRRP) == 0 {
		return ""
	}
	return s.VRRP[0].State
}

// wait waits until the election is in a state, and tells how long that took.
func (d *director) wait(state string, limit time.Duration) time.Duration {
	d.p.t.Helper()
	return d.p.WaitUntil(limit, d.Name+" to be "+state, func() bool { return d.state() == state })
}

// kernelWeight is the weight that ipvsadm shows for a real server, -1 when it
// is not in the table.
func (d *director) kernelWeight(realServer string) int {
	out := d.ipvsadm()
	weight := -1
	for line := range strings.Lines(out) {
		fields := strings.Fields(line) // -a -t 10.77.0.100:80 -r 10.77.0.21:80 -g -w 1
		for i, f := range fields {
			if f == "-r" && fields[i+1] == realServer {
				for j := i; j < len(fields)-1; j++ {
					if fields[j] == "-w" {
						fmt.Sscan(fields[j+1], &weight)
					}
				}
			}
		}
	}
	return weight
}

// ipvsadm is the live table as Debian's ipvsadm saves it.
func (d *director) ipvsadm() string { return d.MustRun("ipvsadm", "-S", "-n") }

// waitWeight waits until the kernel has a weight. It asks the kernel's own
// list, /proc/net/ip_vs, which costs no process.
func (d *director) waitWeight(realServer string, weight int, limit time.Duration) time.Duration {
	d.p.t.Helper()
	return d.p.WaitUntil(limit, fmt.Sprintf("weight %d of %s in the kernel of %s", weight, realServer, d.Name), func() bool {
		return d.procWeight(realServer) == weight
	})
}

// procWeight reads a weight from /proc/net/ip_vs of the host, -1 when absent.
func (d *director) procWeight(realServer string) int {
	address, err := netip.ParseAddrPort(realServer)
	if err != nil {
		d.p.t.Fatal(err)
	}
	want := fmt.Sprintf("%X:%04X", address.Addr().As4(), address.Port())
	weight := -1
	if err := d.Do(func() error {
		// /proc/net is the reading thread's own namespace only by this name.
		f, err := os.Open("/proc/thread-self/net/ip_vs")
		if err != nil {
			return err
		}
		defer f.Close()
		for scan := bufio.NewScanner(f); scan.Scan(); {
			//   -> 0A4D0015:0050      Route   1      0          0
			if fields := strings.Fields(scan.Text()); len(fields) >= 4 && fields[0] == "->" && fields[1] == want {
				fmt.Sscan(fields[3], &weight)
			}
		}
		return nil
	}); err != nil {
		d.p.t.Fatal(err)
	}
	return weight
}

// metric reads one series from the director's /metrics: the value, or NaN text
// "absent".
// The daemon keeps a scrape for a second; a reading here is always a new one.
func (d *director) metric(series string) string {
	if wait := time.Until(d.scraped.Add(scrapeKept)); wait > 0 {
		<-time.After(wait)
	}
	d.scraped = time.Now()
	text, err := d.get("/metrics")
	if err != nil {
		d.p.t.Fatalf("%s: %v", d.Name, err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return "absent"
}

// holders names the directors that have the VIP.
func (p *pair) holders() []string {
	var names []string
	for _, d := range p.lb {
		if d.Holds(vip) {
			names = append(names, d.Name)
		}
	}
	return names
}

// startBoth starts both directors and waits for the usual order: lb1 master.
func (p *pair) startBoth() {
	p.t.Helper()
	for _, d := range p.lb {
		d.start()
	}
	p.lb[0].wait("master", 30*time.Second)
	p.lb[1].wait("backup", 30*time.Second)
}

// serving waits until a service has all its real servers at work on a
// director.
func (d *director) serving(n int) {
	d.p.t.Helper()
	d.p.WaitUntil(30*time.Second, fmt.Sprintf("%d live servers on %s", n, d.Name), func() bool {
		live := 0
		for _, r := range d.p.real {
			if d.procWeight(r.Addr().String()+":80") > 0 {
				live++
			}
		}
		return live == n
	})
}
