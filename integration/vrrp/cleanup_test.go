package vrrp_test

import (
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestCleanupAfterCrashAtStart: a start removes what a killed daemon left of a VRRP
// instance that is no longer configured, and keeps the addresses of the others without
// a gap; `lvsd cleanup` removes what the last daemon left.
func TestCleanupAfterCrashAtStart(t *testing.T) {
	const other = "10.77.0.101"
	p := lvsdtest.NewPair(t, 1)
	p.ServeLines()
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
	routesAndRules := func() string {
		return lb.MustRun("ip", "route", "show", "table", "all") + lb.MustRun("ip", "rule", "show")
	}
	there := func(text string) bool { return lvsdtest.ContainsAll(routesAndRules(), text) }
	lb.StartDaemon()
	p.WaitUntil(30*time.Second, "both masters", func() bool {
		return lb.Holds(lvsdtest.VIP) && lb.Holds(other) && there("10.9.0.0/16") && there("1000:")
	})
	kill := func() {
		t.Helper()
		lb.KillDaemon()
		if !lb.Holds(lvsdtest.VIP) {
			t.Fatal("the address of the killed daemon is gone")
		}
	}
	kill()

	// A long interval: it is backup until the test is over.
	changes := lb.Start("ip", "monitor", "address")
	p.WriteConfigText(lvsdtest.Replace(t, base, `advert_interval = "300ms"`, `advert_interval = "30s"`))
	lb.StartDaemon()
	if lb.Holds(other) || there("10.9.0.0/16") || there("1000:") {
		t.Errorf("not removed, although no longer configured: %v\n%s", lb.Addresses("eth0"), routesAndRules())
	}
	if !strings.Contains(lb.Process.Output(), "removed an address that an earlier run left and no VRRP instance has") {
		t.Errorf("not logged:\n%s", lb.Process.Tail(20))
	}
	p.WaitUntil(30*time.Second, "the rule against resets", func() bool { return there("112:") })
	kill()
	lb.MustRun("ip", "address", "add", "10.77.0.102/32", "dev", "eth0") // once this is printed, all earlier changes were
	p.WaitUntil(10*time.Second, "the changes", func() bool { return strings.Contains(changes.Output(), "10.77.0.102") })
	if out := changes.Output(); !strings.Contains(out, "Deleted") || strings.Contains(out, lvsdtest.VIP) {
		t.Errorf("only what is not configured may be removed:\n%s", out)
	}
	out, err := lb.LVSD("cleanup", "-c", p.ConfigFile, "--director", "lb1")
	if err != nil || !lvsdtest.ContainsAll(out, "removed "+lvsdtest.VIP+" from eth0", "removed 1 routing rule") || lb.Holds(lvsdtest.VIP) || there("112:") {
		t.Errorf("%v\n%s\n%s", err, out, routesAndRules())
	}
}
