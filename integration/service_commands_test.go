package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// TestCommandsOnTheLiveTable: the connections of a service, its counters set to
// zero, and the table in ipvsadm's words, which makes the same table again.
func TestCommandsOnTheLiveTable(t *testing.T) {
	p := newPair(t, 2)
	p.prepareDR()
	p.advert = "1s"
	for _, r := range p.real {
		lab.ServeLines(r, ":80", r.Name)
	}
	p.services = replace(t, p.web(quick, 1, 2), `10.77.0.22:80", weight = 2`, `10.77.0.22:80", weight = 2, upper_threshold = 9, lower_threshold = 3`)
	lb := p.lb[0]
	lb.start()
	lb.wait("master", 15*time.Second)
	lb.weights(30*time.Second, 1, 2)
	talk := lab.Converse(p.client, vipPort)
	defer talk.Close()

	out, err := lb.run("status", "--connections", "web", "--socket", lb.socket)
	if err != nil || !contains(out, "web", "10.77.0.2:", vipPort, "10.77.0.2"+talk.Server[2:]+":80", "ESTABLISHED", "own") {
		t.Errorf("connections: %v\n%s", err, out)
	}
	out, err = lb.run("status", "--connections", "--json", "--socket", lb.socket)
	var list struct {
		Connections []struct{ Service, State, Origin string }
		More        bool
	}
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Connections) != 1 || list.Connections[0].Service != "web" || list.More {
		t.Errorf("connections as JSON: %v\n%s", err, out)
	}
	if out, err := lb.run("status", "web", "--socket", lb.socket); err != nil || !contains(out, "SERVICE web", "10.77.0.21:80", "LAST CHANGES") {
		t.Errorf("status of one service: %v\n%s", err, out)
	}
	if out, err := lb.run("status", "wbe", "--socket", lb.socket); exitCode(err) != 1 || !strings.Contains(out, "there are: web") {
		t.Errorf("status of no service: %v\n%s", err, out)
	}
	if out, err := lb.run("status", "--unhealthy", "--socket", lb.socket); err != nil || strings.Contains(out, "SERVICE web") || !strings.Contains(out, "2 of 2 real servers are as they should be") {
		t.Errorf("status --unhealthy: %v\n%s", err, out)
	}
	if _, err := lb.run("status", "--sort", "beauty", "--socket", lb.socket); exitCode(err) != 2 {
		t.Errorf("status in no order: %v", err)
	}
	if own, synced := lb.metric(`lvsd_ipvs_connections{origin="own"}`), lb.metric(`lvsd_ipvs_connections{origin="synced"}`); own != "1" || synced != "0" {
		t.Errorf("connections by origin: %s own, %s synced", own, synced)
	}

	total := func() string { return lb.metric(`lvsd_virtual_service_connections_total{service="web"}`) }
	p.WaitUntil(30*time.Second, "a counted connection", func() bool { return total() == "1" })
	if out, err := lb.run("zero", "web", "--socket", lb.socket); err != nil || !strings.Contains(out, "set to zero: web") {
		t.Errorf("zero: %v\n%s", err, out)
	}
	p.WaitUntil(30*time.Second, "counters of zero", func() bool { return total() == "0" })
	if out, err := lb.run("zero", "wbe", "--socket", lb.socket); exitCode(err) != 1 || !strings.Contains(out, "there are: web") {
		t.Errorf("zero of a service that is not there: %v\n%s", err, out)
	}
	if err := talk.Err(); err != nil {
		t.Errorf("the connection broke: %v", err)
	}

	before, err := lb.run("export", "ipvsadm")
	if err != nil || !contains(before, "-A -t "+vipPort+" -s rr", "-x 9 -y 3") {
		t.Fatalf("export: %v\n%s", err, before)
	}
	file := p.WriteFile("table", before)
	lb.process.Terminate()
	<-lb.process.Done()
	lb.MustRun("ipvsadm", "-C")
	lb.MustRun("sh", "-c", "ipvsadm -R <"+file)
	if after, err := lb.run("export", "ipvsadm"); err != nil || after != before {
		t.Errorf("after ipvsadm -R: %v\n%s\nwant\n%s", err, after, before)
	}
}
