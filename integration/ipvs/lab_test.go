package ipvs_test

import (
	"fmt"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// The lab itself, without lvsd: its real servers behind an IPVS that is configured with
// ipvsadm, by each forwarding method.

const (
	labVIP = "10.77.0.100"
	labWeb = labVIP + ":80"
)

// labBalance builds a client, a director with the VIP, and two real servers.
func labBalance(t *testing.T, forward string) (client, director *lab.Host, servers []*lab.Host) {
	t.Helper()
	lab.RequireKernel(t)
	l := lab.New(t)
	lan := l.LAN("lan", "10.77.0.0/24")
	client = l.Host("client", lan, "10.77.0.1/24")
	director = l.Host("lb1", lan, "10.77.0.11/24")
	director.AddAddress("eth0", labVIP+"/32")
	director.PrepareDirector()
	for i := range 2 {
		rs := l.Host(fmt.Sprintf("rs%d", i+1), lan, fmt.Sprintf("10.77.0.2%d/24", i+1))
		switch forward {
		case "-g":
			rs.PrepareDR(labVIP)
		case "-i":
			rs.PrepareTUN(labVIP)
		case "-m":
			// Replies to a client of the same LAN would bypass the director.
			rs.PrepareNAT("10.77.0.11")
			rs.Route("10.77.0.1/32", "10.77.0.11")
			rs.SetSysctl("net.ipv4.conf.all.accept_redirects", "0")
		}
		servers = append(servers, rs)
	}
	director.MustRun("ipvsadm", "-A", "-t", labWeb, "-s", "rr")
	for _, rs := range servers {
		director.MustRun("ipvsadm", "-a", "-t", labWeb, "-r", rs.Addr().String()+":80", forward)
	}
	return client, director, servers
}

// TestLabForwarding: each forwarding method balances connections.
func TestLabForwarding(t *testing.T) {
	for _, c := range []struct{ name, flag string }{{"dr", "-g"}, {"tun", "-i"}, {"nat", "-m"}} {
		t.Run(c.name, func(t *testing.T) {
			client, _, servers := labBalance(t, c.flag)
			for _, rs := range servers {
				lab.ServeHTTP(rs, ":80", rs.Name)
			}
			o := lab.StartOutage(client, labWeb, lab.OutageConfig{Ask: lab.AskHTTP, Every: 10 * time.Millisecond})
			o.WaitSuccesses(40, 20*time.Second)
			r := o.Stop()
			t.Log(r)
			if r.Servers["rs1"] < r.Succeeded/3 || r.Servers["rs2"] < r.Succeeded/3 {
				t.Errorf("not balanced: %v", r)
			}
		})
	}
}

// TestLabNginxBehindIPVS: nginx as real servers, one of which stops.
func TestLabNginxBehindIPVS(t *testing.T) {
	client, director, servers := labBalance(t, "-g")
	nginx := lab.Nginx(servers[0], "80", "rs1")
	lab.Nginx(servers[1], "80", "rs2")
	seen := map[string]bool{}
	for range 4 {
		status, body, err := client.Get("http://" + labVIP + "/")
		if err != nil || status != 200 {
			t.Fatalf("status %d: %v", status, err)
		}
		seen[body] = true
	}
	if !seen["rs1\n"] || !seen["rs2\n"] {
		t.Errorf("responses: %v", seen)
	}
	// Round robin still sends every second client to the stopped server: there are no checks.
	nginx.Kill()
	o := lab.StartOutage(client, labWeb, lab.OutageConfig{Ask: lab.AskHTTP, Every: 10 * time.Millisecond})
	o.WaitSuccesses(10, 20*time.Second)
	if r := o.Stop(); r.Failed < 5 {
		t.Errorf("connects to a stopped server did not fail: %v", r)
	}
	director.MustRun("ipvsadm", "-e", "-t", labWeb, "-r", "10.77.0.21:80", "-g", "-w", "0")
	o = lab.StartOutage(client, labWeb, lab.OutageConfig{Ask: lab.AskHTTP, Every: 10 * time.Millisecond})
	o.WaitSuccesses(20, 20*time.Second)
	if r := o.Stop(); r.Errors["connection refused"] != 0 || r.Servers["rs2"] != r.Succeeded {
		t.Errorf("new connections with weight 0: %v", r)
	}
}

// TestLabFaultsOfADirector: the faults that the lab makes are faults for clients, and end.
func TestLabFaultsOfADirector(t *testing.T) {
	client, director, servers := labBalance(t, "-g")
	for _, rs := range servers {
		lab.ServeLines(rs, ":80", rs.Name)
	}
	c := lab.Converse(client, labWeb)
	o := lab.StartOutage(client, labWeb, lab.OutageConfig{Every: 10 * time.Millisecond, Ask: lab.AskLine})
	for _, fault := range []struct {
		name        string
		begin, end  func()
		withCarrier bool
	}{
		{"silence", director.Silence, director.Unsilence, true},
		{"cable", director.CutCable, director.PlugCable, false},
		{"netem", func() { director.Netem(lab.Impairment{Loss: 100}) }, director.ClearNetem, true},
	} {
		o.WaitSuccesses(10, 20*time.Second)
		fault.begin()
		took, ok := lab.Poll(10*time.Second, func() bool { return director.Carrier("eth0") == fault.withCarrier })
		if !ok {
			t.Errorf("%s: carrier %v", fault.name, director.Carrier("eth0"))
		}
		before := o.Successes()
		lab.Poll(300*time.Millisecond, func() bool { return false }) // the length of the outage
		if n := o.Successes() - before; n > 10 {
			t.Errorf("%s: %d connects succeeded meanwhile", fault.name, n)
		}
		fault.end()
		o.WaitSuccesses(10, 20*time.Second)
		if err := c.Say(20 * time.Second); err != nil {
			t.Errorf("%s: %v", fault.name, err)
		}
		t.Logf("%s: noticed after %v", fault.name, took)
	}
	r := o.Stop()
	t.Log(r)
	if r.LongestGap < 300*time.Millisecond {
		t.Errorf("an outage of 300 ms was measured as %v", r.LongestGap)
	}
}

// TestLabUDP: the UDP server of the lab behind IPVS.
func TestLabUDP(t *testing.T) {
	client, director, servers := labBalance(t, "-g")
	director.MustRun("ipvsadm", "-A", "-u", labVIP+":53", "-s", "rr")
	for _, rs := range servers {
		director.MustRun("ipvsadm", "-a", "-u", labVIP+":53", "-r", rs.Addr().String(), "-g")
		lab.ServeUDP(rs, labVIP+":53", rs.Name)
	}
	seen := map[string]int{}
	for range 6 {
		name, err := lab.AskUDP(client, labVIP+":53")
		if err != nil {
			t.Fatal(err)
		}
		seen[name]++
	}
	if seen["rs1"] != 3 || seen["rs2"] != 3 {
		t.Errorf("responses: %v", seen)
	}
}
