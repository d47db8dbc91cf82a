package integration

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

func (p *pair) addr(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// replace is strings.Replace that fails when there is nothing to replace.
func replace(t testing.TB, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in:\n%s", old, text)
	}
	return strings.Replace(text, old, new, 1)
}

func contains(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// TestFailedAndDrainedServersKeepConnections: a server that refuses goes to
// weight 0 within fall × interval, its open connections go on, and its weight
// comes back with it. The same for a drain by editing the file.
func TestFailedAndDrainedServersKeepConnections(t *testing.T) {
	const interval, fall = 100 * time.Millisecond, 3
	p, servers := webPair(t, 2, func(p *pair) { p.advert = "1s" })
	lb := p.lb[0]
	rs1, rs2 := p.real[0].Addr().String()+":80", p.real[1].Addr().String()+":80"
	var talks []*lab.Conversation
	on := map[string]int{}
	for range 10 {
		c := lab.Converse(p.client, vipPort)
		c.Keep(20*time.Millisecond, 2*time.Second)
		on[c.Server]++
		talks = append(talks, c)
	}
	if on["rs1"] != 5 || on["rs2"] != 5 {
		t.Fatalf("10 connections: %v", on)
	}
	alive := func(when string) {
		t.Helper()
		for _, c := range talks {
			before, _ := c.Lines()
			p.WaitUntil(5*time.Second, "another line "+when, func() bool { n, _ := c.Lines(); return n > before || c.Err() != nil })
			if err := c.Err(); err != nil {
				t.Fatalf("%s: a connection on %s broke: %v", when, c.Server, err)
			}
		}
	}

	servers[0].Refuse()
	took := lb.waitWeight(rs1, 0, 5*time.Second)
	t.Logf("FIGURE from refusal to weight 0 in the kernel: %v (%d × %v)", took, fall, interval)
	if limit := fall*interval + 50*time.Millisecond; took > limit {
		t.Errorf("it took %v until a refusing server had weight 0, want at most %v", took, limit)
	}
	alive("with the server failed")
	for range 6 {
		c := lab.Converse(p.client, vipPort)
		if c.Server != "rs2" {
			t.Errorf("a new connection went to %s", c.Server)
		}
		c.Close()
	}
	s, err := lb.status()
	if err != nil || s.Healthy || s.Services[0].RealServers[0].Verdict != "down" || !strings.Contains(s.Services[0].RealServers[0].Why, "refused") {
		t.Errorf("status with a failed server: %+v, %v", s, err)
	}
	servers[0].Start()
	lb.waitWeight(rs1, 1, 5*time.Second)
	alive("with the server back")

	p.services = p.web(quick, 1, 0)
	p.write()
	for _, d := range p.lb {
		if out, err := d.reload(); err != nil {
			t.Fatalf("reload: %v\n%s", err, out)
		}
		if w := d.kernelWeight(rs2); w != 0 {
			t.Errorf("weight of the drained server on %s after reload returned: %d", d.Name, w)
		}
	}
	for range 6 {
		c := lab.Converse(p.client, vipPort)
		if c.Server != "rs1" {
			t.Errorf("a new connection went to the drained server %s", c.Server)
		}
		c.Close()
	}
	alive("with the server drained")
	s, err = lb.status()
	if rs := s.Services[0].RealServers[1]; err != nil || !rs.Draining || rs.Active != 5 || !strings.Contains(rs.Why, "drained by hand") {
		t.Errorf("status of a drained server: %+v, %v", rs, err)
	}
	if got := lb.metric(`lvsd_real_server_draining{real_server="` + rs2 + `",service="web"}`); got != "1" {
		t.Errorf("draining metric: %s", got)
	}
	p.services = p.web(quick, 1, 7)
	p.write()
	if out, err := lb.reload(); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	if w := lb.kernelWeight(rs2); w != 7 {
		t.Errorf("weight after the drain: %d, want 7", w)
	}
	alive("after the drain")
	for _, c := range talks {
		c.Close()
	}
}

// TestBadReloads gives a running director every bad file that the
// configuration's own tests have, and a few that only this machine can refuse:
// each is refused with its reason and nothing changes.
func TestBadReloads(t *testing.T) {
	p, _ := webPair(t, 2, func(p *pair) { p.advert = "1s" })
	lb := p.lb[0]
	good := p.config()
	before := lb.ipvsadm()
	first, err := lb.status()
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"a missing interface":     replace(t, good, `interface = "eth0"`, `interface = "eth7"`),
		"a scheduler not here":    replace(t, good, `scheduler = "rr"`, `scheduler = "twos"`),
		"another state directory": replace(t, good, "lb1.state", "elsewhere"),
		"a port that is taken":    replace(t, good, "[global]", "[global]\nhttp_listen = \"127.0.0.1:9\""),
		"an empty file":           "",
		"binary rubbish":          "\x00\x01\xff\xfe",
	}
	files, err := filepath.Glob("../config/testdata/bad-*.toml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d bad files (%v)", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		bad[filepath.Base(f)] = string(text)
	}
	taken, err := lb.Listen("tcp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	// A conversation and the adverts go on all the while.
	talk := lab.Converse(p.client, vipPort)
	talk.Keep(20*time.Millisecond, 2*time.Second)
	for name, text := range bad {
		p.WriteFile("lvsd.toml", text)
		v, err := lb.post("/control/v1/reload") // as lvsd reload does, without the cost of a process
		if err != nil || v.OK || len(v.Errors) == 0 || v.Hash != first.Config.Hash {
			t.Errorf("%s: %v, %+v", name, err, v)
			continue
		}
		if strings.HasPrefix(name, "bad-") && !strings.Contains(v.Errors[0], "lvsd.toml:") {
			t.Errorf("%s: no place in the message: %s", name, v.Errors[0])
		}
	}
	if out, err := lb.reload(); exitCode(err) != 1 || !contains(out, "lvsd.toml", "refused, configuration "+first.Config.Hash+" goes on") {
		t.Errorf("lvsd reload: %v\n%s", err, out)
	}
	if got := lb.metric("lvsd_config_last_reload_successful"); got != "0" {
		t.Errorf("lvsd_config_last_reload_successful %s after a refused reload", got)
	}
	s, err := lb.status()
	if err != nil || s.Config.Hash != first.Config.Hash || s.Config.ReloadError == "" || s.Healthy || s.VRRP[0].State != "master" {
		t.Errorf("status after refused reloads: %+v, %v", s, err)
	}
	if after := lb.ipvsadm(); after != before {
		t.Errorf("the table changed from\n%s to\n%s", before, after)
	}
	if err := talk.Err(); err != nil {
		t.Error(err)
	}
	talk.Close()
	if got := lb.metric(`lvsd_vrrp_transitions_total{reason="link_down",to="fault",vrrp="web"}`); got != "absent" && got != "0" {
		t.Errorf("faults: %s", got)
	}
	// Without --socket the file must tell where the daemon is, broken or not.
	p.WriteFile("lvsd.toml", good+"\n[broken\n")
	if out, err := lb.run("reload", "-c", p.file, "--director", "lb1"); exitCode(err) != 1 || !strings.Contains(out, "lvsd.toml:") {
		t.Errorf("lvsd reload with a broken file: %v\n%s", err, out)
	}
	// What the kernel refuses is no success: it takes no broadcast address.
	p.WriteFile("lvsd.toml", strings.Replace(good, "real_servers = [", "real_servers = [\n  { address = \"10.77.0.255:80\", weight = 1 },", 1))
	if out, err := lb.reload(); exitCode(err) != 1 || !contains(out, "10.77.0.255:80", "not taken all of it") {
		t.Errorf("a real server that the kernel refuses: %v\n%s", err, out)
	}
	p.WriteFile("lvsd.toml", good)
	if out, err := lb.reload(); err != nil {
		t.Errorf("the good file again: %v\n%s", err, out)
	}
	if got := lb.metric("lvsd_config_last_reload_successful"); got != "1" {
		t.Errorf("lvsd_config_last_reload_successful %s after a good reload", got)
	}
	if s := p.lb[1].state(); s != "backup" {
		t.Errorf("the backup became %s meanwhile", s)
	}
}

// TestDriftIsRepaired changes the table by hand: what is ours comes back, what
// is not is left alone.
func TestDriftIsRepaired(t *testing.T) {
	p, _ := webPair(t, 2, nil)
	lb := p.lb[0]
	rs1, rs2 := p.real[0].Addr().String()+":80", p.real[1].Addr().String()+":80"
	lb.MustRun("ipvsadm", "-A", "-t", "10.77.0.200:443", "-s", "wrr")
	lb.MustRun("ipvsadm", "-a", "-t", "10.77.0.200:443", "-r", "10.77.0.21", "-g", "-w", "9")
	for _, c := range []struct {
		kind string
		args []string
		back func() bool
	}{
		{"destination_changed", []string{"-e", "-t", vipPort, "-r", rs1, "-g", "-w", "77"}, func() bool { return lb.procWeight(rs1) == 1 }},
		{"destination_missing", []string{"-d", "-t", vipPort, "-r", rs2}, func() bool { return lb.procWeight(rs2) == 1 }},
		{"service_missing", []string{"-D", "-t", vipPort}, func() bool { return lb.procWeight(rs1) == 1 && lb.procWeight(rs2) == 1 }},
		{"service_changed", []string{"-E", "-t", vipPort, "-s", "sh"}, func() bool { return strings.Contains(lb.ipvsadm(), vipPort+" -s rr") }},
	} {
		series := fmt.Sprintf("lvsd_ipvs_drift_total{kind=%q}", c.kind)
		before := lb.metric(series)
		lb.MustRun(append([]string{"ipvsadm"}, c.args...)...)
		took := p.WaitUntil(5*time.Second, "repair of "+c.kind, c.back)
		t.Logf("%s repaired after %v", c.kind, took)
		p.WaitUntil(5*time.Second, series+" to count", func() bool { return lb.metric(series) != before })
	}
	out := lb.ipvsadm()
	if !strings.Contains(out, "-A -t 10.77.0.200:443 -s wrr") || !strings.Contains(out, "-w 9") {
		t.Errorf("a service that is not ours was touched:\n%s", out)
	}
	lb.MustRun("ipvsadm", "-a", "-t", vipPort, "-r", "10.77.0.99:80", "-g", "-w", "1")
	p.WaitUntil(5*time.Second, "the foreign entry to be counted", func() bool { return lb.metric("lvsd_ipvs_foreign_entries") == "1" })
	if w := lb.kernelWeight("10.77.0.99:80"); w != 1 {
		t.Errorf("a foreign real server has weight %d, want it left alone: foreign is alarm", w)
	}
	if s, err := lb.status(); err != nil || s.Healthy {
		t.Errorf("a foreign entry raises nothing: %+v, %v", s, err)
	}
}

// TestRestartKeepsTheTable kills the daemon under traffic: nothing is removed
// or written anew, and what left the file meanwhile is removed at the start.
func TestRestartKeepsTheTable(t *testing.T) {
	p, servers := webPair(t, 3, nil)
	lb := p.lb[0]
	p.lb[1].stop() // nobody takes over meanwhile
	servers[2].Refuse()
	lb.waitWeight(p.real[2].Addr().String()+":80", 0, 5*time.Second)
	before := lb.ipvsadm()
	talk := lab.Converse(p.client, vipPort)
	talk.Keep(20*time.Millisecond, 2*time.Second)
	lb.kill()
	if after := lb.ipvsadm(); after != before {
		t.Errorf("the kernel's table went with the daemon:\n%s", after)
	}
	lb.start()
	lb.wait("master", 30*time.Second)
	// Until the verdicts are in the failed server keeps weight 0, the others
	// theirs; after them nothing is different.
	p.WaitUntil(5*time.Second, "all verdicts", func() bool {
		s, err := lb.status()
		if err != nil || len(s.Services) == 0 {
			return false
		}
		for _, rs := range s.Services[0].RealServers {
			if rs.Verdict == "unknown" {
				return false
			}
		}
		return true
	})
	if after := lb.ipvsadm(); after != before {
		t.Errorf("the table changed from\n%s to\n%s", before, after)
	}
	for _, op := range []string{"add_service", "delete_service", "add_destination", "delete_destination", "update_destination", "update_service"} {
		if got := lb.metric(fmt.Sprintf(`lvsd_ipvs_operations_total{operation=%q,result="ok"}`, op)); got != "0" && got != "absent" {
			t.Errorf("%s: %s writes after a restart without a change", op, got)
		}
	}
	if err := talk.Err(); err != nil {
		t.Errorf("a connection did not survive the restart: %v", err)
	}
	talk.Close()

	lb.kill()
	servers[2].Start()
	p.services = p.web(quick, 1, 1)
	p.write()
	lb.start()
	p.WaitUntil(5*time.Second, "the server that left the file to leave the table", func() bool {
		return lb.procWeight(p.real[2].Addr().String()+":80") == -1
	})
}

// TestReloadOfOneWeightIsOneWrite counts kernel writes for one changed weight
// among a thousand real servers.
func TestReloadOfOneWeightIsOneWrite(t *testing.T) {
	p := newPair(t, 1)
	lb := p.lb[0]
	p.real[0].ServePrefix("10.78.0.0/16")
	lb.OnLink("10.78.0.0/16")
	table := func(changed int) string {
		var b strings.Builder
		for s := range 10 {
			fmt.Fprintf(&b, "[[virtual_service]]\nname = \"s%d\"\naddress = \"%s:%d\"\ncheck = { type = \"on\" }\nreal_servers = [\n", s, vip, 8000+s)
			for r := range 100 {
				weight := 1
				if s == 4 && r == 50 {
					weight = changed
				}
				fmt.Fprintf(&b, "  { address = \"10.78.%d.%d:%d\", weight = %d },\n", s, r+1, 8000+s, weight)
			}
			b.WriteString("]\n")
		}
		return b.String()
	}
	p.services = table(1)
	lb.start()
	took := lb.waitWeight("10.78.9.100:8009", 1, 30*time.Second)
	lb.wait("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "all servers", func() bool { return writes(lb) >= 1010 })
	t.Logf("FIGURE 1,000 real servers in the kernel %v after the start", took)
	before := writes(lb)
	p.services = table(9)
	p.write()
	start := time.Now()
	if out, err := lb.reload(); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	t.Logf("FIGURE reload of one weight among 1,000, as the command sees it: %v", time.Since(start))
	if w := lb.kernelWeight("10.78.4.51:8004"); w != 9 {
		t.Errorf("weight in the kernel: %d, want 9", w)
	}
	// The series are a second old at most: read them when the kernel was compared
	// in full since.
	done := float64(time.Now().Unix())
	p.WaitUntil(30*time.Second, "a comparison after the reload", func() bool {
		return lb.number("lvsd_ipvs_last_resync_timestamp_seconds") > done+1
	})
	if got := writes(lb) - before; got != 1 {
		t.Errorf("one changed weight took %v kernel writes, want 1", got)
	}
}

// writes is the number of kernel writes so far.
func writes(d *director) int {
	text, err := d.get("/metrics")
	if err != nil {
		d.p.t.Fatal(err)
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

// TestMetricsPassPromtool lets Prometheus's own linter read every series.
func TestMetricsPassPromtool(t *testing.T) {
	p, servers := webPair(t, 2, nil)
	servers[1].Refuse()
	p.lb[0].waitWeight(p.real[1].Addr().String()+":80", 0, 5*time.Second)
	p.lb[0].CutCable() // so that transitions are among the series
	p.lb[1].wait("master", 30*time.Second)
	for _, d := range p.lb {
		text, err := d.get("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		file := p.WriteFile(d.Name+".metrics", text)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		out, err := d.Run(ctx, "sh", "-c", "promtool check metrics < "+file)
		cancel()
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("%s: %v\n%s", d.Name, err, out)
		}
		for _, series := range []string{
			`lvsd_vrrp_state{state="master",vrrp="web"}`, `lvsd_vrrp_priority{vrrp="web"}`, `lvsd_virtual_service_up{service="web"}`,
			`lvsd_config_last_reload_successful`, `lvsd_ipvs_up`, `lvsd_ipvs_last_resync_timestamp_seconds`,
			`lvsd_real_server_up{real_server="10.77.0.21:80",service="web"}`, `lvsd_checks_total{real_server="10.77.0.22:80",reason="refused",service="web"}`,
			`lvsd_vrrp_timer_lag_seconds_count`, `lvsd_check_lag_seconds_count`,
		} {
			if !strings.Contains(text, "\n"+series+" ") {
				t.Errorf("%s shows no %s", d.Name, series)
			}
		}
	}
	if got := p.lb[1].metric(`lvsd_vrrp_state{state="master",vrrp="web"}`); got != "1" {
		t.Errorf("state of the master: %s", got)
	}

	// A reload turns the series of each server off; their sums stay.
	p.WriteFile("lvsd.toml", strings.Replace(p.config(), "[global]\n", "[global]\nper_server_metrics = false\n", 1))
	if out, err := p.lb[1].reload(); err != nil {
		t.Fatal(out, err)
	}
	if got := p.lb[1].metric(`lvsd_virtual_service_real_servers{service="web",state="up"}`); got != "1" {
		t.Errorf("%s servers are up by the sum", got)
	}
	if text, err := p.lb[1].get("/metrics"); err != nil || strings.Contains(text, "real_server=") {
		t.Errorf("series of servers are there: %v", err)
	}
}

// TestCommands runs what a user types.
func TestCommands(t *testing.T) {
	p, _ := webPair(t, 2, nil)
	lb := p.lb[0]
	out, err := lb.run("status", "--socket", lb.socket)
	if err != nil || !contains(out, "director lb1 at ", ": well", "master, 200", vip+"/32", "SERVICE web tcp "+vipPort+" rr: up", "10.77.0.21:80", "connect ok") {
		t.Errorf("status: %v\n%s", err, out)
	}
	t.Logf("\n%s", out)
	if out, err := lb.run("status", "-c", p.file, "--director", "lb1", "--json"); err != nil || !contains(out, `"director": "lb1"`, `"healthy": true`) {
		t.Errorf("status --json: %v\n%s", err, out)
	}
	if out, err := lb.run("why", "web", "10.77.0.21:80", "--socket", lb.socket); err != nil || !contains(out, "web 10.77.0.21:80: weight 1 of 1, up", "configured", "in the file, line", "check connect 10.77.0.21:80: up", " ok ") {
		t.Errorf("why: %v\n%s", err, out)
	}
	if out, err := lb.run("why", "nothing", "--socket", lb.socket); exitCode(err) != 1 || !strings.Contains(out, "no service nothing") {
		t.Errorf("why of nothing: %v\n%s", err, out)
	}
	if out, err := lb.run("events", "--since", "1h", "--socket", lb.socket); err != nil || !contains(out, "backup → master", "10.77.0.22:80", "unknown → up") {
		t.Errorf("events: %v\n%s", err, out)
	}
	if out, err := lb.run("check", "-c", p.file); err != nil || !strings.Contains(out, "good") {
		t.Errorf("check: %v\n%s", err, out)
	}
	if out, err := lb.run("check", "-c", p.file, "--host", "--director", "lb1"); err != nil {
		t.Errorf("check --host: %v\n%s", err, out)
	}
	if out, err := lb.run("version"); err != nil || !contains(out, "lvsd ", "kernel IPVS: 1.2.1") {
		t.Errorf("version: %v\n%s", err, out)
	}
	if out, err := lb.run("stauts"); exitCode(err) != 2 {
		t.Errorf("an unknown command: %v\n%s", err, out)
	}
	if out, err := lb.run("status", "--socket", p.Path("nobody")); exitCode(err) != 1 || !strings.Contains(out, "is lvsd running") {
		t.Errorf("no daemon: %v\n%s", err, out)
	}
	if text, err := lb.get("/healthz"); err != nil || text != "ok\n" {
		t.Errorf("healthz: %v %s", err, text)
	}
	p.services = p.web(quick, 1, 5)
	p.write()
	if err := lb.process.Signal(hangup); err != nil {
		t.Fatal(err)
	}
	lb.waitWeight(p.real[1].Addr().String()+":80", 5, 5*time.Second)
	for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template"} {
		if v, err := lb.Sysctl("net.ipv4.vs." + name); err != nil || v != "1" {
			t.Errorf("%s is %s, %v", name, v, err)
		}
	}
}
