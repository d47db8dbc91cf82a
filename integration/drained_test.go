package integration

import (
	"net"
	"os"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// drained starts lvsd drained for a server.
func (d *director) drained(service, real string, more ...string) *lab.Process {
	return d.Start(append([]string{binary(d.p.t), "drained", service, real, "--socket", d.socket}, more...)...)
}

// says waits until a command has printed something.
func says(t testing.TB, c *lab.Process, text string) {
	t.Helper()
	if _, err := c.WaitOutput(20*time.Second, text); err != nil {
		t.Fatalf("%v; it printed:\n%s", err, c.Output())
	}
}

// ends waits until a command ended, and holds its exit code and output.
func ends(t testing.TB, c *lab.Process, code int, texts ...string) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(60 * time.Second):
		t.Fatalf("it goes on:\n%s", c.Output())
	}
	if c.ExitCode() != code || !contains(c.Output(), texts...) {
		t.Errorf("exit code %d, want %d with %q:\n%s", c.ExitCode(), code, texts, c.Output())
	}
}

// TestDrainedTCP drains a server by its weight in the file of both directors:
// the wait names the director that would still use it, counts the connection
// that is open, and ends when that has. New connections go elsewhere meanwhile.
func TestDrainedTCP(t *testing.T) {
	p := exchangePair(t, 2)
	lb1, lb2 := p.lb[0], p.lb[1]
	real := p.real[1].Addr().String() + ":80"
	ends(t, lb1.drained("web", real), 1, "not draining (weight 1 in the file", "set its weight to 0 in the file, on both directors, and reload")
	ends(t, lb1.drained("wbe", real), 1, "there are: web")
	ends(t, lb1.drained("web", "10.77.0.99:80"), 1, "has no real server")
	var talk *lab.Conversation
	for talk == nil || talk.Server != "rs2" {
		talk = lab.Converse(p.client, vipPort)
	}
	p.rewrite(replace(t, p.text(), real+`", weight = 1`, real+`", weight = 0`))
	if out, err := lb1.reload(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ends(t, lb1.drained("web", real, "--timeout", "0s"), 1, "not drained after ", "lb1 has 1 active connection", "lb2 would use it: weight 1 in its file")
	wait := lb1.drained("web", real, "--timeout", "1m")
	asJSON := lb1.drained("web", real, "--timeout", "1m", "--json")
	onTheOther := lb2.drained("web", real)
	ends(t, onTheOther, 1, "not draining")
	says(t, wait, "lb2 would use it: weight 1 in its file")
	if out, err := lb2.reload(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	says(t, wait, "10.77.0.22:80: lb1 has 1 active connection\n")
	backup := lb2.drained("web", real, "--timeout", "1m")
	says(t, backup, "lb1 has 1 active connection")
	for range 4 {
		c := lab.Converse(p.client, vipPort)
		if c.Server == "rs2" {
			t.Error("a new connection went to the server that drains")
		}
		c.Close()
	}
	if err := talk.Say(5 * time.Second); err != nil {
		t.Errorf("the connection did not survive: %v", err)
	}
	talk.Close()
	ends(t, wait, 0, "drained after")
	ends(t, backup, 0, "drained after")
	ends(t, asJSON, 0, `"left":1`, `"drained":true`, `"directors":[{"director":"lb1"`)
	// What is closed is still in the kernel's table for a while.
	ends(t, lb1.drained("web", real, "--all", "--timeout", "0s"), 1, "lb1 has 1 connection that is not established")
}

// TestDrainedUDP: a drain of udp ends when the flows have, which the kernel
// keeps for timeout_udp after their last packet.
func TestDrainedUDP(t *testing.T) {
	p := newPair(t, 1)
	p.prepareDR()
	real := p.real[0].Addr().String() + ":53"
	lab.ServeUDP(p.real[0], vip+":53", "rs1")
	p.services = `
[[virtual_service]]
name = "dns"
address = "` + vip + `:53"
protocol = "udp"
scheduler = "rr"
check = { type = "ping" }
real_servers = [{ address = "` + real + `", weight = 1 }]
`
	p.file = p.WriteFile("lvsd.toml", replace(t, p.config(), "[ipvs]", "[ipvs]\ntimeout_udp = \"4s\""))
	lb := p.lb[0]
	lb.start()
	lb.wait("master", 10*time.Second)
	lb.waitWeight(real, 1, 10*time.Second)
	conn, err := p.client.Dial(t.Context(), "udp", vip+":53")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(conn net.Conn) {
		t.Helper()
		answer := make([]byte, 64)
		p.WaitUntil(10*time.Second, "an answer", func() bool {
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write([]byte("?"))
			n, err := conn.Read(answer)
			return err == nil && string(answer[:n]) == "rs1 ?"
		})
	}
	ask(conn)
	p.rewrite(replace(t, p.text(), "weight = 1", "weight = 0"))
	if out, err := lb.reload(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ask(conn) // the flow stays where it is as long as its client sends
	ends(t, lb.drained("dns", real, "--timeout", "0s"), 1, "lb1 has 1 flow", "take the server out of the file")
	wait := lb.drained("dns", real, "--timeout", "1m")
	ends(t, wait, 0, "lb1 has 1 flow\n", "drained after")
}

// text is the configuration as the test has it now, rewrite makes it another.
func (p *pair) text() string {
	text, err := os.ReadFile(p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

func (p *pair) rewrite(text string) {
	p.file = p.WriteFile("lvsd.toml", text)
}
