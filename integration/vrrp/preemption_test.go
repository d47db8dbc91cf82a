package vrrp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestPreemptionWaitsForConnections: a returning director preempts as soon as it has
// received 95 % of the number of connections that its peer has, and not earlier, however
// long sync_hold is.
func TestPreemptionWaitsForConnections(t *testing.T) {
	const connections, first = 40, 36
	p := lvsdtest.NewPair(t, 2)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 1)
	p.VRRPKeys = `sync_hold = "10m"`
	// The kernel synchronises a connection at every packet, so that the test decides
	// which of them lb1 has received.
	p.WriteConfigText(lvsdtest.Replace(t, p.Config(), "[ipvs]", "[ipvs]\nsync = { interface = \"eth0\", id = 51, threshold = [0, 1], refresh_period = \"0s\" }") +
		p.PeerConfig())
	lb1, lb2 := p.LB[0], p.LB[1]
	lb2.StartMaster(2)
	var talks []*lab.Conversation
	for range connections {
		talks = append(talks, lab.Converse(p.Client, lvsdtest.VIPPort))
	}
	p.WaitUntil(30*time.Second, "lb2 to have counted them", func() bool {
		return lb2.Metric(`lvsd_ipvs_connections{origin="own"}`) == fmt.Sprint(connections)
	})
	// lb2's kernel sends what it collected up to 3 s later: none of it may reach lb1.
	sync := p.Client.Capture("eth0", func(f lab.Frame) bool {
		ip, ok := f.IP()
		return ok && ip.Dst.String() == "224.0.0.81"
	})
	quiet := time.Now()
	p.WaitUntil(60*time.Second, "lb2's synchronisation messages to be sent", func() bool {
		if frames := sync.Frames(); len(frames) > 0 && frames[len(frames)-1].At.After(quiet) {
			quiet = frames[len(frames)-1].At
		}
		return time.Since(quiet) > 4*time.Second
	})
	lb1.StartDaemon()
	waits := func(text string) {
		t.Helper()
		p.WaitUntil(60*time.Second, "lb1 to wait: "+text, func() bool {
			s, err := lb1.Status()
			if err == nil && len(s.VRRP) == 1 && s.VRRP[0].State == "master" {
				t.Fatalf("lb1 is master instead of waiting (%s), with connections %v", text, lb1.ConnectionOrigins())
			}
			return err == nil && len(s.VRRP) == 1 && s.VRRP[0].State == "backup" && strings.Contains(s.VRRP[0].Waits, text)
		})
	}
	p.WaitUntil(30*time.Second, "lb1 to listen", func() bool {
		return lvsdtest.ContainsAll(lb1.MustRun("ipvsadm", "-L", "--daemon"), "backup sync daemon")
	})
	waits(fmt.Sprintf("0 of the %d of lb2 synchronised", connections))
	for _, c := range talks[:first] {
		if err := c.Say(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	waits(fmt.Sprintf("%d of the %d of lb2 synchronised", first, connections))
	if out, err := lb1.LVSD("status", "--socket", lb1.Socket); !strings.Contains(out, "waiting for connections") {
		t.Errorf("not in the status: %v\n%s", err, out)
	}
	for _, c := range talks[first:] {
		if err := c.Say(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	took := lb1.WaitState("master", 60*time.Second)
	if n := lb1.ConnectionOrigins()["SYNC"]; n*100 < connections*95 {
		t.Errorf("it is master with %d of %d connections", n, connections)
	}
	for _, c := range talks {
		if err := c.Say(10 * time.Second); err != nil {
			t.Error(err)
		}
	}
	t.Logf("FIGURE a returning director: master %v after the last connections sent a line, sync_hold 10m", took)
}
