package operate_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestAutoReload edits the file in place and replaces it: each change is loaded, and a
// broken file is refused once and changes nothing.
func TestAutoReload(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.Services = p.WebService(`{ type = "on" }`, 5)
	lb, server := p.LB[0], p.Real[0].Addr().String()+":80"
	text := func(weight string) string {
		return lvsdtest.Replace(t, lvsdtest.Replace(t, p.Config(), "weight = 5", "weight = "+weight), "[global]\n", "[global]\nauto_reload = true\n")
	}
	p.WriteConfigText(text("5"))
	lb.StartDaemon()
	lb.WaitWeight(server, 5, 30*time.Second)
	p.WriteFile("lvsd.toml", text("6"))
	lb.WaitWeight(server, 6, 30*time.Second)
	if err := os.Rename(p.WriteFile("next.toml", text("7")), p.ConfigFile); err != nil {
		t.Fatal(err)
	}
	lb.WaitWeight(server, 7, 30*time.Second)

	p.WriteFile("lvsd.toml", text("70000"))
	lb.WaitProblem("the last reload was rejected", true)
	p.WriteFile("beside.toml", "") // a change of another file is ignored
	p.WriteFile("lvsd.toml", text("8"))
	lb.WaitWeight(server, 8, 30*time.Second)
	lb.WaitProblem("the last reload was rejected", false)
	if n := strings.Count(lb.Process.Output(), "to=refused"); n != 1 {
		t.Errorf("the broken file was refused %d times", n)
	}
	if s, err := lb.Status(); err != nil || len(s.VRRP) != 1 || s.VRRP[0].State == "fault" {
		t.Errorf("%+v, %v", s.VRRP, err)
	}
}
