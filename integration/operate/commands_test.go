package operate_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestCommands runs the commands of everyday use.
func TestCommands(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, nil)
	lb := p.LB[0]
	out, err := lb.LVSD("status", "--socket", lb.Socket)
	if err != nil || !lvsdtest.ContainsAll(out, "director lb1: OK", "master, 200", lvsdtest.VIP+"/32", "SERVICE web tcp "+lvsdtest.VIPPort+" rr: up", "10.77.0.21:80", "connect ok") {
		t.Errorf("status: %v\n%s", err, out)
	}
	t.Logf("\n%s", out)
	if out, err := lb.LVSD("status", "-c", p.ConfigFile, "--director", "lb1", "--json"); err != nil || !lvsdtest.ContainsAll(out, `"director": "lb1"`, `"healthy": true`) {
		t.Errorf("status --json: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("why", "web", "10.77.0.21:80", "--socket", lb.Socket); err != nil || !lvsdtest.ContainsAll(out, "web 10.77.0.21:80: weight 1 of 1, up", "limit from configuration", "in the file, line", "check connect 10.77.0.21:80: up", " ok ") {
		t.Errorf("why: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("why", "nothing", "--socket", lb.Socket); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, `there is no service "nothing"; there are: web`) {
		t.Errorf("why of nothing: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("events", "--since", "1h", "--socket", lb.Socket); err != nil || !lvsdtest.ContainsAll(out, "backup → master", "10.77.0.22:80", "unknown → up") {
		t.Errorf("events: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("check", "-c", p.ConfigFile); err != nil || !strings.Contains(out, "configuration OK") {
		t.Errorf("check: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("check", "-c", p.ConfigFile, "--host", "--director", "lb1"); err != nil {
		t.Errorf("check --host: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("version"); err != nil || !lvsdtest.ContainsAll(out, "lvsd ", "kernel IPVS: 1.2.1") {
		t.Errorf("version: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("stauts"); lvsdtest.ExitCode(err) != 2 {
		t.Errorf("an unknown command: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("status", "--socket", p.Path("absent.sock")); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "is lvsd running") {
		t.Errorf("no daemon: %v\n%s", err, out)
	}
	if text, err := lb.GetAPI("/healthz"); err != nil || text != "ok\n" {
		t.Errorf("healthz: %v %s", err, text)
	}
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 5)
	p.WriteConfig()
	if err := lb.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	lb.WaitWeight(p.Real[1].Addr().String()+":80", 5, 5*time.Second)
	for _, name := range []string{"expire_nodest_conn", "expire_quiescent_template"} {
		if v, err := lb.Sysctl("net.ipv4.vs." + name); err != nil || v != "1" {
			t.Errorf("%s is %s, %v", name, v, err)
		}
	}
}

// TestSecondDaemon: a second daemon with the same state_dir or control socket is refused
// with the reason, and the first continues.
func TestSecondDaemon(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	lb := p.LB[0]
	lb.StartMaster(1)
	second := func(text string, reasons ...string) {
		t.Helper()
		c := lb.Start(lvsdtest.Binary(t), "run", "-c", p.WriteFile("second.toml", text), "--director", "lb1")
		lvsdtest.WaitExit(t, c, 1, reasons...)
	}
	noHTTP := lvsdtest.Replace(t, p.ConfigText(), "[global]", "[global]\nhttp_listen = \"\"")
	second(noHTTP, "another lvsd uses state_dir "+p.Path("lb1.state"), "stop it first, or configure another state_dir")
	second(lvsdtest.Replace(t, noHTTP, p.Path("lb1.state"), p.Path("other.state")), "another daemon uses "+lb.Socket)
	second(lvsdtest.Replace(t, noHTTP, p.Path("lb1.state"), "/proc/lvsd"), "state_dir: ", "make it writable, or change [global] state_dir")
	if s, err := lb.Status(); err != nil || !s.Healthy || !lb.Process.Running() {
		t.Errorf("the first: %+v, %v", s.Problems, err)
	}
	if weight := lb.ProcWeight(p.Real[0].Addr().String() + ":80"); weight != 1 {
		t.Errorf("weight %d", weight)
	}
}
