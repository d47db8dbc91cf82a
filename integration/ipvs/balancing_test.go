package ipvs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestFailedAndDrainedServersKeepConnections: a server that refuses connections has weight
// 0 after fall × interval, keeps its open connections, and gets its weight back when it
// recovers. The same for a server that is drained in the file.
func TestFailedAndDrainedServersKeepConnections(t *testing.T) {
	const interval, fall = 100 * time.Millisecond, 3
	p, servers := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) { p.AdvertInterval = "1s" })
	lb := p.LB[0]
	rs1, rs2 := p.Real[0].Addr().String()+":80", p.Real[1].Addr().String()+":80"
	var talks []*lab.Conversation
	on := map[string]int{}
	for range 10 {
		c := lab.Converse(p.Client, lvsdtest.VIPPort)
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
	took := lb.WaitWeight(rs1, 0, 5*time.Second)
	t.Logf("FIGURE from refusal to weight 0 in the kernel: %v (%d × %v)", took, fall, interval)
	now := time.Now()
	if err := p.AtMost("weight 0 of a refusing server", took, fall*interval+50*time.Millisecond, now.Add(-took), now); err != nil {
		t.Error(err)
	}
	alive("with the server failed")
	for range 6 {
		c := lab.Converse(p.Client, lvsdtest.VIPPort)
		if c.Server != "rs2" {
			t.Errorf("a new connection went to %s", c.Server)
		}
		c.Close()
	}
	s, err := lb.Status()
	if err != nil || s.Healthy || s.Services[0].RealServers[0].Health != "down" || !strings.Contains(s.Services[0].RealServers[0].Why, "refused") {
		t.Errorf("status with a failed server: %+v, %v", s, err)
	}
	servers[0].Start()
	lb.WaitWeight(rs1, 1, 5*time.Second)
	alive("with the server back")

	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 0)
	p.WriteConfig()
	for _, d := range p.LB {
		d.MustReload()
		if w := d.KernelWeight(rs2); w != 0 {
			t.Errorf("weight of the drained server on %s after reload returned: %d", d.Name, w)
		}
	}
	for range 6 {
		c := lab.Converse(p.Client, lvsdtest.VIPPort)
		if c.Server != "rs1" {
			t.Errorf("a new connection went to the drained server %s", c.Server)
		}
		c.Close()
	}
	alive("with the server drained")
	s, err = lb.Status()
	if rs := s.Services[0].RealServers[1]; err != nil || !rs.Draining || rs.Active != 5 || !strings.HasPrefix(rs.Why, "drained: ") {
		t.Errorf("status of a drained server: %+v, %v", rs, err)
	}
	if got := lb.Metric(`lvsd_real_server_draining{real_server="` + rs2 + `",service="web"}`); got != "1" {
		t.Errorf("draining metric: %s", got)
	}
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 7)
	p.WriteConfig()
	lb.MustReload()
	if w := lb.KernelWeight(rs2); w != 7 {
		t.Errorf("weight after the drain: %d, want 7", w)
	}
	alive("after the drain")
	for _, c := range talks {
		c.Close()
	}
}

// TestDriftIsRepaired changes the table with ipvsadm: entries of lvsd are restored, those
// of others are left alone.
func TestDriftIsRepaired(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, nil)
	lb := p.LB[0]
	rs1, rs2 := p.Real[0].Addr().String()+":80", p.Real[1].Addr().String()+":80"
	lb.MustRun("ipvsadm", "-A", "-t", "10.77.0.200:443", "-s", "wrr")
	lb.MustRun("ipvsadm", "-a", "-t", "10.77.0.200:443", "-r", "10.77.0.21", "-g", "-w", "9")
	for _, c := range []struct {
		kind string
		args []string
		back func() bool
	}{
		{"destination_changed", []string{"-e", "-t", lvsdtest.VIPPort, "-r", rs1, "-g", "-w", "77"}, func() bool { return lb.ProcWeight(rs1) == 1 }},
		{"destination_missing", []string{"-d", "-t", lvsdtest.VIPPort, "-r", rs2}, func() bool { return lb.ProcWeight(rs2) == 1 }},
		{"service_missing", []string{"-D", "-t", lvsdtest.VIPPort}, func() bool { return lb.ProcWeight(rs1) == 1 && lb.ProcWeight(rs2) == 1 }},
		{"service_changed", []string{"-E", "-t", lvsdtest.VIPPort, "-s", "sh"}, func() bool { return strings.Contains(lb.IPVSTable(), lvsdtest.VIPPort+" -s rr") }},
	} {
		series := fmt.Sprintf("lvsd_ipvs_drift_total{kind=%q}", c.kind)
		before := lb.Metric(series)
		lb.MustRun(append([]string{"ipvsadm"}, c.args...)...)
		took := p.WaitUntil(5*time.Second, "repair of "+c.kind, c.back)
		t.Logf("%s repaired after %v", c.kind, took)
		p.WaitUntil(5*time.Second, series+" to count", func() bool { return lb.Metric(series) != before })
	}
	out := lb.IPVSTable()
	if !strings.Contains(out, "-A -t 10.77.0.200:443 -s wrr") || !strings.Contains(out, "-w 9") {
		t.Errorf("a service of another program was changed:\n%s", out)
	}
	lb.MustRun("ipvsadm", "-a", "-t", lvsdtest.VIPPort, "-r", "10.77.0.99:80", "-g", "-w", "1")
	p.WaitUntil(5*time.Second, "the foreign entry to be counted", func() bool { return lb.Metric("lvsd_ipvs_foreign_entries") == "1" })
	if w := lb.KernelWeight("10.77.0.99:80"); w != 1 {
		t.Errorf("a foreign real server has weight %d, want it unchanged: foreign is alarm", w)
	}
	if s, err := lb.Status(); err != nil || s.Healthy {
		t.Errorf("a foreign entry is not a problem in the status: %+v, %v", s, err)
	}
}

// TestRestartKeepsTheTable kills the daemon under traffic: the next start removes and
// rewrites nothing, except for what was removed from the file meanwhile.
func TestRestartKeepsTheTable(t *testing.T) {
	p, servers := lvsdtest.NewWebPair(t, 3, nil)
	lb := p.LB[0]
	p.LB[1].StopDaemon() // so that there is no takeover
	servers[2].Refuse()
	lb.WaitWeight(p.Real[2].Addr().String()+":80", 0, 5*time.Second)
	before := lb.IPVSTable()
	talk := lab.Converse(p.Client, lvsdtest.VIPPort)
	talk.Keep(20*time.Millisecond, 2*time.Second)
	lb.KillDaemon()
	if after := lb.IPVSTable(); after != before {
		t.Errorf("the kernel's table changed when the daemon was killed:\n%s", after)
	}
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	// Weights stay until the first check results, which change nothing either.
	p.WaitUntil(5*time.Second, "health of all servers", func() bool {
		s, err := lb.Status()
		if err != nil || len(s.Services) == 0 {
			return false
		}
		for _, rs := range s.Services[0].RealServers {
			if rs.Health == "unknown" {
				return false
			}
		}
		return true
	})
	if after := lb.IPVSTable(); after != before {
		t.Errorf("the table changed from\n%s to\n%s", before, after)
	}
	for _, op := range []string{"add_service", "delete_service", "add_destination", "delete_destination", "update_destination", "update_service"} {
		if got := lb.Metric(fmt.Sprintf(`lvsd_ipvs_operations_total{operation=%q,result="ok"}`, op)); got != "0" && got != "absent" {
			t.Errorf("%s: %s writes after a restart without a change", op, got)
		}
	}
	if err := talk.Err(); err != nil {
		t.Errorf("a connection did not survive the restart: %v", err)
	}
	talk.Close()

	lb.KillDaemon()
	servers[2].Start()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 1)
	p.WriteConfig()
	lb.StartDaemon()
	p.WaitUntil(5*time.Second, "the server to be removed from the table", func() bool {
		return lb.ProcWeight(p.Real[2].Addr().String()+":80") == -1
	})
}
