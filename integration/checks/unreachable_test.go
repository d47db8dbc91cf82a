package checks_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestUnreachableServers: a silent UDP server is down when its host is gone, which the
// kernel reports after the probe, and when a route of this director leads nowhere. One that
// this director cannot probe keeps its health, which is a problem.
func TestUnreachableServers(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	lb := p.LB[0]
	p.Services = fmt.Sprintf("[[virtual_service]]\nname = \"web\"\naddress = \"%s:53\"\nprotocol = \"udp\"\nforward = \"dr\"\n"+
		"check = { type = \"udp\", send = \"x\", interval = \"500ms\", timeout = \"200ms\" }\nreal_servers = [\n", lvsdtest.VIP)
	for _, r := range p.Real {
		udp, err := r.ListenPacket("udp", ":53")
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		p.Services += fmt.Sprintf("  { address = %q },\n", r.Addr().String()+":53")
	}
	p.Services += "]\n"
	lb.StartDaemon()
	waitHealth := func(i int, health, why string) {
		t.Helper()
		p.WaitUntil(60*time.Second, health+": "+why, func() bool {
			s, err := lb.Status()
			return err == nil && len(s.Services) == 1 && s.Services[0].RealServers[i].Health == health && strings.Contains(s.Services[0].RealServers[i].Why, why)
		})
	}
	waitHealth(0, "up", "")
	waitHealth(1, "up", "")

	p.Real[0].CutCable()
	waitHealth(0, "down", "unreachable")
	p.Real[0].PlugCable()
	waitHealth(0, "up", "")

	lost := p.Real[1].Addr().String() + "/32"
	lb.MustRun("ip", "route", "add", "blackhole", lost)
	waitHealth(1, "down", "unreachable")
	lb.MustRun("ip", "route", "del", "blackhole", lost)
	waitHealth(1, "up", "")

	p.EditConfig(`send = "x",`, `send = "x", from = "10.77.0.99",`)
	lb.MustReload()
	lb.WaitProblem("2 of 2 real servers are unchecked", true)
	waitHealth(0, "up", "EADDRNOTAVAIL")
	if series := fmt.Sprintf(`lvsd_real_server_unchecked{real_server="%s:53",service="web"}`, p.Real[0].Addr()); lb.Metric(series) != "1" {
		t.Errorf("%s is %s", series, lb.Metric(series))
	}
	if out, err := lb.LVSD("check", "--host", "-c", p.ConfigFile, "--director", "lb1"); err == nil || !strings.Contains(out, "failed to bind to 10.77.0.99") {
		t.Errorf("lvsd check --host: %v\n%s", err, out)
	}
}
