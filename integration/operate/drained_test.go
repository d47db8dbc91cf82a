package operate_test

import (
	"net"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// startDrained starts lvsd drained for a server.
func startDrained(d *lvsdtest.Director, service, real string, more ...string) *lab.Process {
	return d.Start(append([]string{lvsdtest.Binary(d.Pair.T), "drained", service, real, "--socket", d.Socket}, more...)...)
}

// waitOutput waits until a command has printed a text.
func waitOutput(t testing.TB, c *lab.Process, text string) {
	t.Helper()
	if _, err := c.WaitOutput(20*time.Second, text); err != nil {
		t.Fatalf("%v; it printed:\n%s", err, c.Output())
	}
}

// TestDrainedTCP drains a server by its weight in the file of both directors: lvsd drained
// names the director that still uses it, counts the open connection, and ends with that.
// New connections go to other servers meanwhile.
func TestDrainedTCP(t *testing.T) {
	p := exchangePair(t, 2)
	lb1, lb2 := p.LB[0], p.LB[1]
	real := p.Real[1].Addr().String() + ":80"
	lvsdtest.WaitExit(t, startDrained(lb1, "web", real), 1, "not draining (weight 1 in the file", "lvsd drain web ")
	lvsdtest.WaitExit(t, startDrained(lb1, "wbe", real), 1, "there are: web")
	lvsdtest.WaitExit(t, startDrained(lb1, "web", "10.77.0.99:80"), 1, "has no real server")
	var talk *lab.Conversation
	for talk == nil || talk.Server != "rs2" {
		talk = lab.Converse(p.Client, lvsdtest.VIPPort)
	}
	p.EditConfig(real+`", weight = 1`, real+`", weight = 0`)
	lb1.MustReload()
	// The counters may be a second old.
	p.WaitUntil(10*time.Second, "the connection to be counted", func() bool {
		s, err := lb1.Status()
		return err == nil && s.Services[0].RealServers[1].Active == 1
	})
	lvsdtest.WaitExit(t, startDrained(lb1, "web", real, "--timeout", "0s"), 1, "not drained after ", "lb1 has 1 active connection", "lb2 would use it: weight 1 in its file")
	wait := startDrained(lb1, "web", real, "--timeout", "1m")
	asJSON := startDrained(lb1, "web", real, "--timeout", "1m", "--json")
	onTheOther := startDrained(lb2, "web", real)
	lvsdtest.WaitExit(t, onTheOther, 1, "not draining")
	waitOutput(t, wait, "lb2 would use it: weight 1 in its file")
	lb2.MustReload()
	waitOutput(t, wait, "10.77.0.22:80: lb1 has 1 active connection\n")
	backup := startDrained(lb2, "web", real, "--timeout", "1m")
	waitOutput(t, backup, "lb1 has 1 active connection")
	for range 4 {
		c := lab.Converse(p.Client, lvsdtest.VIPPort)
		if c.Server == "rs2" {
			t.Error("a new connection went to the draining server")
		}
		c.Close()
	}
	if err := talk.Say(5 * time.Second); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
	talk.Close()
	lvsdtest.WaitExit(t, wait, 0, "drained after")
	lvsdtest.WaitExit(t, backup, 0, "drained after")
	lvsdtest.WaitExit(t, asJSON, 0, `"left":1`, `"drained":true`, `"directors":[{"director":"lb1"`)
	// Closed connections remain in the kernel's table for a while.
	lvsdtest.WaitExit(t, startDrained(lb1, "web", real, "--all", "--timeout", "0s"), 1, "lb1 has 1 connection that is not established")
}

// TestDrainedUDP: a drain of a UDP service ends with the flows, which the kernel keeps for
// timeout_udp after their last packet.
func TestDrainedUDP(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.PrepareDR()
	real := p.Real[0].Addr().String() + ":53"
	lab.ServeUDP(p.Real[0], lvsdtest.VIP+":53", "rs1")
	p.Services = `
[[virtual_service]]
name = "dns"
address = "` + lvsdtest.VIP + `:53"
protocol = "udp"
scheduler = "rr"
check = { type = "ping" }
real_servers = [{ address = "` + real + `", weight = 1 }]
`
	p.EditConfig("[ipvs]", "[ipvs]\ntimeout_udp = \"4s\"")
	lb := p.LB[0]
	lb.StartDaemon()
	lb.WaitState("master", 10*time.Second)
	lb.WaitWeight(real, 1, 10*time.Second)
	conn, err := p.Client.Dial(t.Context(), "udp", lvsdtest.VIP+":53")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(conn net.Conn) {
		t.Helper()
		answer := make([]byte, 64)
		p.WaitUntil(10*time.Second, "a response", func() bool {
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte("?"))
			n, err := conn.Read(answer)
			return err == nil && string(answer[:n]) == "rs1 ?"
		})
	}
	ask(conn)
	p.EditConfig("weight = 1", "weight = 0")
	lb.MustReload()
	ask(conn) // the flow keeps its server as long as its client sends
	lvsdtest.WaitExit(t, startDrained(lb, "dns", real, "--timeout", "0s"), 1, "lb1 has 1 flow", "remove the server from the file")
	wait := startDrained(lb, "dns", real, "--timeout", "1m")
	lvsdtest.WaitExit(t, wait, 0, "lb1 has 1 flow\n", "drained after")
}

// TestDrainedPersistence: with drain_persistent = "keep" a persistent client stays on the
// draining server until it has sent nothing for the time of persistence; a server that
// fails meanwhile keeps no client. With "move" the client moves at once.
func TestDrainedPersistence(t *testing.T) {
	p := lvsdtest.NewPair(t, 3)
	p.AdvertInterval = "1s"
	servers := p.ServeLines()
	p.Services = lvsdtest.Replace(t, p.WebService(lvsdtest.QuickCheck, 1, 1, 1), "scheduler =", "persistence = \"3s\"\nscheduler =")
	// A template outlives its connections, closed ones as well.
	p.EditConfig("[ipvs]", "[ipvs]\ntimeout_tcp_fin = \"1s\"")
	lb := p.LB[0]
	lb.StartMaster(3)
	visit := func() string {
		t.Helper()
		c := lab.Converse(p.Client, lvsdtest.VIPPort)
		defer c.Close()
		return c.Server
	}
	number := map[string]int{"rs1": 0, "rs2": 1, "rs3": 2}
	address := func(name string) string { return p.Real[number[name]].Addr().String() + ":80" }
	reload := func(old, new string) {
		t.Helper()
		p.EditConfig(old, new)
		lb.MustReload()
	}
	home := visit()
	reload(address(home)+`", weight = 1`, address(home)+`", weight = 0`)
	p.WaitUntil(10*time.Second, "the kernel's setting", func() bool {
		v, err := lb.Sysctl("net.ipv4.vs.expire_quiescent_template")
		return err == nil && v == "0"
	})
	for range 3 {
		if s := visit(); s != home {
			t.Errorf("keep: the client went from %s to %s", home, s)
		}
	}
	wait := startDrained(lb, "web", address(home), "--timeout", "1m")
	waitOutput(t, wait, "1 template of a persistent client")
	lvsdtest.WaitExit(t, wait, 0, "drained after")
	// The persistence is over; its next server fails while the drain lasts.
	next := visit()
	if next == home {
		t.Fatalf("the client returned to the draining %s", home)
	}
	servers[number[next]].Stop()
	lb.WaitWeight(address(next), -1, 10*time.Second)
	if s := visit(); s == next || s == home {
		t.Errorf("with %s draining and %s down the client went to %s", home, next, s)
	}
	servers[number[next]].Start()
	lb.WaitWeight(address(next), 1, 10*time.Second)

	reload(address(home)+`", weight = 0`, address(home)+`", weight = 1`)
	p.WaitUntil(10*time.Second, "the kernel's setting", func() bool {
		v, err := lb.Sysctl("net.ipv4.vs.expire_quiescent_template")
		return err == nil && v == "1"
	})
	reload("persistence = ", "drain_persistent = \"move\"\npersistence = ")
	home = visit()
	until := time.Now().Add(15 * time.Second).UTC()
	reload(address(home)+`", weight = 1`, address(home)+`", weight = 1, drain_until = `+until.Format(time.RFC3339))
	lb.WaitWeight(address(home), 0, 10*time.Second)
	if s := visit(); s == home {
		t.Errorf("move: the client stayed on %s", s)
	}
	if out, err := lb.LVSD("why", "web", address(home), "--socket", lb.Socket); err != nil || !lvsdtest.ContainsAll(out, "drained until "+until.Format(time.RFC3339), "then weight 1") {
		t.Errorf("%v\n%s", err, out)
	}
	lb.WaitWeight(address(home), 1, 60*time.Second) // without a reload
	if now := time.Now(); now.Before(until.Truncate(time.Second)) {
		t.Errorf("the drain ended %v too early", until.Sub(now))
	}
}
