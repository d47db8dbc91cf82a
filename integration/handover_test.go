package integration

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// handover runs lvsd handover.
func (d *director) handover(args ...string) (string, error) {
	return d.run(append([]string{"handover", "-c", d.p.file, "--director", d.Name, "--socket", d.socket}, args...)...)
}

// held says whether the director says that it stays away.
func (d *director) held() bool {
	s, err := d.status()
	return err == nil && len(s.VRRP) > 0 && s.VRRP[0].Held
}

// number is the value of a metric that is there.
func (d *director) number(series string) float64 {
	d.p.t.Helper()
	n, err := strconv.ParseFloat(d.metric(series), 64)
	if err != nil {
		d.p.t.Fatalf("%s of %s: %v", series, d.Name, err)
	}
	return n
}

// TestHandoverOnCommand gives the addresses to the peer while a client opens a
// connection every few milliseconds. The director stays away, over a restart too,
// takes over when the peer falls silent, and preempts again once it is told to.
func TestHandoverOnCommand(t *testing.T) {
	p, _ := webPair(t, 2, func(p *pair) { p.advert = "500ms" })
	lb1, lb2 := p.lb[0], p.lb[1]
	outage := lab.StartOutage(p.client, vipPort, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(20, 30*time.Second)

	if out, err := lb1.handover(); err == nil || !contains(out, "refused: web: no [pair] is configured", "--force") {
		t.Errorf("without a peer that is known to be ready: %v\n%s", err, out)
	}
	if lb1.state() != "master" || lb1.held() {
		t.Fatal("a refused handover changed something")
	}
	out, err := lb1.handover("--force")
	if err != nil || !contains(out, "web: 10.77.0.12 has the addresses, heard after 0.", "stays away until lvsd handover --end") {
		t.Errorf("%v\n%s", err, out)
	}
	p.onlyHolder(lb2)
	if lb1.state() != "backup" || !lb1.held() || lb1.metric(`lvsd_vrrp_held{vrrp="web"}`) != "1" {
		t.Errorf("not held: %s, %s", lb1.state(), lb1.metric(`lvsd_vrrp_held{vrrp="web"}`))
	}
	outage.WaitSuccesses(50, 30*time.Second)
	report := outage.Stop()
	t.Logf("FIGURE handover at 500 ms adverts: %s%v", out, report)
	if report.Failed > 0 {
		t.Errorf("a handover failed connects: %v", report)
	}

	lb1.stop()
	lb1.start()
	p.WaitUntil(30*time.Second, "the checks to be in", func() bool { s, err := lb1.status(); return err == nil && len(s.VRRP) > 0 && s.VRRP[0].Waits == "" })
	const adverts = `lvsd_vrrp_adverts_received_total{vrrp="web"}`
	heard := lb1.number(adverts)
	p.WaitUntil(20*time.Second, "the time in which it would preempt to pass", func() bool { return lb1.number(adverts) >= heard+8 })
	if lb1.state() != "backup" || !lb1.held() {
		t.Errorf("after a restart: %s, held %v", lb1.state(), lb1.held())
	}
	if out, _ := lb1.run("status", "-c", p.file, "--director", "lb1", "--socket", lb1.socket); !strings.Contains(out, "stays away until lvsd handover --end") {
		t.Errorf("status does not tell:\n%s", out)
	}

	lb2.process.Kill()
	lb1.wait("master", 30*time.Second)
	lb2.start()
	lb2.wait("backup", 30*time.Second)
	if out, err := lb1.handover("--force", "--for", "1h"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	p.onlyHolder(lb2)

	if out, err := lb1.handover("--end"); err != nil || !strings.Contains(out, "web: this director stands for election as configured again") {
		t.Errorf("%v\n%s", err, out)
	}
	lb1.wait("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "one holder", func() bool { return slices.Equal(p.holders(), []string{"lb1"}) })

	// Nobody is there: it serves on, and is not held.
	lb2.stop()
	if out, err := lb1.handover("--force"); err == nil || !strings.Contains(out, "nobody took the addresses over") {
		t.Errorf("%v\n%s", err, out)
	}
	if lb1.state() != "master" || lb1.held() || !lb1.Holds(vip) {
		t.Error("the director does not serve on")
	}
}

// TestHandoverToAReadyPeer: with the directors' exchange a handover needs no force,
// and is refused while the peer could not serve. A returning director shows what it
// waits for, and no longer than until it knows the connections.
func TestHandoverToAReadyPeer(t *testing.T) {
	p := newPair(t, 1)
	p.prepareDR()
	lab.ServeLines(p.real[0], ":80", "rs1")
	p.services = p.web(quick, 1)
	key := p.WriteFile("key", "1 0123456789abcdef0123456789abcdef\n")
	p.chmod("key")
	with := func(vrrpExtra, tail string) {
		p.vrrpExtra = vrrpExtra
		p.file = p.WriteFile("lvsd.toml", replace(t, p.config(), "[ipvs]", "[ipvs]\nsync = { interface = \"eth0\", id = 51 }")+tail)
	}
	exchange := "[pair]\nlisten = \":8113\"\nkey_file = \"" + key + "\"\n"
	with(`sync_hold = "1h"`, exchange)
	lb1, lb2 := p.lb[0], p.lb[1]
	waits := func(d *director) string {
		s, err := d.status()
		if err != nil || len(s.VRRP) == 0 {
			return "no answer"
		}
		return s.VRRP[0].Waits
	}
	p.startBoth()
	lb2.serving(1)
	p.WaitUntil(20*time.Second, "a peer that is ready", func() bool { return waits(lb2) == "" })

	var out string
	p.WaitUntil(20*time.Second, "a handover", func() bool {
		var err error
		out, err = lb1.handover("--for", "1h") // its peer's word is a second old
		return err == nil
	})
	if !contains(out, "web: 10.77.0.12 has the addresses") {
		t.Errorf("%s", out)
	}
	p.WaitUntil(20*time.Second, "a refusal: the peer is held", func() bool {
		var err error
		out, err = lb2.handover()
		return err != nil && strings.Contains(out, "refused: web: lb1 is held itself")
	})
	if _, err := lb1.handover("--end"); err != nil {
		t.Error(err)
	}
	lb1.wait("master", 20*time.Second)
	// Stopped and started: it knows as many connections as the peer and need not
	// wait for an hour.
	lb1.stop()
	lb2.wait("master", 30*time.Second)
	lb1.start()
	lb1.wait("master", 20*time.Second)

	// Without the exchange only time can tell.
	lb1.stop()
	lb2.stop()
	with(`sync_hold = "6s"`, "")
	lb2.start()
	lb2.wait("master", 30*time.Second)
	lb1.start()
	p.WaitUntil(30*time.Second, "what it waits for to be shown", func() bool { return strings.Contains(waits(lb1), "waits for connections: ") })
	if lb1.state() != "backup" {
		t.Errorf("%s while it waits", lb1.state())
	}
	lb1.wait("master", 20*time.Second)
}
