package checks_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestProbeAndWhy: lvsd probe runs the checks once and prints each step, with and without a
// daemon; lvsd why prints every reason of a weight.
func TestProbeAndWhy(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	p.Services = p.WebService(httpCheck, 3, 2)
	p.WriteConfig()
	lb := p.LB[0]
	good := lab.ServeHTTP(p.Real[0], ":80", "rs1")
	rs1, rs2 := p.Real[0].Addr().String()+":80", p.Real[1].Addr().String()+":80"
	probe := func(code int, texts []string, args ...string) string {
		t.Helper()
		c := lb.Start(append([]string{lvsdtest.Binary(t), "probe", "-c", p.ConfigFile, "--director", "lb1"}, args...)...)
		lvsdtest.WaitExit(t, c, code, texts...)
		return c.Output()
	}
	probe(0, []string{"web " + rs1 + ": http check of " + rs1, "connect  10.77.0.11:", " to " + rs1, "send ", "GET /healthz HTTP/1.1", "receive ", "HTTP/1.1 200 OK", "ok: "}, "web", rs1)
	probe(1, []string{"web " + rs2 + ": http check of", "refused in phase connect"}, "web", rs2)
	good.SetHealthy(false)
	probe(1, []string{"status in phase receive: ", "503"}, "web", rs1)
	good.SetHealthy(true)
	all := probe(1, nil, "--json")
	var goods []bool
	for line := range strings.Lines(all) {
		var r struct {
			RealServer string `json:"real_server"`
			Good       bool   `json:"good"`
			Probe      struct{ Reason string }
			Steps      []struct{ Phase, Text string }
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Good != (r.RealServer == rs1) || r.Good == (r.Probe.Reason != "ok") || r.Good != (len(r.Steps) == 3) {
			t.Errorf("%v: %s", err, line)
		}
		goods = append(goods, r.Good)
	}
	if len(goods) != 2 {
		t.Errorf("%d checks:\n%s", len(goods), all)
	}
	probe(1, []string{"there are: web"}, "wbe")
	probe(1, []string{"has no real server"}, "web", "10.77.0.99:80")

	lb.StartDaemon()
	lb.WaitState("master", 10*time.Second)
	lb.WaitWeights(10*time.Second, 3, 0)
	out, err := lb.LVSD("why", "web", "--socket", lb.Socket)
	if err != nil || !lvsdtest.ContainsAll(out, p.ConfigFile, "web "+rs1+": weight 3 of 3, up", "limit from configuration:  3  weight 3 in the file, line ", "web "+rs2+": weight 0 of 2, down",
		"limit from health checks:  0  http refused", "waiting for: 1 successful checks in a row of http "+rs2, "refused  connect") {
		t.Errorf("why: %v\n%s", err, out)
	}
	p.EditConfig(rs1+`", weight = 3`, rs1+`", weight = 3, drain_until = 2036-12-01T06:00:00Z`)
	lb.MustReload()
	out, err = lb.LVSD("why", "web", rs1, "--socket", lb.Socket)
	if err != nil || !lvsdtest.ContainsAll(out, "drained until 2036-12-01T06:00:00Z (drain_until in the file, line ", "then weight 3", "waiting for: 2036-12-01T06:00:00Z, or lvsd undrain") {
		t.Errorf("why: %v\n%s", err, out)
	}
}
