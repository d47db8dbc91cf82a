package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvsd/integration/lab"
)

const hangup = syscall.SIGHUP

// service is one [[virtual_service]] with a server for each of the pair's.
func (p *pair) service(name, address, settings string, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[virtual_service]]\nname = %q\naddress = %q\n%s\nreal_servers = [\n", name, address, settings)
	for _, r := range p.real {
		fmt.Fprintf(&b, "  { address = \"%s:%d\", weight = 1 },\n", r.Addr(), port)
	}
	b.WriteString("]\n")
	return b.String()
}

// TestForwardingMethods sends real connections through each way to a server.
func TestForwardingMethods(t *testing.T) {
	for _, c := range []struct {
		forward string
		port    int
		prepare func(p *pair, r *lab.Host)
	}{
		{"dr", 80, func(p *pair, r *lab.Host) { r.PrepareDR(vip) }},
		{"tun", 80, func(p *pair, r *lab.Host) { r.PrepareTUN(vip) }},
		{"nat", 8080, func(p *pair, r *lab.Host) { r.PrepareNAT("10.78.0.1") }},
	} {
		t.Run(c.forward, func(t *testing.T) {
			p := newPair(t, 0)
			lb := p.lb[0]
			lan := p.lan
			if c.forward == "nat" { // the director is the servers' gateway
				lan = p.LAN("inner", "10.78.0.0/24")
				lb.Plug(lan, "10.78.0.1/24")
			}
			for i := range 2 {
				name, addr := fmt.Sprint("rs", i+1), fmt.Sprintf("10.77.0.%d/24", 21+i)
				if c.forward == "nat" {
					addr = fmt.Sprintf("10.78.0.%d/24", 21+i)
				}
				r := p.Host(name, lan, addr)
				c.prepare(p, r)
				lab.ServeLines(r, fmt.Sprint(":", c.port), name)
				p.real = append(p.real, r)
			}
			p.services = p.service("web", vipPort, fmt.Sprintf("forward = %q\nscheduler = \"rr\"\ncheck = %s", c.forward, quick), c.port)
			lb.start()
			lb.wait("master", 30*time.Second)
			seen := map[string]int{}
			p.WaitUntil(30*time.Second, "an answer from each server", func() bool {
				if c, err := lab.TryConverse(p.client, vipPort, time.Second); err == nil {
					seen[c.Server]++
					c.Close()
				}
				return seen["rs1"] > 0 && seen["rs2"] > 0
			})
		})
	}
}

// TestUDPAndPersistence: datagrams are balanced and a dead server is taken out
// of the table; a persistent client stays with its server and moves when the
// server dies.
func TestUDPAndPersistence(t *testing.T) {
	p := newPair(t, 2)
	p.prepareDR()
	lb := p.lb[0]
	var lines []*lab.Server
	for _, r := range p.real {
		lab.ServeUDP(r, vip+":53", r.Name)
		lines = append(lines, lab.ServeLines(r, ":80", r.Name))
	}
	udpCheck := `check = { type = "connect", address = "%s", interval = "100ms", timeout = "90ms", rise = 1, fall = 2 }`
	var reals []string
	for _, r := range p.real {
		reals = append(reals, fmt.Sprintf(`{ address = "%s:53", weight = 1, `+udpCheck+` }`, r.Addr(), r.Addr().String()+":80"))
	}
	p.services = fmt.Sprintf("[[virtual_service]]\nname = \"dns\"\naddress = \"%s:53\"\nprotocol = \"udp\"\nscheduler = \"rr\"\ncheck = { type = \"on\" }\nreal_servers = [ %s ]\n", vip, strings.Join(reals, ", ")) +
		p.service("web", vipPort, "persistence = \"5m\"\nscheduler = \"rr\"\ncheck = "+quick, 80)
	lb.start()
	lb.wait("master", 30*time.Second)
	lb.serving(2)
	ask := func() (string, error) {
		conn, err := p.client.Dial(t.Context(), "udp", vip+":53")
		if err != nil {
			return "", err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return "", err
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			return "", err
		}
		buf := make([]byte, 64)
		n, err := conn.Read(buf)
		name, _, _ := strings.Cut(string(buf[:n]), " ")
		return name, err
	}
	seen := map[string]int{}
	for range 10 {
		name, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		seen[name]++
	}
	if seen["rs1"] != 5 || seen["rs2"] != 5 {
		t.Errorf("10 datagrams by rr: %v", seen)
	}
	home := lab.Converse(p.client, vipPort).Server
	for range 5 {
		if c := lab.Converse(p.client, vipPort); c.Server != home {
			t.Errorf("a persistent client of %s was sent to %s", home, c.Server)
		}
	}
	dead, other := 0, "rs2"
	if home == "rs2" {
		dead, other = 1, "rs1"
	}
	lines[dead].Refuse()
	lb.waitWeight(p.real[dead].Addr().String()+":80", 0, 5*time.Second)
	lb.waitWeight(p.real[dead].Addr().String()+":53", -1, 5*time.Second)
	if c := lab.Converse(p.client, vipPort); c.Server != other {
		t.Errorf("a persistent client of a dead server was sent to %s", c.Server)
	}
	for range 5 {
		if name, err := ask(); err != nil || name != other {
			t.Errorf("a datagram with %s dead: %q, %v", home, name, err)
		}
	}
}
