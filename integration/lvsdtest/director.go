package lvsdtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lvsd/integration/lab"
)

// Director is one lvsd on one host.
type Director struct {
	*lab.Host
	Pair    *Pair
	Program string // the lvsd that it runs; "": Binary
	Process *lab.Process
	Socket  string
	HTTP    http.Client
	scraped time.Time // last Metric
}

// scrapeKept is a little longer than the daemon serves scrapes from its cache.
const scrapeKept = 1050 * time.Millisecond

// StartDaemon starts lvsd run and waits until it serves its status.
func (d *Director) StartDaemon() {
	d.Pair.T.Helper()
	if d.Pair.ConfigFile == "" {
		d.Pair.WriteConfig()
	}
	d.Process = d.Start(d.program(), "run", "-c", d.Pair.ConfigFile, "--director", d.Name)
	d.Pair.WaitUntil(30*time.Second, d.Name+" to serve its status", func() bool {
		_, err := d.Status()
		if err != nil && !d.Process.Running() {
			d.Pair.T.Fatalf("%s ended with %d:\n%s", d.Name, d.Process.ExitCode(), d.Process.Output())
		}
		return err == nil
	})
}

// StartMaster starts lvsd run and waits until it is master and n real servers have a
// weight above 0.
func (d *Director) StartMaster(n int) {
	d.Pair.T.Helper()
	d.StartDaemon()
	d.WaitState("master", 30*time.Second)
	d.WaitServing(n)
}

// StopDaemon stops the daemon with SIGTERM; its exit code must be 0.
func (d *Director) StopDaemon() { d.StopDaemonWithin(stopLimit) }

// stopLimit is TimeoutStopSec of the package's unit.
const stopLimit = 90 * time.Second

// StopDaemonWithin is StopDaemon with a limit. A daemon that takes longer shows by its
// goroutines where it waits.
func (d *Director) StopDaemonWithin(limit time.Duration) {
	d.Pair.T.Helper()
	d.Process.Terminate()
	if _, ok := lab.Poll(limit, func() bool { return !d.Process.Running() }); !ok {
		_ = d.Process.Signal(syscall.SIGQUIT)
		lab.Poll(limit, func() bool { return !d.Process.Running() })
		d.Pair.T.Fatalf("%s did not stop within %v:\n%s", d.Name, limit, d.Process.Tail(900))
	}
	if code := d.Process.ExitCode(); code != 0 {
		d.Pair.T.Errorf("%s stopped with exit code %d:\n%s", d.Name, code, d.Process.Tail(20))
	}
}

// KillDaemon kills the daemon with SIGKILL and waits for its end.
func (d *Director) KillDaemon() {
	d.Process.Kill()
	<-d.Process.Done()
}

// LVSD runs a command of lvsd on the director's host.
func (d *Director) LVSD(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.Pair.T.Context(), 30*time.Second)
	defer cancel()
	return d.Run(ctx, append([]string{d.program()}, args...)...)
}

// program returns the path of the director's lvsd.
func (d *Director) program() string {
	if d.Program != "" {
		return d.Program
	}
	return Binary(d.Pair.T)
}

// MustReload runs lvsd reload, which must succeed.
func (d *Director) MustReload() {
	d.Pair.T.Helper()
	if out, err := d.Reload(); err != nil {
		d.Pair.T.Fatalf("reload on %s: %v\n%s", d.Name, err, out)
	}
}

// Reload runs lvsd reload.
func (d *Director) Reload() (string, error) {
	return d.LVSD("reload", "-c", d.Pair.ConfigFile, "--socket", d.Socket)
}

// Status is what the tests read of lvsd status --json. The names are written
// down here a second time on purpose: they are a contract.
type Status struct {
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
			Health     string `json:"verdict"`
			Draining   bool   `json:"draining"`
			Why        string `json:"why"`
			Active     int    `json:"active_connections"`
		} `json:"real_servers"`
	} `json:"virtual_services"`
}

// Children returns the processes that the daemon started: its VRRP process and, while they
// run, programs.
func (d *Director) Children() (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.Process.Pid()))
	for _, name := range threads {
		text, _ := os.ReadFile(name) // a thread may have ended
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Status asks over the control socket, without the cost of a process.
func (d *Director) Status() (Status, error) {
	var s Status
	text, err := d.GetAPI("/api/v1/status")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}

// GetAPI requests a path over the control socket; a status other than 200 is an error.
func (d *Director) GetAPI(path string) (string, error) {
	resp, err := d.HTTP.Get("http://lvsd" + path)
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

// ReloadResult is the response of a reload.
type ReloadResult struct {
	OK     bool     `json:"ok"`
	Hash   string   `json:"hash"`
	Errors []string `json:"errors"`
}

// PostAPI posts to a path over the control socket.
func (d *Director) PostAPI(path string) (r ReloadResult, err error) {
	resp, err := d.HTTP.Post("http://lvsd"+path, "", nil)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// VRRPState returns the state of the first VRRP instance, "" while the daemon does
// not respond.
func (d *Director) VRRPState() string {
	s, err := d.Status()
	if err != nil || len(s.VRRP) == 0 {
		return ""
	}
	return s.VRRP[0].State
}

// WaitState waits until the VRRP instance is in a state and returns how long that
// took.
func (d *Director) WaitState(state string, limit time.Duration) time.Duration {
	d.Pair.T.Helper()
	return d.Pair.WaitUntil(limit, d.Name+" to be "+state, func() bool { return d.VRRPState() == state })
}

// WaitProblem waits until a problem with this text is in the status, or is not.
func (d *Director) WaitProblem(part string, there bool) {
	d.Pair.T.Helper()
	var last []string
	d.Pair.WaitUntil(30*time.Second, fmt.Sprintf("problem %q: %v", part, there), func() bool {
		s, err := d.Status()
		last = s.Problems
		return err == nil && strings.Contains(strings.Join(last, "\n"), part) == there
	})
}

// Metric returns the value of one series of /metrics, or "absent". The daemon caches
// a scrape for a second; Metric waits for the next one.
func (d *Director) Metric(series string) string {
	if wait := time.Until(d.scraped.Add(scrapeKept)); wait > 0 {
		<-time.After(wait)
	}
	text, err := d.GetAPI("/metrics")
	d.scraped = time.Now() // the daemon keeps it from when it was made
	if err != nil {
		d.Pair.T.Fatalf("%s: %v", d.Name, err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return "absent"
}

// MetricValue returns the value of a series, which must exist.
func (d *Director) MetricValue(series string) float64 {
	d.Pair.T.Helper()
	n, err := strconv.ParseFloat(d.Metric(series), 64)
	if err != nil {
		d.Pair.T.Fatalf("%s of %s: %v", series, d.Name, err)
	}
	return n
}

// IPVSWrites returns how many changes the director has written to the IPVS table.
func (d *Director) IPVSWrites() int {
	text, err := d.GetAPI("/metrics")
	if err != nil {
		d.Pair.T.Fatal(err)
	}
	total := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "lvsd_ipvs_operations_total{") {
			var n float64
			fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &n)
			total += int(n)
		}
	}
	return total
}

// IPVSTable returns the IPVS table as ipvsadm -S -n prints it.
func (d *Director) IPVSTable() string { return d.MustRun("ipvsadm", "-S", "-n") }

// MissingScheduler returns a scheduler that lvsd supports and this kernel lacks, "" if it
// has all of them.
func (d *Director) MissingScheduler() string {
	for _, name := range []string{"twos", "ovf", "mh", "fo", "nq", "sed", "sh", "dh", "lblcr", "lblc", "wlc", "lc", "wrr", "rr"} {
		if _, err := d.Run(d.Pair.T.Context(), "ipvsadm", "-A", "-f", "4711", "-s", name); err != nil {
			return name
		}
		d.MustRun("ipvsadm", "-D", "-f", "4711")
	}
	return ""
}

// KernelWeight returns the weight that ipvsadm shows for a real server, -1 if it is
// not in the table.
func (d *Director) KernelWeight(realServer string) int {
	out := d.IPVSTable()
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

// ProcWeight returns the weight of a real server in /proc/net/ip_vs, -1 if it is not
// there.
func (d *Director) ProcWeight(realServer string) int {
	address, err := netip.ParseAddrPort(realServer)
	if err != nil {
		d.Pair.T.Fatal(err)
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
		d.Pair.T.Fatal(err)
	}
	return weight
}

// WaitWeight waits until a real server has this weight in the kernel. It reads
// /proc/net/ip_vs, which starts no process.
func (d *Director) WaitWeight(realServer string, weight int, limit time.Duration) time.Duration {
	d.Pair.T.Helper()
	return d.Pair.WaitUntil(limit, fmt.Sprintf("weight %d of %s in the kernel of %s", weight, realServer, d.Name), func() bool {
		return d.ProcWeight(realServer) == weight
	})
}

// WaitWeights waits until the kernel has these weights, in the order of the
// servers.
func (d *Director) WaitWeights(limit time.Duration, want ...int) {
	d.Pair.T.Helper()
	for i, w := range want {
		d.WaitWeight(d.Pair.Real[i].Addr().String()+":80", w, limit)
	}
}

// WaitServing waits until n real servers have a weight above 0 in the kernel.
func (d *Director) WaitServing(n int) {
	d.Pair.T.Helper()
	d.Pair.WaitUntil(30*time.Second, fmt.Sprintf("%d live servers on %s", n, d.Name), func() bool {
		live := 0
		for _, r := range d.Pair.Real {
			if d.ProcWeight(r.Addr().String()+":80") > 0 {
				live++
			}
		}
		return live == n
	})
}

// ConnectionOrigins counts the kernel's established connections by where they come
// from: LOCAL or SYNC.
func (d *Director) ConnectionOrigins() map[string]int {
	n := map[string]int{}
	if err := d.Do(func() error {
		f, err := os.Open("/proc/thread-self/net/ip_vs_conn_sync")
		if err != nil {
			return err
		}
		defer f.Close()
		for scan := bufio.NewScanner(f); scan.Scan(); {
			if fields := strings.Fields(scan.Text()); len(fields) == 10 && fields[7] == "ESTABLISHED" {
				n[fields[8]]++
			}
		}
		return nil
	}); err != nil {
		d.Pair.T.Fatal(err)
	}
	return n
}
