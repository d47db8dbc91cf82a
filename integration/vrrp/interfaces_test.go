package vrrp_test

import (
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestAddressOnAnotherInterface: a reload puts a second address of the instance on another
// LAN, where it is announced, and a third instance without addresses beside it. With the
// director everything moves.
func TestAddressOnAnotherInterface(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	const second = "10.78.0.100"
	inner := p.LAN("inner", "10.78.0.0/24")
	dev := [2]string{}
	for i, d := range p.LB {
		dev[i] = d.Plug(inner, []string{"10.78.0.11/24", "10.78.0.12/24"}[i])
	}
	client := p.Client.Plug(inner, "10.78.0.2/24")
	p.StartBoth()
	p.EditConfig(`addresses = ["`+lvsdtest.VIP+`"]`, `addresses = ["`+lvsdtest.VIP+`", { address = "`+second+`", interface = { lb1 = "`+dev[0]+`", lb2 = "`+dev[1]+`" } }]
track_interfaces = [{ name = "`+dev[0]+`", weight = -1 }]

[[vrrp]]
name = "state"
interface = "eth0"
virtual_router_id = 99
priority = { lb1 = 200, lb2 = 100 }
advert_interval = "300ms"
addresses = []`)
	since := p.LB[0].Metric(`lvsd_vrrp_transitions_total{reason="silence",to="master",vrrp="web"}`)
	for i := range p.LB {
		p.LB[1-i].MustReload() // the backup first
	}
	holds := func(i int) bool {
		other := p.LB[1-i]
		return p.LB[i].HoldsOn("eth0", lvsdtest.VIP) && p.LB[i].HoldsOn(dev[i], second) && !p.LB[i].HoldsOn("eth0", second) &&
			!other.Holds(lvsdtest.VIP) && !other.Holds(second)
	}
	state := func(i int) bool {
		return p.LB[i].Metric(`lvsd_vrrp_state{state="master",vrrp="state"}`) == "1"
	}
	p.WaitUntil(30*time.Second, "both addresses on lb1, each on its interface", func() bool { return holds(0) && state(0) && !state(1) })
	if now := p.LB[0].Metric(`lvsd_vrrp_transitions_total{reason="silence",to="master",vrrp="web"}`); now != since {
		t.Errorf("the reload moved the instance: %s before, %s after", since, now)
	}
	p.Client.MustRun("arping", "-c", "2", "-w", "5", "-I", client, second)
	if s := p.LB[0].Metric(`lvsd_vrrp_address_conflict{address="` + second + `",vrrp="web"}`); s != "0" {
		t.Errorf("conflict: %s", s)
	}
	p.LB[0].StopDaemon()
	p.WaitUntil(30*time.Second, "both addresses on lb2", func() bool { return holds(1) && state(1) })
	p.LB[1].KillDaemon()
	out, err := p.LB[1].LVSD("cleanup", "-c", p.ConfigFile, "--director", "lb2")
	if err != nil || p.LB[1].Holds(lvsdtest.VIP) || p.LB[1].Holds(second) {
		t.Errorf("cleanup left addresses: %v: %s", err, out)
	}
}
