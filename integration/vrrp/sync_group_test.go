package vrrp_test

import (
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestSyncGroupOverTwoLANs: a group stays with its master when one member of the backup
// alone receives no adverts: because the member is configured on the backup only so far, and
// later because adverts are lost on its LAN. No connect of a client fails meanwhile.
func TestSyncGroupOverTwoLANs(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	const second = "10.78.0.100"
	inner := p.LAN("inner", "10.78.0.0/24")
	dev := [2]string{}
	for i, d := range p.LB {
		dev[i] = d.Plug(inner, []string{"10.78.0.11/24", "10.78.0.12/24"}[i])
		lab.ServeLines(d.Host, ":80", d.Name)
	}
	p.WriteConfig()
	p.EditConfig(`addresses = ["`+lvsdtest.VIP+`"]`, `addresses = ["`+lvsdtest.VIP+`"]
sync_group = "both"`)
	p.LB[0].StartMaster(0)
	p.LB[1].StartDaemon()
	p.LB[1].WaitState("backup", 30*time.Second)
	outage := lab.StartOutage(p.Client, lvsdtest.VIP+":80", lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(20, 20*time.Second)
	began := time.Now()

	p.EditConfig(`sync_group = "both"`, `sync_group = "both"

[[vrrp]]
name = "inner"
interface = { lb1 = "`+dev[0]+`", lb2 = "`+dev[1]+`" }
virtual_router_id = 99
priority = { lb1 = 200, lb2 = 100 }
advert_interval = "300ms"
sync_group = "both"
addresses = ["`+second+`"]`)
	waits := `not taking over: sync group member "web" follows the master 10.77.0.11`
	p.LB[1].MustReload()
	p.LB[1].WaitProblem(waits, true)
	p.LB[0].MustReload()
	p.LB[1].WaitProblem(waits, false)
	p.WaitUntil(30*time.Second, "both addresses on lb1", func() bool { return p.LB[0].Holds(lvsdtest.VIP) && p.LB[0].HoldsOn(dev[0], second) })

	waits = `not taking over: sync group member "inner" follows the master 10.78.0.11`
	p.LB[1].Netem(lab.Impairment{Loss: 100, Direction: lab.Inbound})
	p.LB[1].WaitProblem(waits, true)
	p.LB[1].ClearNetem()
	p.LB[1].WaitProblem(waits, false)

	if failed := outage.Stop().FailedBetween(began, time.Now()); len(failed) > 0 {
		t.Errorf("%d connects failed, the first at %v", len(failed), failed[0])
	}
	for _, name := range []string{"web", "inner"} {
		for _, reason := range []string{"silence", "sync_group"} {
			if n := p.LB[1].Metric(`lvsd_vrrp_transitions_total{reason="` + reason + `",to="master",vrrp="` + name + `"}`); n != "absent" && n != "0" {
				t.Errorf("%s became master on lb2: %s by %s", name, n, reason)
			}
		}
	}
	if p.LB[1].Holds(lvsdtest.VIP) || p.LB[1].HoldsOn(dev[1], second) {
		t.Error("lb2 has an address")
	}
	// All is lost with the director: both move.
	p.LB[0].StopDaemon()
	p.WaitUntil(30*time.Second, "both addresses on lb2", func() bool { return p.LB[1].Holds(lvsdtest.VIP) && p.LB[1].HoldsOn(dev[1], second) })
}
