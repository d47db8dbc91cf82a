package vrrp_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// handover runs lvsd handover on a director.
func handover(d *lvsdtest.Director, args ...string) (string, error) {
	return d.LVSD(append([]string{"handover", "-c", d.Pair.ConfigFile, "--director", d.Name, "--socket", d.Socket}, args...)...)
}

// standby reports whether the status shows standby after a handover.
func standby(d *lvsdtest.Director) bool {
	s, err := d.Status()
	return err == nil && len(s.VRRP) > 0 && s.VRRP[0].Held
}

// TestHandoverOnCommand hands the addresses over to the peer while a client opens a
// connection every few milliseconds. The director is then standby, after a restart too,
// takes over when the peer fails, and preempts after `lvsd handover --end`.
func TestHandoverOnCommand(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) { p.AdvertInterval = "500ms" })
	lb1, lb2 := p.LB[0], p.LB[1]
	outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(20, 30*time.Second)

	if out, err := handover(lb1); err == nil || !lvsdtest.ContainsAll(out, "[peers] is not configured", "--force") {
		t.Errorf("with a peer that may not be ready: %v\n%s", err, out)
	}
	if lb1.VRRPState() != "master" || standby(lb1) {
		t.Fatal("a refused handover changed something")
	}
	out, err := handover(lb1, "--force")
	if err != nil || !lvsdtest.ContainsAll(out, "web: handed over to 10.77.0.12 in 0.", "standby until lvsd handover --end") {
		t.Errorf("%v\n%s", err, out)
	}
	onlyHolder(p, lb2)
	if lb1.VRRPState() != "backup" || !standby(lb1) || lb1.Metric(`lvsd_vrrp_held{vrrp="web"}`) != "1" {
		t.Errorf("not standby: %s, %s", lb1.VRRPState(), lb1.Metric(`lvsd_vrrp_held{vrrp="web"}`))
	}
	outage.WaitSuccesses(50, 30*time.Second)
	report := outage.Stop()
	t.Logf("FIGURE handover at 500 ms adverts: %s%v", out, report)
	if report.Failed > 0 {
		t.Errorf("a handover failed connects: %v", report)
	}

	lb1.StopDaemon()
	lb1.StartDaemon()
	p.WaitUntil(30*time.Second, "the first checks", func() bool { s, err := lb1.Status(); return err == nil && len(s.VRRP) > 0 && s.VRRP[0].Waits == "" })
	const adverts = `lvsd_vrrp_adverts_received_total{vrrp="web"}`
	received := lb1.MetricValue(adverts)
	p.WaitUntil(20*time.Second, "8 advertisements, in which it would preempt", func() bool { return lb1.MetricValue(adverts) >= received+8 })
	if lb1.VRRPState() != "backup" || !standby(lb1) {
		t.Errorf("after a restart: %s, standby %v", lb1.VRRPState(), standby(lb1))
	}
	if out, _ := lb1.LVSD("status", "-c", p.ConfigFile, "--director", "lb1", "--socket", lb1.Socket); !strings.Contains(out, "standby until lvsd handover --end") {
		t.Errorf("not in the status:\n%s", out)
	}

	lb2.Process.Kill()
	lb1.WaitState("master", 30*time.Second)
	lb2.StartDaemon()
	lb2.WaitState("backup", 30*time.Second)
	if out, err := handover(lb1, "--force", "--for", "1h"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	onlyHolder(p, lb2)

	// Both start together: the one on standby is not the master.
	lb1.StopDaemon()
	lb2.StopDaemon()
	lb1.StartDaemon()
	lb2.StartDaemon()
	lb2.WaitState("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb2"}) })

	if out, err := handover(lb1, "--end"); err != nil || !strings.Contains(out, "web: standby ended; this director takes part again as configured") {
		t.Errorf("%v\n%s", err, out)
	}
	lb1.WaitState("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })

	// Without a peer it stays master, and is not standby.
	lb2.StopDaemon()
	if out, err := handover(lb1, "--force"); err == nil || !strings.Contains(out, "no peer took over") {
		t.Errorf("%v\n%s", err, out)
	}
	if lb1.VRRPState() != "master" || standby(lb1) || !lb1.Holds(lvsdtest.VIP) {
		t.Error("the director is no longer master")
	}
}

// TestHandoverToAReadyPeer: with [peers] a handover needs no --force, and is refused while
// the peer could not serve. A returning director waits no longer than until it has
// received the connections, and shows what it waits for.
func TestHandoverToAReadyPeer(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	with := func(vrrpExtra, tail string) {
		p.VRRPKeys = vrrpExtra
		p.WriteConfigText(p.Config() + tail)
		p.EnableSync()
	}
	pair := p.PeerConfig()
	with(`sync_hold = "1h"`, pair)
	lb1, lb2 := p.LB[0], p.LB[1]
	waits := func(d *lvsdtest.Director) string {
		s, err := d.Status()
		if err != nil || len(s.VRRP) == 0 {
			return "no answer"
		}
		return s.VRRP[0].Waits
	}
	p.StartBoth()
	lb2.WaitServing(1)
	p.WaitUntil(20*time.Second, "a peer that is ready", func() bool { return waits(lb2) == "" })

	var out string
	p.WaitUntil(20*time.Second, "a handover", func() bool {
		var err error
		out, err = handover(lb1, "--for", "1h") // the peer's state may be a second old
		return err == nil
	})
	if !lvsdtest.ContainsAll(out, "web: handed over to 10.77.0.12") {
		t.Errorf("%s", out)
	}
	p.WaitUntil(20*time.Second, "a refusal, because the peer is standby", func() bool {
		var err error
		out, err = handover(lb2)
		return err != nil && strings.Contains(out, "refused: web: lb1 is on standby itself")
	})
	if _, err := handover(lb1, "--end"); err != nil {
		t.Error(err)
	}
	lb1.WaitState("master", 20*time.Second)
	// After a restart it has as many connections as the peer and does not wait for
	// an hour.
	lb1.StopDaemon()
	lb2.WaitState("master", 30*time.Second)
	lb1.StartDaemon()
	lb1.WaitState("master", 20*time.Second)

	// Without [peers] it waits for sync_hold.
	lb1.StopDaemon()
	lb2.StopDaemon()
	with(`sync_hold = "6s"`, "")
	lb2.StartDaemon()
	lb2.WaitState("master", 30*time.Second)
	lb1.StartDaemon()
	p.WaitUntil(30*time.Second, "the status to show what it waits for", func() bool { return strings.Contains(waits(lb1), "waiting for connections") })
	if lb1.VRRPState() != "backup" {
		t.Errorf("%s while it waits", lb1.VRRPState())
	}
	lb1.WaitState("master", 20*time.Second)
}
