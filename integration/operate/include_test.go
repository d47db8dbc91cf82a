package operate_test

import (
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestInclude runs a configuration of two files: an error is reported with the included
// file's name, lvsd weight edits that file, and auto_reload takes over a change of it.
func TestInclude(t *testing.T) {
	const first = "include = [\"web.d.toml\"]\n"
	var file, services string
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		services = p.Services
		p.Services = ""
		p.WriteConfigText(first + strings.Replace(p.Config(), "[global]", "[global]\nauto_reload = true", 1))
		file = p.WriteFile("web.d.toml", services)
	})
	lb, real := p.LB[0], p.Real[1].Addr().String()+":80"
	if out, err := lb.LVSD("weight", "web", real, "7", "-c", p.ConfigFile, "--director", lb.Name, "--socket", lb.Socket); err != nil || !lvsdtest.ContainsAll(out, "+++ "+file, "weight = 7") {
		t.Errorf("lvsd weight: %v\n%s", err, out)
	}
	lb.WaitWeight(real, 7, 10*time.Second)
	p.WriteFile("web.d.toml", services)
	lb.WaitWeight(real, 1, 20*time.Second)
	p.WriteFile("web.d.toml", "\n[[virtual_service]]\nnmae = \"web\"\n")
	if out, err := lb.LVSD("check", "-c", p.ConfigFile); err == nil || !strings.Contains(out, file+":3:1: virtual_service[0].nmae: unknown key") {
		t.Errorf("lvsd check: %v\n%s", err, out)
	}
}
