package ipvs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestForwardingMethods serves real connections by each forwarding method.
func TestForwardingMethods(t *testing.T) {
	for _, c := range []struct {
		forward string
		port    int
		prepare func(p *lvsdtest.Pair, r *lab.Host)
	}{
		{"dr", 80, func(p *lvsdtest.Pair, r *lab.Host) { r.PrepareDR(lvsdtest.VIP) }},
		{"tun", 80, func(p *lvsdtest.Pair, r *lab.Host) { r.PrepareTUN(lvsdtest.VIP) }},
		{"nat", 8080, func(p *lvsdtest.Pair, r *lab.Host) { r.PrepareNAT("10.78.0.1") }},
	} {
		t.Run(c.forward, func(t *testing.T) {
			p := lvsdtest.NewPair(t, 0)
			lb := p.LB[0]
			lan := p.Net
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
				p.Real = append(p.Real, r)
			}
			p.Services = p.ServiceConfig("web", lvsdtest.VIPPort, fmt.Sprintf("forward = %q\nscheduler = \"rr\"\ncheck = %s", c.forward, lvsdtest.QuickCheck), c.port)
			lb.StartDaemon()
			lb.WaitState("master", 30*time.Second)
			seen := map[string]int{}
			p.WaitUntil(30*time.Second, "a response from each server", func() bool {
				if c, err := lab.TryConverse(p.Client, lvsdtest.VIPPort, time.Second); err == nil {
					seen[c.Server]++
					c.Close()
				}
				return seen["rs1"] > 0 && seen["rs2"] > 0
			})
		})
	}
}

// TestUDPAndPersistence: datagrams are balanced and a failed server is removed from the
// table; a persistent client stays with its server and moves when the server fails.
func TestUDPAndPersistence(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	lb := p.LB[0]
	var lines []*lab.Server
	for _, r := range p.Real {
		lab.ServeUDP(r, lvsdtest.VIP+":53", r.Name)
		lines = append(lines, lab.ServeLines(r, ":80", r.Name))
	}
	udpCheck := `check = { type = "connect", address = "%s", interval = "100ms", timeout = "90ms", rise = 1, fall = 2 }`
	var reals []string
	for _, r := range p.Real {
		reals = append(reals, fmt.Sprintf(`{ address = "%s:53", weight = 1, `+udpCheck+` }`, r.Addr(), r.Addr().String()+":80"))
	}
	p.Services = fmt.Sprintf("[[virtual_service]]\nname = \"dns\"\naddress = \"%s:53\"\nprotocol = \"udp\"\nscheduler = \"rr\"\ncheck = { type = \"on\" }\nreal_servers = [ %s ]\n", lvsdtest.VIP, strings.Join(reals, ", ")) +
		p.ServiceConfig("web", lvsdtest.VIPPort, "persistence = \"5m\"\nscheduler = \"rr\"\ncheck = "+lvsdtest.QuickCheck, 80)
	lb.StartMaster(2)
	ask := func() (string, error) {
		conn, err := p.Client.Dial(t.Context(), "udp", lvsdtest.VIP+":53")
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
	home := lab.Converse(p.Client, lvsdtest.VIPPort).Server
	for range 5 {
		if c := lab.Converse(p.Client, lvsdtest.VIPPort); c.Server != home {
			t.Errorf("a persistent client of %s was sent to %s", home, c.Server)
		}
	}
	dead, other := 0, "rs2"
	if home == "rs2" {
		dead, other = 1, "rs1"
	}
	lines[dead].Refuse()
	lb.WaitWeight(p.Real[dead].Addr().String()+":80", 0, 5*time.Second)
	lb.WaitWeight(p.Real[dead].Addr().String()+":53", -1, 5*time.Second)
	if c := lab.Converse(p.Client, lvsdtest.VIPPort); c.Server != other {
		t.Errorf("a persistent client of a failed server was sent to %s", c.Server)
	}
	for range 5 {
		if name, err := ask(); err != nil || name != other {
			t.Errorf("a datagram with %s down: %q, %v", home, name, err)
		}
	}
}
