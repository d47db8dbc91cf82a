package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// TestProbeAndWhy: the checks run once from the shell, with each step and an exit
// code, with and without a daemon; and why says everything behind a weight.
func TestProbeAndWhy(t *testing.T) {
	p := newPair(t, 2)
	p.prepareDR()
	p.services = p.web(judged, 3, 2)
	p.write()
	lb := p.lb[0]
	good := lab.ServeHTTP(p.real[0], ":80", "rs1")
	rs1, rs2 := p.real[0].Addr().String()+":80", p.real[1].Addr().String()+":80"
	probe := func(code int, texts []string, args ...string) string {
		t.Helper()
		c := lb.Start(append([]string{binary(t), "probe", "-c", p.file, "--director", "lb1"}, args...)...)
		ends(t, c, code, texts...)
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

	lb.start()
	lb.wait("master", 10*time.Second)
	lb.weights(10*time.Second, 3, 0)
	out, err := lb.run("why", "web", "--socket", lb.socket)
	if err != nil || !contains(out, p.file, "web "+rs1+": weight 3 of 3, up", "configured  gives 3  weight 3 in the file, line ", "web "+rs2+": weight 0 of 2, down",
		"verdict     gives 0  http refused", "needs 1 good probes of http "+rs2, "refused  connect") {
		t.Errorf("why: %v\n%s", err, out)
	}
	p.rewrite(replace(t, p.text(), rs1+`", weight = 3`, rs1+`", weight = 3, drain_until = 2036-12-01T06:00:00Z`))
	if out, err := lb.reload(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err = lb.run("why", "web", rs1, "--socket", lb.socket)
	if err != nil || !contains(out, "drained by hand until 2036-12-01T06:00:00Z (drain_until in the file, line ", "then weight 3", "needs the time 2036-12-01T06:00:00Z, or a reload") {
		t.Errorf("why: %v\n%s", err, out)
	}
}

// TestSecondDaemon: one state_dir is one daemon's, and so is a control socket. The
// second is refused with the reason, and the first goes on.
func TestSecondDaemon(t *testing.T) {
	p := newPair(t, 1)
	p.prepareDR()
	lab.ServeLines(p.real[0], ":80", "rs1")
	p.services = p.web(quick, 1)
	lb := p.lb[0]
	lb.start()
	lb.wait("master", 10*time.Second)
	lb.serving(1)
	second := func(text string, reasons ...string) {
		t.Helper()
		c := lb.Start(binary(t), "run", "-c", p.WriteFile("second.toml", text), "--director", "lb1")
		ends(t, c, 1, reasons...)
	}
	noHTTP := replace(t, p.text(), "[global]", "[global]\nhttp_listen = \"\"")
	second(noHTTP, "another lvsd runs with state_dir "+p.Path("lb1.state"), "stop it first, or give this one a state_dir of its own")
	second(replace(t, noHTTP, p.Path("lb1.state"), p.Path("other.state")), "another daemon answers on "+lb.socket)
	second(replace(t, noHTTP, p.Path("lb1.state"), "/proc/lvsd"), "state_dir: ", "make it writable, or set [global] state_dir to another place")
	if s, err := lb.status(); err != nil || !s.Healthy || !lb.process.Running() {
		t.Errorf("the first: %+v, %v", s.Problems, err)
	}
	if weight := lb.procWeight(p.real[0].Addr().String() + ":80"); weight != 1 {
		t.Errorf("weight %d", weight)
	}
}
