// The set-ups of docs/guides: the configuration and the commands are those of the guide,
// and the hosts have its addresses.

package docs_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// prepareByGuide runs the guide's commands on all hosts and starts the directors.
func prepareByGuide(p *lvsdtest.Pair, g lvsdtest.Guide) {
	p.T.Helper()
	for _, r := range p.Real {
		if g["sh real servers"] != "" {
			p.RunGuide(r, g["sh real servers"])
		}
	}
	for _, d := range p.LB {
		if d != nil {
			p.RunGuide(d.Host, g["sh director"])
			d.StartDaemon()
		}
	}
	p.LB[0].WaitState("master", 15*time.Second)
}

// waitLive waits until n servers of a director have a weight above 0.
func waitLive(d *lvsdtest.Director, n int) {
	d.Pair.T.Helper()
	d.Pair.WaitUntil(20*time.Second, fmt.Sprintf("%d live servers on %s", n, d.Name), func() bool {
		s, err := d.Status()
		if err != nil || len(s.Services) != 1 {
			return false
		}
		live := 0
		for _, rs := range s.Services[0].RealServers {
			if rs.Weight != nil && *rs.Weight > 0 {
				live++
			}
		}
		return live == n
	})
}

// spreadOverServers opens n connections, one after the other, and counts those of each
// server.
func spreadOverServers(p *lvsdtest.Pair, n int) map[string]int {
	p.T.Helper()
	seen := map[string]int{}
	for range n {
		c := lab.Converse(p.Client, lvsdtest.GuideVIPPort)
		seen[c.Server]++
		c.Close()
	}
	return seen
}

// expectSpread compares the counts with a text such as "rs1:2 rs2:5".
func expectSpread(p *lvsdtest.Pair, seen map[string]int, want string) {
	p.T.Helper()
	var got []string
	for _, r := range p.Real {
		got = append(got, fmt.Sprintf("%s:%d", r.Name, seen[r.Name]))
	}
	if s := strings.Join(got, " "); s != want {
		p.T.Errorf("connections of the servers: %s, want %s", s, want)
		for _, d := range p.LB {
			p.T.Logf("%s:\n%s%s", d.Name, d.MustRun("ipvsadm", "-L", "-n", "--stats"), d.MustRun("ipvsadm", "-L", "-n", "-c"))
		}
	}
}

// natServers adds the four real servers of the NAT guides and returns their LAN.
func natServers(p *lvsdtest.Pair) *lab.LAN {
	inner := p.LAN("inner", "192.168.10.0/24")
	for i := range 4 {
		r := p.AddRealServer(inner, fmt.Sprintf("192.168.10.%d/24", 21+i))
		lab.ServeLines(r, ":8080", r.Name)
	}
	return inner
}

// TestGuideNAT: docs/guides/nat.md.
func TestGuideNAT(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/nat.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	lb := p.LB[0]
	lb.Plug(natServers(p), "192.168.10.1/24")
	prepareByGuide(p, g)
	waitLive(lb, 4)
	expectSpread(p, spreadOverServers(p, 40), "rs1:10 rs2:10 rs3:10 rs4:10")
	if out := lb.IPVSTable(); strings.Count(out, ":8080 -m -w 1") != 4 {
		t.Errorf("not four servers of weight 1 by NAT:\n%s", out)
	}
	// A server's own connections have the director's address.
	if from := arrivesAs(p, p.Real[0]); from != "10.0.0.12" {
		t.Errorf("a real server connects from %s", from)
	}
	// The source address of clients is not translated.
	ln, err := p.Real[1].Listen("tcp", "192.168.10.22:8081")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lb.MustRun(strings.Fields("ipvsadm -A -t 10.0.0.88:81 -s rr")...)
	lb.MustRun(strings.Fields("ipvsadm -a -t 10.0.0.88:81 -r 192.168.10.22:8081 -m")...)
	if seen := peerOf(p, ln, p.Client, "10.0.0.88:81"); seen != "10.0.0.2" {
		t.Errorf("the client 10.0.0.2 connects to a real server from %s", seen)
	}
}

// arrivesAs returns the source address of a connection from a host to the client's host.
func arrivesAs(p *lvsdtest.Pair, from *lab.Host) string {
	p.T.Helper()
	ln, err := p.Client.Listen("tcp", "10.0.0.2:9000")
	if err != nil {
		p.T.Fatal(err)
	}
	defer ln.Close()
	return peerOf(p, ln, from, "10.0.0.2:9000")
}

// peerOf connects to a listener and returns the source address that it sees.
func peerOf(p *lvsdtest.Pair, ln net.Listener, from *lab.Host, to string) string {
	p.T.Helper()
	seen := make(chan string, 1)
	go func() {
		source := "no connection"
		if c, err := ln.Accept(); err == nil {
			source, _, _ = net.SplitHostPort(c.RemoteAddr().String())
			c.Close()
		}
		seen <- source
	}()
	c, err := from.Dial(p.T.Context(), "tcp", to)
	if err != nil {
		ln.Close()
		<-seen
		p.T.Fatalf("%s does not reach %s: %v", from.Name, to, err)
	}
	defer c.Close()
	return <-seen
}

// TestGuideNATPair: the VIP and the gateway of the servers move together, and with them a
// hundred open connections: to the other director when the outer link fails, and back
// when the inner link of that one fails.
func TestGuideNATPair(t *testing.T) {
	const connections = 100
	g := lvsdtest.ReadGuide(t, "docs/guides/nat-pair.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	inner := natServers(p)
	for i, d := range p.LB {
		d.Plug(inner, fmt.Sprintf("192.168.10.%d/24", 2+i))
	}
	prepareByGuide(p, g)
	for _, d := range p.LB {
		waitLive(d, 4)
	}
	none := func(d *lvsdtest.Director) bool { return !d.Holds("10.0.0.88") && !d.HoldsOn("eth1", "192.168.10.1") }
	both := func(d *lvsdtest.Director) bool { return d.Holds("10.0.0.88") && d.HoldsOn("eth1", "192.168.10.1") }
	p.WaitUntil(10*time.Second, "both addresses on lb1", func() bool { return both(p.LB[0]) })
	// An idle connection is synchronised once: both sync daemons must run before.
	for _, d := range p.LB {
		p.WaitUntil(30*time.Second, "both sync daemons on "+d.Name, func() bool {
			return lvsdtest.ContainsAll(d.MustRun("ipvsadm", "-L", "--daemon"), "master sync daemon", "backup sync daemon")
		})
	}
	var talks []*lab.Conversation
	for range connections {
		talks = append(talks, lab.Converse(p.Client, lvsdtest.GuideVIPPort))
	}
	// The servers' own connections are not synchronised.
	if from := arrivesAs(p, p.Real[0]); from != "10.0.0.12" {
		t.Errorf("a real server connects from %s", from)
	}
	took := p.WaitUntil(30*time.Second, "the connections on the backup", func() bool { return p.LB[1].ConnectionOrigins()["SYNC"] >= connections })
	t.Logf("FIGURE all of %d connections on the backup after %v", connections, took)

	moves := func(why string, from, to *lvsdtest.Director, seenAs string) {
		t.Helper()
		start := time.Now()
		p.WaitUntil(15*time.Second, why+": both addresses on "+to.Name, func() bool { return both(to) })
		t.Logf("FIGURE %s: both addresses moved within %v", why, time.Since(start))
		p.WaitUntil(10*time.Second, "nothing left on "+from.Name, func() bool { return none(from) })
		dead := 0
		for _, c := range talks {
			if err := c.Say(10 * time.Second); err != nil {
				dead++
				t.Log(err)
			}
		}
		t.Logf("FIGURE %s: %d of %d connections alive", why, connections-dead, connections)
		if dead > 0 {
			t.Errorf("%s: %d of %d connections lost", why, dead, connections)
		}
		if as := arrivesAs(p, p.Real[1]); as != seenAs {
			t.Errorf("%s: a real server connects from %s, want %s", why, as, seenAs)
		}
		expectSpread(p, spreadOverServers(p, 8), "rs1:2 rs2:2 rs3:2 rs4:2")
	}
	p.LB[0].CutCable()
	moves("outer cable cut", p.LB[0], p.LB[1], "10.0.0.13")
	p.LB[0].PlugCable()
	p.WaitUntil(10*time.Second, "lb1 to be backup", func() bool {
		s, err := p.LB[0].Status()
		return err == nil && len(s.VRRP) == 2 && s.VRRP[0].State == "backup" && s.VRRP[1].State == "backup"
	})
	p.LB[1].CutCableOf("eth1")
	moves("inner cable cut", p.LB[1], p.LB[0], "10.0.0.12")
}

// TestGuideDR: docs/guides/dr.md.
func TestGuideDR(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/dr.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, a := range []string{"10.0.0.9/24", "10.0.0.20/24", "10.0.0.21/24"} {
		r := p.AddRealServer(p.Net, a)
		lab.ServeHTTP(r, ":80", r.Name)
	}
	prepareByGuide(p, g)
	for _, d := range p.LB {
		waitLive(d, 3)
	}
	expectSpread(p, askedServers(p, 60), "rs1:10 rs2:25 rs3:25")
	p.LB[0].StopDaemon()
	p.LB[1].WaitState("master", 15*time.Second)
	expectSpread(p, askedServers(p, 24), "rs1:4 rs2:10 rs3:10")
}

// askedServers makes n HTTP requests and counts those of each server.
func askedServers(p *lvsdtest.Pair, n int) map[string]int {
	p.T.Helper()
	seen := map[string]int{}
	for range n {
		status, body, err := p.Client.Get("http://" + lvsdtest.GuideVIPPort + "/")
		if err != nil || status != 200 {
			p.T.Fatalf("status %d, %v", status, err)
		}
		seen[strings.TrimSpace(body)]++
	}
	return seen
}

// TestGuideTUN: docs/guides/tun.md.
func TestGuideTUN(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/tun.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	far := p.LAN("far", "10.1.0.0/24")
	router := p.Host("router", p.Net, "10.0.0.1/24")
	router.Plug(far, "10.1.0.1/24")
	router.SetSysctl("net.ipv4.ip_forward", "1")
	for i := range 2 {
		r := p.AddRealServer(far, fmt.Sprintf("10.1.0.%d/24", 21+i))
		lab.ServeHTTP(r, ":80", r.Name)
	}
	prepareByGuide(p, g)
	for _, d := range p.LB {
		waitLive(d, 2)
	}
	expectSpread(p, askedServers(p, 20), "rs1:10 rs2:10")
	p.LB[0].StopDaemon()
	p.LB[1].WaitState("master", 15*time.Second)
	expectSpread(p, askedServers(p, 10), "rs1:5 rs2:5")
}

// TestGuideFirewallMarks: one service of two ports, by a mark; a client stays with its server.
func TestGuideFirewallMarks(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/firewall-marks.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, a := range []string{"10.0.0.9/24", "10.0.0.20/24"} {
		r := p.AddRealServer(p.Net, a)
		lab.ServeLines(r, ":80", r.Name)
		lab.ServeLines(r, ":443", r.Name)
	}
	prepareByGuide(p, g)
	for _, d := range p.LB {
		waitLive(d, 2)
	}
	if out := p.LB[0].IPVSTable(); !lvsdtest.ContainsAll(out, "-A -f 1 -s rr -p 300", "-a -f 1 -r 10.0.0.9:0 -g -w 1", "-a -f 1 -r 10.0.0.20:0 -g -w 1") {
		t.Errorf("the table:\n%s", out)
	}
	ports := func() {
		t.Helper()
		first := lab.Converse(p.Client, "10.0.0.88:80").Server
		for range 3 {
			if second := lab.Converse(p.Client, "10.0.0.88:443").Server; second != first {
				t.Errorf("port 443 by %s, port 80 by %s", second, first)
			}
		}
	}
	ports()
	p.LB[0].StopDaemon()
	p.LB[1].WaitState("master", 15*time.Second)
	ports()
}

// TestGuideIPv6: both families are served, and both move.
func TestGuideIPv6(t *testing.T) {
	const vip6 = "2001:db8:10::88"
	g := lvsdtest.ReadGuide(t, "docs/guides/ipv6.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	p.Client.AddAddress("eth0", "2001:db8:10::2/64")
	for i, d := range p.LB {
		d.AddAddress("eth0", fmt.Sprintf("2001:db8:10::%d/64", 12+i))
	}
	for host, a := range map[string]string{"10.0.0.9/24": "2001:db8:10::9/64", "10.0.0.20/24": "2001:db8:10::20/64"} {
		r := p.AddRealServer(p.Net, host)
		r.AddAddress("eth0", a)
		lab.ServeHTTP(r, ":80", r.Name)
	}
	prepareByGuide(p, g)
	serve := func(d *lvsdtest.Director) {
		t.Helper()
		for _, to := range []string{lvsdtest.GuideVIP, "[" + vip6 + "]"} {
			seen := map[string]int{}
			p.WaitUntil(30*time.Second, "both servers at "+to+" through "+d.Name, func() bool {
				if status, body, err := p.Client.Get("http://" + to + "/"); err == nil && status == 200 {
					seen[strings.TrimSpace(body)]++
				}
				return len(seen) == 2
			})
		}
		if !d.Holds(lvsdtest.GuideVIP) || !d.Holds(vip6) {
			t.Errorf("%s does not hold both addresses", d.Name)
		}
	}
	serve(p.LB[0])
	p.LB[1].WaitState("backup", 15*time.Second)
	p.LB[0].StopDaemon()
	p.LB[1].WaitState("master", 15*time.Second)
	serve(p.LB[1])
}

// TestGuideDirectorAsRealServer: docs/guides/director-as-real-server.md.
func TestGuideDirectorAsRealServer(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/director-as-real-server.md")
	p := lvsdtest.NewGuidePair(t, g, "toml alone")
	lb := p.LB[0]
	r := p.AddRealServer(p.Net, "10.0.0.20/24")
	r.PrepareDR("10.0.0.88")
	lab.ServeLines(r, ":80", "rs1")
	lab.ServeLines(lb.Host, ":80", "lb1")
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	waitLive(lb, 2)
	if seen := spreadOverServers(p, 20); seen["lb1"] != 10 || seen["rs1"] != 10 {
		t.Errorf("20 connections: %v", seen)
	}
	// The kernel changes such a server to a local one, which is not drift.
	if n := lb.IPVSWrites(); n > 8 {
		t.Errorf("%d writes: the table is written repeatedly", n)
	}
	refusedFile := p.WriteFile("refused.toml", g["toml refused"])
	lvsdtest.Refused(t, lb, []string{"check", "-c", refusedFile}, []string{"refused.toml:20:15", "is director lb1 itself", "in a loop between the directors", "refused.toml:21:15", "lb2"})
}

// TestGuideNFS: the share of one server is unmounted, the web server of another one hangs
// as with a dead mount, then both are without their share.
func TestGuideNFS(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/nfs.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	lb := p.LB[0]
	var servers []*lab.NginxServer
	mount := func(share string) {
		t.Helper()
		if err := unix.Mount("share", share, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{".lvsd-alive": "alive\n", "index.html": filepath.Base(share) + "\n"} {
			if err := os.WriteFile(filepath.Join(share, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	unmount := func(share string) {
		t.Helper()
		if err := unix.Unmount(share, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
	var shares []string
	for _, a := range []string{"10.0.0.9/24", "10.0.0.20/24"} {
		r := p.AddRealServer(p.Net, a)
		share := p.Path(r.Name)
		if err := os.Mkdir(share, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(share)
		shares = append(shares, share)
		servers = append(servers, lab.NginxFiles(r, "80", share))
	}
	t.Cleanup(func() {
		for _, s := range shares { // before the files of the lab are removed
			_ = unix.Unmount(s, unix.MNT_DETACH)
		}
	})
	lab.ServeHTTP(lb.Host, ":80", "sorry")
	prepareByGuide(p, g)
	waitLive(lb, 2)
	expectSpread(p, askedServers(p, 10), "rs1:5 rs2:5")
	one, two := "10.0.0.9:80", "10.0.0.20:80"

	unmount(shares[0])
	lb.WaitWeight(one, 0, 20*time.Second)
	expectSpread(p, askedServers(p, 6), "rs1:0 rs2:6")
	if out, err := lb.LVSD("why", "web", one, "-c", p.ConfigFile, "--director", "lb1"); err != nil || !strings.Contains(out, "404") {
		t.Errorf("why: %v\n%s", err, out)
	}
	mount(shares[0])
	lb.WaitWeight(one, 1, 20*time.Second)

	servers[1].Process().Stop()
	lb.WaitWeight(two, 0, 20*time.Second)
	expectSpread(p, askedServers(p, 6), "rs1:6 rs2:0")

	unmount(shares[0])
	lb.WaitWeight("127.0.0.1:80", 1, 20*time.Second)
	lb.WaitWeight(one, 0, 20*time.Second) // after the fallback was added, so that there is always a server
	if seen := askedServers(p, 3); seen["sorry"] != 3 {
		t.Errorf("without a share clients get %v", seen)
	}
	servers[1].Process().Cont()
	mount(shares[0])
	lb.WaitWeight(one, 1, 20*time.Second)
	lb.WaitWeight(two, 1, 20*time.Second)
	lb.WaitWeight("127.0.0.1:80", -1, 20*time.Second)
	expectSpread(p, askedServers(p, 10), "rs1:5 rs2:5")
}
