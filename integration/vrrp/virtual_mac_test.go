package vrrp_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// parseAddr parses an IP address.
func parseAddr(p *lvsdtest.Pair, s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		p.T.Fatal(err)
	}
	return a
}

var arpAnswer = regexp.MustCompile(`\[([0-9A-Fa-f:]{17})\]`)

// arpAnswers returns the MAC addresses in the replies to the client's ARP requests for
// the VIP.
func arpAnswers(p *lvsdtest.Pair) []string {
	p.T.Helper()
	out := p.Client.MustRun("arping", "-c", "2", "-w", "5", "-I", "eth0", lvsdtest.VIP)
	var macs []string
	for _, m := range arpAnswer.FindAllStringSubmatch(out, -1) {
		if mac := strings.ToLower(m[1]); !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs
}

// TestVirtualMAC: the MAC address of the VIP is the same with either master, the
// service behind it is balanced, and a stopped director leaves no interface or setting
// behind.
func TestVirtualMAC(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) { p.VRRPKeys = "virtual_mac = true" })
	const mac = "00:00:5e:00:01:33"
	serves := func(when string) {
		t.Helper()
		if got := arpAnswers(p); !slices.Equal(got, []string{mac}) {
			t.Errorf("%s: ARP replies from %v, want %s alone", when, got, mac)
		}
		seen := map[string]int{}
		for range 10 {
			c := lab.Converse(p.Client, lvsdtest.VIPPort)
			seen[c.Server]++
			c.Close()
		}
		if seen["rs1"] != 5 || seen["rs2"] != 5 {
			t.Errorf("%s: 10 connections by rr over two servers: %v", when, seen)
		}
	}
	serves("at first")
	neighbour := func() string { return p.Client.MustRun("ip", "neigh", "show", lvsdtest.VIP) }
	before := neighbour()
	p.LB[0].StopDaemon()
	p.LB[1].WaitState("master", 10*time.Second)
	p.WaitUntil(5*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb2"}) })
	serves("after a planned stop")
	if !strings.Contains(before, mac) || !strings.Contains(neighbour(), mac) {
		t.Errorf("the client's neighbour entry: %s, then %s", before, neighbour())
	}
	if out := p.LB[0].MustRun("ip", "-o", "link", "show", "type", "macvlan"); out != "" {
		t.Errorf("left on lb1: %s", out)
	}
	for _, name := range []string{"net.ipv4.conf.eth0.arp_ignore", "net.ipv4.conf.eth0.arp_announce"} {
		if v, err := p.LB[0].Sysctl(name); err != nil || v != "0" {
			t.Errorf("%s of lb1 is %s, %v", name, v, err)
		}
	}
	p.LB[0].StartDaemon()
	p.LB[0].WaitState("master", 10*time.Second)
	p.WaitUntil(5*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })
	p.LB[0].KillDaemon()
	p.LB[1].WaitState("master", 10*time.Second)
	p.LB[0].StartDaemon() // beside the interface that the killed one left
	p.LB[0].WaitState("master", 10*time.Second)
	p.WaitUntil(5*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })
	p.LB[0].WaitServing(2)
	serves("after a crash")
}
