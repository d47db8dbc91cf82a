package vrrp_test

import (
	"net"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestAddressConflict: a host on the LAN, and then another program on the backup, take
// the address. Both are named, the master stays master, and what the other program put
// there stays.
func TestAddressConflict(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, nil)
	series := `lvsd_vrrp_address_conflict{address="` + lvsdtest.VIP + `",vrrp="web"}`
	if got := p.LB[0].Metric(series); got != "0" {
		t.Errorf("before: %s", got)
	}
	p.Client.AddAddress("eth0", lvsdtest.VIP+"/32")
	// Its question for a neighbour tells the LAN that it has the address.
	err := p.Client.Do(func() error {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(lvsdtest.VIP)}}
		c, err := d.Dial("udp", "10.77.0.199:9")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.LB[0].WaitProblem(p.Client.MAC("eth0").String(), true)
	p.Client.DelAddress("eth0", lvsdtest.VIP+"/32")
	if got := p.LB[0].Metric(series); got != "1" || p.LB[0].VRRPState() != "master" {
		t.Errorf("%s, %s", got, p.LB[0].VRRPState())
	}

	p.LB[1].AddAddress("eth0", lvsdtest.VIP+"/32")
	p.LB[1].WaitProblem("is on eth0 by another process", true)
	p.WaitUntil(10*time.Second, "the metric of the backup", func() bool { return p.LB[1].Metric(series) == "1" })
	p.LB[1].StopDaemon()
	if !p.LB[1].HoldsOn("eth0", lvsdtest.VIP) {
		t.Error("the address of another program was removed")
	}
}
