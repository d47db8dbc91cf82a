package operate_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestCommandsOnTheLiveTable lists the connections of a service, resets its counters, and
// exports the table for ipvsadm, which restores the same table from that.
func TestCommandsOnTheLiveTable(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.AdvertInterval = "1s"
	p.ServeLines()
	p.Services = lvsdtest.Replace(t, p.WebService(lvsdtest.QuickCheck, 1, 2), `10.77.0.22:80", weight = 2`, `10.77.0.22:80", weight = 2, upper_threshold = 9, lower_threshold = 3`)
	lb := p.LB[0]
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	lb.WaitWeights(30*time.Second, 1, 2)
	talk := lab.Converse(p.Client, lvsdtest.VIPPort)
	defer talk.Close()

	out, err := lb.LVSD("status", "--connections", "web", "--socket", lb.Socket)
	if err != nil || !lvsdtest.ContainsAll(out, "web", "10.77.0.2:", lvsdtest.VIPPort, "10.77.0.2"+talk.Server[2:]+":80", "ESTABLISHED", "own") {
		t.Errorf("connections: %v\n%s", err, out)
	}
	out, err = lb.LVSD("status", "--connections", "--json", "--socket", lb.Socket)
	var list struct {
		Connections []struct{ Service, State, Origin string }
		More        bool
	}
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Connections) != 1 || list.Connections[0].Service != "web" || list.More {
		t.Errorf("connections as JSON: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("status", "web", "--socket", lb.Socket); err != nil || !lvsdtest.ContainsAll(out, "SERVICE web", "10.77.0.21:80", "LAST CHANGES") {
		t.Errorf("status of one service: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("status", "wbe", "--socket", lb.Socket); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "there are: web") {
		t.Errorf("status of an unknown service: %v\n%s", err, out)
	}
	if out, err := lb.LVSD("status", "--unhealthy", "--socket", lb.Socket); err != nil || strings.Contains(out, "SERVICE web") || !strings.Contains(out, "2 of 2 real servers are healthy and hidden") {
		t.Errorf("status --unhealthy: %v\n%s", err, out)
	}
	if _, err := lb.LVSD("status", "--sort", "beauty", "--socket", lb.Socket); lvsdtest.ExitCode(err) != 2 {
		t.Errorf("status in no order: %v", err)
	}
	if own, synced := lb.Metric(`lvsd_ipvs_connections{origin="own"}`), lb.Metric(`lvsd_ipvs_connections{origin="synced"}`); own != "1" || synced != "0" {
		t.Errorf("connections by origin: %s own, %s synced", own, synced)
	}

	total := func() string { return lb.Metric(`lvsd_virtual_service_connections_total{service="web"}`) }
	p.WaitUntil(30*time.Second, "a counted connection", func() bool { return total() == "1" })
	if out, err := lb.LVSD("zero", "web", "--socket", lb.Socket); err != nil || !strings.Contains(out, "counters reset: web") {
		t.Errorf("zero: %v\n%s", err, out)
	}
	p.WaitUntil(30*time.Second, "counters of zero", func() bool { return total() == "0" })
	if out, err := lb.LVSD("zero", "wbe", "--socket", lb.Socket); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "there are: web") {
		t.Errorf("zero of an unknown service: %v\n%s", err, out)
	}
	if err := talk.Err(); err != nil {
		t.Errorf("the connection broke: %v", err)
	}

	before, err := lb.LVSD("export", "ipvsadm")
	if err != nil || !lvsdtest.ContainsAll(before, "-A -t "+lvsdtest.VIPPort+" -s rr", "-x 9 -y 3") {
		t.Fatalf("export: %v\n%s", err, before)
	}
	file := p.WriteFile("table", before)
	lb.Process.Terminate()
	<-lb.Process.Done()
	lb.MustRun("ipvsadm", "-C")
	lb.MustRun("sh", "-c", "ipvsadm -R <"+file)
	if after, err := lb.LVSD("export", "ipvsadm"); err != nil || after != before {
		t.Errorf("after ipvsadm -R: %v\n%s\nwant\n%s", err, after, before)
	}
}
