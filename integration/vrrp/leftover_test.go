package vrrp_test

import (
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestLeftoversOfACrash: what a killed daemon left of an election that is no longer
// in the file goes when the next one starts, and what is still in it is served
// without a pause; what the last one leaves goes by `lvsd cleanup`.
func TestLeftoversOfACrash(t *testing.T) {
	const other = "10.77.0.101"
	p := lvsdtest.NewPair(t, 1)
	p.PrepareDR()
	lab.ServeLines(p.Real[0], ":80", "rs1")
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	base := lvsdtest.Replace(t, p.Config(), "[ipvs]", "[ipvs]\nsync = { interface = \"eth0\", id = 51 }")
	p.WriteConfigText(base + `
[[vrrp]]
name = "gone"
interface = "eth0"
virtual_router_id = 52
priority = { lb1 = 200, lb2 = 100 }
advert_interval = "300ms"
addresses = ["` + other + `"]
routes = [{ to = "10.9.0.0/16", via = "10.77.0.2", table = 100 }]
rules = [{ from = "` + other + `", table = 100, priority = 1000 }]
`)
	lb := p.LB[0]
	along := func() string {
		return lb.MustRun("ip", "route", "show", "table", "all") + lb.MustRun("ip", "rule", "show")
	}
	there := func(text string) bool { return lvsdtest.ContainsAll(along(), text) }
	lb.StartDaemon()
	p.WaitUntil(30*time.Second, "both masters", func() bool {
		return lb.Holds(lvsdtest.VIP) && lb.Holds(other) && there("10.9.0.0/16") && there("1000:")
	})
	kill := func() {
		t.Helper()
		lb.Process.Kill()
		<-lb.Process.Done()
		if !lb.Holds(lvsdtest.VIP) {
			t.Fatal("a killed daemon's address went by itself")
		}
	}
	kill()

	// Long adverts: it is a backup for as long as the test looks.
	changes := lb.Start("ip", "monitor", "address")
	p.WriteConfigText(lvsdtest.Replace(t, base, `advert_interval = "300ms"`, `advert_interval = "30s"`))
	lb.StartDaemon()
	if lb.Holds(other) || there("10.9.0.0/16") || there("1000:") {
		t.Errorf("what is not in the file is left: %v\n%s", lb.Addresses("eth0"), along())
	}
	if !strings.Contains(lb.Process.Output(), "left an address that is in no election") {
		t.Errorf("it is not told:\n%s", lb.Process.Tail(20))
	}
	p.WaitUntil(30*time.Second, "the rule against resets", func() bool { return there("112:") })
	kill()
	lb.MustRun("ip", "address", "add", "10.77.0.102/32", "dev", "eth0") // what comes before it was told
	p.WaitUntil(10*time.Second, "the changes", func() bool { return strings.Contains(changes.Output(), "10.77.0.102") })
	if said := changes.Output(); !strings.Contains(said, "Deleted") || strings.Contains(said, lvsdtest.VIP) {
		t.Errorf("only what is not in the file is to go:\n%s", said)
	}
	out, err := lb.LVSD("cleanup", "-c", p.ConfigFile, "--director", "lb1")
	if err != nil || !lvsdtest.ContainsAll(out, "took "+lvsdtest.VIP+" off eth0", "took 1 routing rules") || lb.Holds(lvsdtest.VIP) || there("112:") {
		t.Errorf("%v\n%s\n%s", err, out, along())
	}
}
