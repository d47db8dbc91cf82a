package vrrp_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestHandoverLosesNothing stops the master, and starts it again so that it
// preempts, while a client opens a connection every few milliseconds: none fails.
// The stopping director sends no ARP reply for the address after the new master's
// first advertisement, and leaves no address or setting behind.
func TestHandoverLosesNothing(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) { p.AdvertInterval = "1s" })
	lb1, lb2 := p.LB[0], p.LB[1]
	capture := p.Client.Capture("eth0", func(f lab.Frame) bool {
		a, ok := f.ARP()
		return ok && a.SenderIP == parseAddr(p, lvsdtest.VIP)
	})
	// A long timeout: the start of a process stalls a kernel with one processor for
	// longer than a connect usually takes.
	outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(50, 30*time.Second)

	began := time.Now()
	lb1.Process.Terminate()
	lb2.WaitState("master", 30*time.Second)
	took := time.Since(began)
	p.WaitUntil(30*time.Second, "ARP to be silenced on lb1", func() bool {
		value, err := lb1.Sysctl("net.ipv4.conf.eth0.arp_ignore")
		return err == nil && value == "1"
	})
	onLo := func() bool {
		return slices.ContainsFunc(lb1.Addresses("lo"), func(q netip.Prefix) bool { return q.Addr().String() == lvsdtest.VIP })
	}
	if !onLo() {
		t.Error("ARP is silenced, but the address is not on lo")
	}
	silenced := time.Now()
	<-lb1.Process.Done()
	if code := lb1.Process.ExitCode(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, lb1.Process.Tail(20))
	}
	onlyHolder(p, lb2)
	if value, err := lb1.Sysctl("net.ipv4.conf.eth0.arp_ignore"); err != nil || value != "0" {
		t.Errorf("arp_ignore is left at %s, %v", value, err)
	}
	if onLo() {
		t.Error("the address is left on lo")
	}
	outage.WaitSuccesses(50, 30*time.Second)
	report := outage.Stop()
	t.Logf("FIGURE planned stop at 1 s adverts: takeover after %v, gone after %v: %v", took, time.Since(began), report)
	if report.Failed > 0 {
		t.Errorf("a planned stop failed connects: %v", report)
	}
	old := lb1.MAC("eth0").String()
	for _, f := range capture.Stop() {
		if a, _ := f.ARP(); a.SenderMAC.String() == old && f.At.After(silenced) {
			t.Errorf("lb1 sent an ARP reply %v after ARP was silenced", f.At.Sub(silenced))
		}
	}

	// lb1 returns and preempts; lb2 releases the address in the same way.
	outage = lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(50, 30*time.Second)
	lb1.StartDaemon()
	lb1.WaitState("master", 20*time.Second)
	p.WaitUntil(30*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })
	outage.WaitSuccesses(50, 30*time.Second)
	report = outage.Stop()
	t.Logf("FIGURE preemption at 1 s adverts: %v", report)
	if report.Failed > 0 {
		t.Errorf("a preemption failed connects: %v", report)
	}
}
