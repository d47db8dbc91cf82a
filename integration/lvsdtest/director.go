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
	"strconv"
	"strings"
	"time"

	"lvsd/integration/lab"
)

// IPVSWrites is the number of kernel writes so far.
func IPVSWrites(d *Director) int {
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

func (d *Director) KillDaemon() {
	d.Process.Kill()
	<-d.Process.Done()
}

func (d *Director) StopDaemon() {
	d.Process.Terminate()
	<-d.Process.Done()
	if code := d.Process.ExitCode(); code != 0 {
		d.Pair.T.Errorf("%s stopped with exit code %d:\n%s", d.Name, code, d.Process.Tail(20))
	}
}

// MetricValue is the value of a metric that is there.
func (d *Director) MetricValue(series string) float64 {
	d.Pair.T.Helper()
	n, err := strconv.ParseFloat(d.Metric(series), 64)
	if err != nil {
		d.Pair.T.Fatalf("%s of %s: %v", series, d.Name, err)
	}
	return n
}

// ConnectionOrigins counts the kernel's established connections by who told of them:
// LOCAL or SYNC.
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

// Director is one lvsd on one host.
type Director struct {
	*lab.Host
	Pair    *Pair
	Process *lab.Process
	Socket  string
	HTTP    http.Client
	scraped time.Time // when metric read last
}

// scrapeKept is how long the daemon answers scrapes with the same series, and a
// little more.
const scrapeKept = 1050 * time.Millisecond

// StartDaemon runs the daemon.
func (d *Director) StartDaemon() {
	d.Pair.T.Helper()
	if d.Pair.ConfigFile == "" {
		d.Pair.WriteConfig()
	}
	d.Process = d.Start(Binary(d.Pair.T), "run", "-c", d.Pair.ConfigFile, "--director", d.Name)
	d.Pair.T.Cleanup(func() {
		if d.Pair.T.Failed() {
			d.Pair.T.Logf("%s said:\n%s", d.Name, d.Process.Tail(40))
		}
	})
	d.Pair.WaitUntil(30*time.Second, d.Name+" to answer", func() bool {
		_, err := d.Status()
		if err != nil && !d.Process.Running() {
			d.Pair.T.Fatalf("%s ended with %d:\n%s", d.Name, d.Process.ExitCode(), d.Process.Output())
		}
		return err == nil
	})
}

// LVSD runs a command of lvsd on the director's host.
func (d *Director) LVSD(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.Pair.T.Context(), 30*time.Second)
	defer cancel()
	return d.Run(ctx, append([]string{Binary(d.Pair.T)}, args...)...)
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
			Verdict    string `json:"verdict"`
			Draining   bool   `json:"draining"`
			Why        string `json:"why"`
			Active     int    `json:"active_connections"`
		} `json:"real_servers"`
	} `json:"virtual_services"`
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

// verdict is what a reload answers.
type verdict struct {
	OK     bool     `json:"ok"`
	Hash   string   `json:"hash"`
	Errors []string `json:"errors"`
}

func (d *Director) PostAPI(path string) (v verdict, err error) {
	resp, err := d.HTTP.Post("http://lvsd"+path, "", nil)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// VRRPState is the election's state, "" while nobody answers.
func (d *Director) VRRPState() string {
	s, err := d.Status()
	if err != nil || len(s.VRRP) == 0 {
		return ""
	}
	return s.VRRP[0].State
}

// WaitState waits until the election is in a state, and tells how long that took.
func (d *Director) WaitState(state string, limit time.Duration) time.Duration {
	d.Pair.T.Helper()
	return d.Pair.WaitUntil(limit, d.Name+" to be "+state, func() bool { return d.VRRPState() == state })
}

// KernelWeight is the weight that ipvsadm shows for a real server, -1 when it
// is not in the table.
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

// IPVSTable is the live table as Debian's ipvsadm saves it.
func (d *Director) IPVSTable() string { return d.MustRun("ipvsadm", "-S", "-n") }

// WaitWeight waits until the kernel has a weight. It asks the kernel's own
// list, /proc/net/ip_vs, which costs no process.
func (d *Director) WaitWeight(realServer string, weight int, limit time.Duration) time.Duration {
	d.Pair.T.Helper()
	return d.Pair.WaitUntil(limit, fmt.Sprintf("weight %d of %s in the kernel of %s", weight, realServer, d.Name), func() bool {
		return d.ProcWeight(realServer) == weight
	})
}

// ProcWeight reads a weight from /proc/net/ip_vs of the host, -1 when absent.
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

// Metric reads one series from the director's /metrics: the value, or NaN text
// "absent".
// The daemon keeps a scrape for a second; a reading here is always a new one.
func (d *Director) Metric(series string) string {
	if wait := time.Until(d.scraped.Add(scrapeKept)); wait > 0 {
		<-time.After(wait)
	}
	d.scraped = time.Now()
	text, err := d.GetAPI("/metrics")
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

// WaitServing waits until a service has all its real servers at work on a
// director.
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

// WaitWeights waits until the kernel has these weights, in the order of the
// servers.
func (d *Director) WaitWeights(limit time.Duration, want ...int) {
	d.Pair.T.Helper()
	for i, w := range want {
		d.WaitWeight(d.Pair.Real[i].Addr().String()+":80", w, limit)
	}
}

// WaitProblem waits until the status names one, and one that is not there to go.
func (d *Director) WaitProblem(part string, there bool) {
	d.Pair.T.Helper()
	var last []string
	d.Pair.WaitUntil(30*time.Second, fmt.Sprintf("problem %q: %v", part, there), func() bool {
		s, err := d.Status()
		last = s.Problems
		return err == nil && strings.Contains(strings.Join(last, "\n"), part) == there
	})
}
