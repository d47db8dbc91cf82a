package vrrp_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// transitionsOf returns the number of state changes of a director's VRRP instances.
func transitionsOf(d *lvsdtest.Director) int {
	text, err := d.GetAPI("/metrics")
	if err != nil {
		d.Pair.T.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "lvsd_vrrp_transitions_total{") {
			n, err := strconv.Atoi(strings.Fields(line)[1])
			if err != nil {
				d.Pair.T.Fatal(line)
			}
			sum += n
		}
	}
	return sum
}

// TestTheHealthierDirectorIsMaster: a director that cannot reach the real servers
// hands the address over to one that can, and preempts when it can again. When the
// servers are down for both, the master does not change.
func TestTheHealthierDirectorIsMaster(t *testing.T) {
	// The backup takes over when it notices the dead servers later than the master by
	// three advertisement intervals: they are far longer than a busy machine takes.
	p, lines := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		p.AdvertInterval, p.VRRPKeys = "1s", `track_services = [{ name = "web" }]`
	})
	lb1, lb2 := p.LB[0], p.LB[1]
	servers := []string{p.Real[0].Addr().String(), p.Real[1].Addr().String()}

	for _, s := range servers {
		lb1.MustRun("ip", "route", "add", "unreachable", s)
	}
	took := lb2.WaitState("master", 30*time.Second)
	lb1.WaitState("backup", 10*time.Second)
	t.Logf("FIGURE takeover from the director without a route to the servers after %v", took)
	s, err := lb1.Status()
	if err != nil || s.VRRP[0].Priority != 1 || s.VRRP[0].Reason != "higher_priority" {
		t.Errorf("%+v, %v", s.VRRP, err)
	}
	if out, _ := lb1.LVSD("status", "-c", p.ConfigFile, "--director", "lb1", "--socket", lb1.Socket); !lvsdtest.ContainsAll(out, "backup, 1", "service web: -253") {
		t.Errorf("status does not show the reason:\n%s", out)
	}
	for _, s := range servers {
		lb1.MustRun("ip", "route", "del", "unreachable", s)
	}
	lb1.WaitState("master", 30*time.Second)
	lb2.WaitState("backup", 10*time.Second)

	// Down for both: the master stays, whichever director notices first.
	before := transitionsOf(lb1) + transitionsOf(lb2)
	for _, l := range lines {
		l.Refuse()
	}
	priority := func(d *lvsdtest.Director) int {
		s, err := d.Status()
		if err != nil || len(s.VRRP) == 0 {
			return -1
		}
		return s.VRRP[0].Priority
	}
	p.WaitUntil(30*time.Second, "both to notice", func() bool { return priority(lb1) == 1 && priority(lb2) == 1 })
	const adverts = `lvsd_vrrp_adverts_received_total{vrrp="web"}`
	received := lb2.MetricValue(adverts)
	p.WaitUntil(30*time.Second, "5 advertisements, in which lb2 would preempt", func() bool { return lb2.MetricValue(adverts) >= received+5 })
	onlyHolder(p, lb1)
	if after := transitionsOf(lb1) + transitionsOf(lb2); after != before {
		t.Errorf("%d changes of state when all servers died", after-before)
	}
}

// TestTrackedFile: the number in a tracked file changes the priority.
func TestTrackedFile(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) {
		p.VRRPKeys = "track_files = [{ path = \"" + p.Path("prefer") + "\", weight = 10 }]\n"
	})
	lb1, lb2 := p.LB[0], p.LB[1]
	priority := func(d *lvsdtest.Director, want int) {
		t.Helper()
		p.WaitUntil(10*time.Second, "the priority", func() bool { s, err := d.Status(); return err == nil && s.VRRP[0].Priority == want })
	}
	p.WriteFile("prefer", "-5\n") // of both: the order stays
	priority(lb1, 150)
	priority(lb2, 50)
	onlyHolder(p, lb1)
	if err := os.Remove(p.Path("prefer")); err != nil {
		t.Fatal(err)
	}
	priority(lb1, 200)
	priority(lb2, 100)
}
