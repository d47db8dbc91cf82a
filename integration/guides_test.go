// The classic set-ups, as docs/guides tells them: the file that runs here is the
// one in the guide, the hosts have its addresses, and the commands are those that
// it names. A guide that does not work fails here.

package integration

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
)

// guide is what a page of docs/guides says to type and to write, by the words
// behind the fence: "toml", "sh director", "sh real servers".
type guide map[string]string

func readGuide(t *testing.T, name string) guide {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs/guides", name))
	if err != nil {
		t.Fatal(err)
	}
	g := guide{}
	parts := strings.Split(string(text), "\n```")
	for i := 1; i < len(parts)-1; i += 2 {
		kind, body, _ := strings.Cut(parts[i], "\n")
		if _, twice := g[kind]; twice && kind != "" {
			t.Fatalf("%s has two blocks %q", name, kind)
		}
		g[kind] = body + "\n"
	}
	return g
}

const guideVIP = "10.0.0.88:80"

// guideLab is a pair on the guides' addresses: the directors 10.0.0.12 and .13
// (as many as the file names), and a client.
func guideLab(t *testing.T, g guide, kind string) *pair {
	t.Helper()
	lab.RequireKernel(t)
	p := &pair{Lab: lab.New(t), t: t}
	p.lan = p.LAN("lan", "10.0.0.0/24")
	p.client = p.Host("client", p.lan, "10.0.0.2/24")
	for i := range strings.Count(g[kind], "[[director]]") {
		p.lb[i] = p.director(fmt.Sprint("lb", i+1), fmt.Sprintf("10.0.0.%d/24", 12+i))
	}
	if strings.Contains(g[kind], "[global]") {
		t.Fatal("the guide has a [global] of its own")
	}
	// Both directors are on one machine here.
	p.file = p.WriteFile("lvsd.toml", g[kind]+fmt.Sprintf(
		"\n[global]\ncontrol_socket = { lb1 = %q, lb2 = %q }\nstate_dir = { lb1 = %q, lb2 = %q }\n",
		p.Path("lb1.sock"), p.Path("lb2.sock"), p.Path("lb1.state"), p.Path("lb2.state")))
	if p.lb[1] == nil {
		p.file = p.WriteFile("lvsd.toml", g[kind]+fmt.Sprintf("\n[global]\ncontrol_socket = %q\nstate_dir = %q\n", p.Path("lb1.sock"), p.Path("lb1.state")))
	}
	return p
}

// realServer adds a host that is one.
func (p *pair) realServer(lan *lab.LAN, addr string) *lab.Host {
	r := p.Host(fmt.Sprint("rs", len(p.real)+1), lan, addr)
	p.real = append(p.real, r)
	return r
}

// typed runs the commands of a guide on a host. What every machine has a place
// of its own for, and the lab one for all, is put in.
func (p *pair) typed(h *lab.Host, commands string) {
	p.t.Helper()
	if commands == "" {
		p.t.Fatal("the guide has no such commands")
	}
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		if words[0] == "lvsd" {
			words[0] = binary(p.t)
			switch words[1] {
			case "realserver":
				words = append(words, "--state-dir", p.Path(h.Name+".realserver"))
			case "host":
				words = append(words, "-c", p.file, "--director", h.Name)
			default:
				words = append(words, "-c", p.file)
			}
		}
		out, err := h.Run(p.t.Context(), words...)
		if err != nil && strings.HasPrefix(line, "lvsd host prepare") && strings.Contains(out, "this kernel has no nftables") {
			// As the guide says; User-Mode Linux is such a kernel.
			h.MustRun("modprobe", "iptable_nat")
			h.MustRun(strings.Fields("iptables-legacy -t nat -A POSTROUTING -s 192.168.10.0/24 ! -d 192.168.10.0/24 -j MASQUERADE")...)
			continue
		}
		if err != nil {
			p.t.Errorf("%s: %s: %v\n%s", h.Name, line, err, out)
		}
	}
}

// prepare types the guide's commands on all machines and starts the directors.
func (p *pair) prepare(g guide) {
	p.t.Helper()
	for _, r := range p.real {
		if g["sh real servers"] != "" {
			p.typed(r, g["sh real servers"])
		}
	}
	for _, d := range p.lb {
		if d != nil {
			p.typed(d.Host, g["sh director"])
			d.start()
		}
	}
	p.lb[0].wait("master", 15*time.Second)
}

// live waits until a director balances to so many servers.
func (d *director) live(n int) {
	d.p.t.Helper()
	d.p.WaitUntil(20*time.Second, fmt.Sprintf("%d live servers on %s", n, d.Name), func() bool {
		s, err := d.status()
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

// spread counts which server takes each of n connections, one after the other.
func (p *pair) spread(n int) map[string]int {
	p.t.Helper()
	seen := map[string]int{}
	for range n {
		c := lab.Converse(p.client, guideVIP)
		seen[c.Server]++
		c.Close()
	}
	return seen
}

// expectSpread compares a spread with shares such as "rs1:2 rs2:5".
func (p *pair) expectSpread(seen map[string]int, want string) {
	p.t.Helper()
	var got []string
	for _, r := range p.real {
		got = append(got, fmt.Sprintf("%s:%d", r.Name, seen[r.Name]))
	}
	if s := strings.Join(got, " "); s != want {
		p.t.Errorf("the servers took %s connections, want %s", s, want)
	}
}

// natServers are the four of the NAT guides.
func natServers(p *pair) *lab.LAN {
	inner := p.LAN("inner", "192.168.10.0/24")
	for i := range 4 {
		r := p.realServer(inner, fmt.Sprintf("192.168.10.%d/24", 21+i))
		lab.ServeLines(r, ":8080", r.Name)
	}
	return inner
}

func TestGuideNAT(t *testing.T) {
	g := readGuide(t, "nat.md")
	p := guideLab(t, g, "toml")
	lb := p.lb[0]
	lb.Plug(natServers(p), "192.168.10.1/24")
	p.prepare(g)
	lb.live(4)
	p.expectSpread(p.spread(40), "rs1:10 rs2:10 rs3:10 rs4:10")
	if out := lb.ipvsadm(); strings.Count(out, ":8080 -m -w 1") != 4 {
		t.Errorf("not four servers of weight 1 by NAT:\n%s", out)
	}
	// What a server begins itself arrives under the director's address.
	if from := p.arrivesAs(p.real[0]); from != "10.0.0.12" {
		t.Errorf("the world sees a real server as %s", from)
	}
	// And translated connections are left alone by that: see who a server sees.
	ln, err := p.real[1].Listen("tcp", "192.168.10.22:8081")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lb.MustRun(strings.Fields("ipvsadm -A -t 10.0.0.88:81 -s rr")...)
	lb.MustRun(strings.Fields("ipvsadm -a -t 10.0.0.88:81 -r 192.168.10.22:8081 -m")...)
	if seen := p.peerOf(ln, p.client, "10.0.0.88:81"); seen != "10.0.0.2" {
		t.Errorf("a real server sees the client 10.0.0.2 as %s", seen)
	}
}

// arrivesAs is the address under which a connection from a host reaches the
// client's.
func (p *pair) arrivesAs(from *lab.Host) string {
	p.t.Helper()
	ln, err := p.client.Listen("tcp", "10.0.0.2:9000")
	if err != nil {
		p.t.Fatal(err)
	}
	defer ln.Close()
	return p.peerOf(ln, from, "10.0.0.2:9000")
}

// peerOf dials, and answers who the listener sees.
func (p *pair) peerOf(ln net.Listener, from *lab.Host, to string) string {
	p.t.Helper()
	seen := make(chan string, 1)
	go func() {
		who := "nobody"
		if c, err := ln.Accept(); err == nil {
			who, _, _ = net.SplitHostPort(c.RemoteAddr().String())
			c.Close()
		}
		seen <- who
	}()
	c, err := from.Dial(p.t.Context(), "tcp", to)
	if err != nil {
		ln.Close()
		<-seen
		p.t.Fatalf("%s does not reach %s: %v", from.Name, to, err)
	}
	defer c.Close()
	return <-seen
}

// TestGuideNATPair: the service's address and the servers' gateway move
// together, whichever cable fails, and with them a hundred open connections:
// to the other director when the outer cable is cut, and back when that one's
// inner cable is.
func TestGuideNATPair(t *testing.T) {
	const connections = 100
	g := readGuide(t, "nat-pair.md")
	p := guideLab(t, g, "toml")
	inner := natServers(p)
	for i, d := range p.lb {
		d.Plug(inner, fmt.Sprintf("192.168.10.%d/24", 2+i))
	}
	p.prepare(g)
	for _, d := range p.lb {
		d.live(4)
	}
	none := func(d *director) bool { return !d.Holds("10.0.0.88") && !d.HoldsOn("eth1", "192.168.10.1") }
	both := func(d *director) bool { return d.Holds("10.0.0.88") && d.HoldsOn("eth1", "192.168.10.1") }
	p.WaitUntil(10*time.Second, "both addresses on lb1", func() bool { return both(p.lb[0]) })
	// What is told while nobody listens yet is not told again of a silent connection.
	for _, d := range p.lb {
		p.WaitUntil(30*time.Second, "both halves of the synchronisation on "+d.Name, func() bool {
			return contains(d.MustRun("ipvsadm", "-L", "--daemon"), "master sync daemon", "backup sync daemon")
		})
	}
	var talks []*lab.Conversation
	for range connections {
		talks = append(talks, lab.Converse(p.client, guideVIP))
	}
	// Of connections that servers began the standby is not told.
	if from := p.arrivesAs(p.real[0]); from != "10.0.0.12" {
		t.Errorf("the world sees a real server as %s", from)
	}
	took := p.WaitUntil(30*time.Second, "the connections to be known to the standby", func() bool { return p.lb[1].origins()["SYNC"] >= connections })
	t.Logf("FIGURE the standby knew all of %d connections after %v", connections, took)

	moves := func(why string, from, to *director, seenAs string) {
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
			t.Errorf("%s: %d of %d connections died", why, dead, connections)
		}
		if as := p.arrivesAs(p.real[1]); as != seenAs {
			t.Errorf("%s: the world sees a real server as %s, want %s", why, as, seenAs)
		}
		p.expectSpread(p.spread(8), "rs1:2 rs2:2 rs3:2 rs4:2")
	}
	p.lb[0].CutCable()
	moves("outer cable cut", p.lb[0], p.lb[1], "10.0.0.13")
	p.lb[0].PlugCable()
	p.WaitUntil(10*time.Second, "lb1 to be standby again", func() bool {
		s, err := p.lb[0].status()
		return err == nil && len(s.VRRP) == 2 && s.VRRP[0].State == "backup" && s.VRRP[1].State == "backup"
	})
	p.lb[1].CutCableOf("eth1")
	moves("inner cable cut", p.lb[1], p.lb[0], "10.0.0.12")
}

func TestGuideDR(t *testing.T) {
	g := readGuide(t, "dr.md")
	p := guideLab(t, g, "toml")
	for _, a := range []string{"10.0.0.9/24", "10.0.0.20/24", "10.0.0.21/24"} {
		r := p.realServer(p.lan, a)
		lab.ServeHTTP(r, ":80", r.Name)
	}
	p.prepare(g)
	for _, d := range p.lb {
		d.live(3)
	}
	p.expectSpread(p.asked(60), "rs1:10 rs2:25 rs3:25")
	p.lb[0].stop()
	p.lb[1].wait("master", 15*time.Second)
	p.expectSpread(p.asked(24), "rs1:4 rs2:10 rs3:10")
}

// asked counts which HTTP server answers each of n requests.
func (p *pair) asked(n int) map[string]int {
	p.t.Helper()
	seen := map[string]int{}
	for range n {
		status, body, err := p.client.Get("http://" + guideVIP + "/")
		if err != nil || status != 200 {
			p.t.Fatalf("status %d, %v", status, err)
		}
		seen[strings.TrimSpace(body)]++
	}
	return seen
}

func TestGuideTUN(t *testing.T) {
	g := readGuide(t, "tun.md")
	p := guideLab(t, g, "toml")
	far := p.LAN("far", "10.1.0.0/24")
	router := p.Host("router", p.lan, "10.0.0.1/24")
	router.Plug(far, "10.1.0.1/24")
	router.SetSysctl("net.ipv4.ip_forward", "1")
	for i := range 2 {
		r := p.realServer(far, fmt.Sprintf("10.1.0.%d/24", 21+i))
		lab.ServeHTTP(r, ":80", r.Name)
	}
	p.prepare(g)
	for _, d := range p.lb {
		d.live(2)
	}
	p.expectSpread(p.asked(20), "rs1:10 rs2:10")
	p.lb[0].stop()
	p.lb[1].wait("master", 15*time.Second)
	p.expectSpread(p.asked(10), "rs1:5 rs2:5")
}

func TestGuideDirectorAsRealServer(t *testing.T) {
	g := readGuide(t, "director-as-real-server.md")
	p := guideLab(t, g, "toml alone")
	lb := p.lb[0]
	r := p.realServer(p.lan, "10.0.0.20/24")
	r.PrepareDR("10.0.0.88")
	lab.ServeLines(r, ":80", "rs1")
	lab.ServeLines(lb.Host, ":80", "lb1")
	lb.start()
	lb.wait("master", 15*time.Second)
	lb.live(2)
	if seen := p.spread(20); seen["lb1"] != 10 || seen["rs1"] != 10 {
		t.Errorf("20 connections: %v", seen)
	}
	// What the kernel makes of such a server is no drift.
	if n := writes(lb); n > 8 {
		t.Errorf("%d writes: the table is written again and again", n)
	}
	refusedFile := p.WriteFile("refused.toml", g["toml refused"])
	refused(t, lb, []string{"check", "-c", refusedFile}, []string{"refused.toml:20:15", "is director lb1 itself", "in a loop between the directors", "refused.toml:21:15", "lb2"})
}

// TestGuideNFS: the share of one server is unmounted, the web server of another
// hangs as in a dead mount, then both are without it.
func TestGuideNFS(t *testing.T) {
	g := readGuide(t, "nfs.md")
	p := guideLab(t, g, "toml")
	lb := p.lb[0]
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
		r := p.realServer(p.lan, a)
		share := p.Path(r.Name)
		if err := os.Mkdir(share, 0o755); err != nil {
			t.Fatal(err)
		}
		mount(share)
		shares = append(shares, share)
		servers = append(servers, lab.NginxFiles(r, "80", share))
	}
	t.Cleanup(func() {
		for _, s := range shares { // before the lab's files are removed
			_ = unix.Unmount(s, unix.MNT_DETACH)
		}
	})
	lab.ServeHTTP(lb.Host, ":80", "sorry")
	p.prepare(g)
	lb.live(2)
	p.expectSpread(p.asked(10), "rs1:5 rs2:5")
	one, two := "10.0.0.9:80", "10.0.0.20:80"

	unmount(shares[0])
	lb.waitWeight(one, 0, 20*time.Second)
	p.expectSpread(p.asked(6), "rs1:0 rs2:6")
	if out, err := lb.run("why", "web", one, "-c", p.file, "--director", "lb1"); err != nil || !strings.Contains(out, "404") {
		t.Errorf("why: %v\n%s", err, out)
	}
	mount(shares[0])
	lb.waitWeight(one, 1, 20*time.Second)

	servers[1].Process().Stop()
	lb.waitWeight(two, 0, 20*time.Second)
	p.expectSpread(p.asked(6), "rs1:6 rs2:0")

	unmount(shares[0])
	lb.waitWeight("127.0.0.1:80", 1, 20*time.Second)
	lb.waitWeight(one, 0, 20*time.Second) // the fallback comes first, so that somebody always serves
	if seen := p.asked(3); seen["sorry"] != 3 {
		t.Errorf("with no share left clients see %v", seen)
	}
	servers[1].Process().Cont()
	mount(shares[0])
	lb.waitWeight(one, 1, 20*time.Second)
	lb.waitWeight(two, 1, 20*time.Second)
	lb.waitWeight("127.0.0.1:80", -1, 20*time.Second)
	p.expectSpread(p.asked(10), "rs1:5 rs2:5")
}
