package integration

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestAutoReload edits the file as people and programs do: the kernel follows, a
// broken file is refused once and changes nothing.
func TestAutoReload(t *testing.T) {
	p := newPair(t, 1)
	p.services = p.web(`{ type = "on" }`, 5)
	lb, server := p.lb[0], p.real[0].Addr().String()+":80"
	text := func(weight string) string {
		return replace(t, replace(t, p.config(), "weight = 5", "weight = "+weight), "[global]\n", "[global]\nauto_reload = true\n")
	}
	p.file = p.WriteFile("lvsd.toml", text("5"))
	lb.start()
	lb.waitWeight(server, 5, 30*time.Second)
	p.WriteFile("lvsd.toml", text("6"))
	lb.waitWeight(server, 6, 30*time.Second)
	if err := os.Rename(p.WriteFile("next.toml", text("7")), p.file); err != nil {
		t.Fatal(err)
	}
	lb.waitWeight(server, 7, 30*time.Second)

	p.WriteFile("lvsd.toml", text("70000"))
	lb.problem("reload was refused", true)
	p.WriteFile("beside.toml", "") // what happens beside it is not its change
	p.WriteFile("lvsd.toml", text("8"))
	lb.waitWeight(server, 8, 30*time.Second)
	lb.problem("reload was refused", false)
	if n := strings.Count(lb.process.Output(), "to=refused"); n != 1 {
		t.Errorf("the broken file was refused %d times", n)
	}
	if s, err := lb.status(); err != nil || len(s.VRRP) != 1 || s.VRRP[0].State == "fault" {
		t.Errorf("%+v, %v", s.VRRP, err)
	}
}
