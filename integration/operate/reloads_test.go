package operate_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestManyReloadsUnderTraffic is the short form of TestOncallThousandReloadsUnderTraffic.
func TestManyReloadsUnderTraffic(t *testing.T) {
	manyReloads(t, 100, 900*time.Millisecond) // less than the retransmission of a SYN: a lost one is noticed
}

// TestOncallThousandReloadsUnderTraffic takes minutes, in which a busy machine may stall
// for seconds: a connect fails only if it is refused, reset, or lost for 10 s.
func TestOncallThousandReloadsUnderTraffic(t *testing.T) { manyReloads(t, 1000, 10*time.Second) }

// manyReloads changes weights repeatedly while clients connect. No connect fails, an
// open connection survives, VRRP does not change state, and the daemon's memory, open
// files and goroutines do not grow.
func manyReloads(t *testing.T, reloads int, patience time.Duration) {
	p := lvsdtest.NewPair(t, 2)
	p.ServeLines()
	lb := p.LB[0]
	text := func(n int) string {
		return strings.Replace(p.WebService(`{ type = "on" }`, 1+n%7, 1+n%5), `"rr"`, `"wrr"`, 1)
	}
	p.Services = text(0)
	p.WriteConfig()
	p.StartBoth()
	lb.WaitServing(2)
	talk := lab.Converse(p.Client, lvsdtest.VIPPort)
	talk.Keep(100*time.Millisecond, 20*time.Second)
	o := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 10 * time.Millisecond, Timeout: patience, For: 15 * time.Minute, Max: 200_000})
	o.WaitSuccesses(5, 20*time.Second)

	reload := func(n int) {
		t.Helper()
		p.Services = text(n)
		p.WriteConfig()
		v, err := lb.PostAPI("/control/v1/reload")
		if err != nil || !v.OK {
			t.Fatalf("reload %d: %v %v", n, err, v)
		}
	}
	for n := range 20 { // until everything is allocated
		reload(n + 1)
	}
	before := usageOf(t, lb)
	start := time.Now()
	for n := range reloads {
		reload(n + 21)
	}
	took := time.Since(start)
	lb.WaitWeight("10.77.0.21:80", 1+(reloads+20)%7, 10*time.Second)
	o.WaitSuccesses(5, 20*time.Second)
	talk.Close()
	if err := talk.Err(); err != nil {
		t.Errorf("a conversation ended: %v", err)
	}
	r := o.Stop()
	t.Logf("FIGURE %d reloads in %v, meanwhile: %v", reloads, took.Round(time.Millisecond), r)
	if r.Failed > 0 {
		t.Errorf("connects failed: %v", r)
	}
	if got := lb.Metric(`lvsd_vrrp_state{state="master",vrrp="web"}`); got != "1" {
		t.Errorf("lb1 is master: %s", got)
	}
	if got := p.LB[1].Metric(`lvsd_vrrp_state{state="backup",vrrp="web"}`); got != "1" {
		t.Errorf("lb2 is backup: %s", got)
	}
	after := usageOf(t, lb)
	t.Logf("FIGURE before %+v, after %+v", before, after)
	if after.files > before.files+4 || after.goroutines > before.goroutines+10 || after.kilobytes > before.kilobytes+40_000 {
		t.Errorf("the daemon grows: before %+v, after %+v", before, after)
	}
	metrics, err := lb.GetAPI("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	transitions := 0
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "lvsd_vrrp_transitions_total{") {
			var n int
			_, _ = fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &n)
			transitions += n
		}
	}
	if transitions > 2 { // to backup at its start, to master
		t.Errorf("%d transitions", transitions)
	}
}

// usage is what a process uses.
type usage struct{ files, goroutines, kilobytes int }

// usageOf returns what the daemon uses.
func usageOf(t *testing.T, d *lvsdtest.Director) usage {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d", d.Process.Pid())
	files, err := os.ReadDir(dir + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		t.Fatal(err)
	}
	u := usage{files: len(files)}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &u.kilobytes)
		}
	}
	if _, err := fmt.Sscan(d.Metric("go_goroutines"), &u.goroutines); err != nil {
		t.Fatalf("go_goroutines: %v", err)
	}
	return u
}
