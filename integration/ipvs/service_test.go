// Kinds of services as lvsd configures them: real clients are served, and ipvsadm shows
// the expected table.

package ipvs_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// waitAllServe waits until each of the pair's servers has served a client.
func waitAllServe(p *lvsdtest.Pair, address string) {
	p.T.Helper()
	seen := map[string]int{}
	p.WaitUntil(20*time.Second, "a response from each server through "+address, func() bool {
		if c, err := lab.TryConverse(p.Client, address, time.Second); err == nil {
			seen[c.Server]++
			c.Close()
		}
		for _, r := range p.Real {
			if seen[r.Name] == 0 {
				return false
			}
		}
		return true
	})
}

// TestTunnelsCarryConnections serves connections through GRE and GUE, with and without
// checksums; IPIP is in TestForwardingMethods.
func TestTunnelsCarryConnections(t *testing.T) {
	for _, c := range []struct {
		name, forward, saved string
		device               []string // of the server; ADDR is its address
	}{
		{"gre", `{ type = "gre" }`, "--tun-type gre --tun-nocsum",
			[]string{"ip link add tun1 type gre local ADDR"}},
		{"gre with checksums", `{ type = "gre", checksum = "csum" }`, "--tun-type gre --tun-csum",
			[]string{"ip link add tun1 type gre local ADDR icsum"}},
		{"gue", `{ type = "gue", port = 6080 }`, "--tun-type gue --tun-port 6080 --tun-nocsum",
			[]string{"ip link add tun1 type ipip local ADDR", "modprobe fou", "ip fou add port 6080 gue"}},
		{"gue with checksums", `{ type = "gue", port = 6081, checksum = "csum" }`, "--tun-type gue --tun-port 6081 --tun-csum",
			[]string{"ip link add tun1 type ipip local ADDR", "modprobe fou", "ip fou add port 6081 gue"}},
		{"gue with remote checksums", `{ type = "gue", port = 6082, checksum = "remcsum" }`, "--tun-type gue --tun-port 6082 --tun-remcsum",
			[]string{"ip link add tun1 type ipip local ADDR", "modprobe fou", "ip fou add port 6082 gue"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := lvsdtest.NewPair(t, 2)
			lb := p.LB[0]
			for _, r := range p.Real {
				for _, command := range append(c.device, "ip link set tun1 up", "ip addr add "+lvsdtest.VIP+"/32 dev tun1") {
					r.MustRun(strings.Fields(strings.ReplaceAll(command, "ADDR", r.Addr().String()))...)
				}
				r.SetSysctl("net.ipv4.conf.tun1.rp_filter", "2")
				r.SetSysctl("net.ipv4.conf.all.arp_ignore", "1")
				r.SetSysctl("net.ipv4.conf.all.arp_announce", "2")
				lab.ServeLines(r, ":80", r.Name)
			}
			p.Services = p.ServiceConfig("web", lvsdtest.VIPPort, "forward = "+c.forward+"\nscheduler = \"rr\"\ncheck = "+lvsdtest.QuickCheck, 80)
			lb.StartDaemon()
			lb.WaitState("master", 30*time.Second)
			waitAllServe(p, lvsdtest.VIPPort)
			if out := lb.IPVSTable(); strings.Count(out, "-i -w 1 "+c.saved) != 2 {
				t.Errorf("no %q twice in:\n%s", c.saved, out)
			}
			// A changed weight does not change the tunnel.
			p.Services = strings.Replace(p.Services, "weight = 1", "weight = 7", 1)
			p.WriteConfig()
			lb.MustReload()
			if out := lb.IPVSTable(); !strings.Contains(out, "-i -w 7 "+c.saved) {
				t.Errorf("no %q with weight 7 in:\n%s", c.saved, out)
			}
			waitAllServe(p, lvsdtest.VIPPort)
		})
	}
}

// sixVIP is the IPv6 VIP of sixPair.
const sixVIP = "2001:db8:77::100"

// sixPair returns a pair whose hosts also have IPv6 addresses. The IPv6 VIP is added to
// the first director without VRRP.
func sixPair(t *testing.T, servers int) *lvsdtest.Pair {
	p := lvsdtest.NewPair(t, servers)
	p.Client.AddAddress("eth0", "2001:db8:77::2/64")
	for i, d := range p.LB {
		d.AddAddress("eth0", fmt.Sprintf("2001:db8:77::%d/64", 11+i))
	}
	// With the flags that lvsd uses: never the source address of a probe.
	p.LB[0].MustRun("ip", "addr", "add", sixVIP+"/128", "dev", "eth0", "nodad", "preferred_lft", "0")
	for i, r := range p.Real {
		r.AddAddress("eth0", fmt.Sprintf("2001:db8:77::%d/64", 21+i))
	}
	return p
}

// six returns the IPv6 address of a real server.
func six(r *lab.Host) string {
	last := r.Addr().As4()[3]
	return fmt.Sprintf("2001:db8:77::%d", last)
}

// TestIPv6DirectRouting serves IPv6 clients by direct routing.
func TestIPv6DirectRouting(t *testing.T) {
	p := sixPair(t, 2)
	lb := p.LB[0]
	var reals []string
	for _, r := range p.Real {
		r.AddAddress("lo", sixVIP+"/128")
		lab.ServeLines(r, ":80", r.Name)
		reals = append(reals, fmt.Sprintf("{ address = \"[%s]:80\", weight = 1 }", six(r)))
	}
	p.Services = fmt.Sprintf("[[virtual_service]]\nname = \"six\"\naddress = \"[%s]:80\"\nscheduler = \"rr\"\ncheck = %s\nreal_servers = [ %s ]\n", sixVIP, lvsdtest.QuickCheck, strings.Join(reals, ", "))
	lb.StartDaemon()
	waitAllServe(p, "["+sixVIP+"]:80")
	if out := lb.IPVSTable(); !lvsdtest.ContainsAll(out, "-A -t ["+sixVIP+"]:80 -s rr", "-r [2001:db8:77::21]:80 -g -w 1") {
		t.Errorf("%s", out)
	}
}

// TestMixedFamilies: IPv6 clients of IPv4 servers and IPv4 clients of IPv6
// servers, through tunnels of the other family.
func TestMixedFamilies(t *testing.T) {
	p := sixPair(t, 2)
	lb := p.LB[0]
	one, two := p.Real[0], p.Real[1]
	// rs1 decapsulates IPv4 in IPv6, rs2 IPv6 in IPv4.
	for _, c := range [][]string{
		{"ip", "link", "add", "tun1", "type", "ip6tnl", "mode", "ipip6", "local", six(one), "remote", "::"},
		{"ip", "link", "set", "tun1", "up"}, {"ip", "addr", "add", lvsdtest.VIP + "/32", "dev", "tun1"},
	} {
		one.MustRun(c...)
	}
	one.SetSysctl("net.ipv4.conf.tun1.rp_filter", "2")
	one.SetSysctl("net.ipv4.conf.all.arp_ignore", "1")
	one.SetSysctl("net.ipv4.conf.all.arp_announce", "2")
	for _, c := range [][]string{
		{"ip", "link", "add", "tun1", "type", "sit", "mode", "ip6ip", "local", two.Addr().String(), "remote", "any"},
		{"ip", "link", "set", "tun1", "up"}, {"ip", "addr", "add", sixVIP + "/128", "dev", "lo"},
	} {
		two.MustRun(c...)
	}
	lab.ServeLines(one, ":80", "rs1")
	lab.ServeLines(two, ":80", "rs2")
	p.Services = fmt.Sprintf(`
[[virtual_service]]
name = "four"
address = "%s"
forward = "tun"
check = %s
real_servers = [ { address = "[%s]:80", weight = 1 } ]
[[virtual_service]]
name = "six"
address = "[%s]:80"
forward = "tun"
check = %s
real_servers = [ { address = "%s:80", weight = 1 } ]
`, lvsdtest.VIPPort, lvsdtest.QuickCheck, six(one), sixVIP, lvsdtest.QuickCheck, two.Addr())
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	for address, server := range map[string]string{lvsdtest.VIPPort: "rs1", "[" + sixVIP + "]:80": "rs2"} {
		p.WaitUntil(20*time.Second, "a response through "+address, func() bool {
			c, err := lab.TryConverse(p.Client, address, time.Second)
			if err != nil {
				return false
			}
			defer c.Close()
			if c.Server != server {
				t.Errorf("%s was served by %s", address, c.Server)
			}
			return true
		})
	}
	if out := lb.IPVSTable(); !lvsdtest.ContainsAll(out, "-a -t "+lvsdtest.VIPPort+" -r ["+six(one)+"]:80 -i -w 1 --tun-type ipip",
		"-a -t ["+sixVIP+"]:80 -r "+two.Addr().String()+":80 -i -w 1 --tun-type ipip") {
		t.Errorf("%s", out)
	}
}

// TestFirewallMarks: two ports of an address are one service by their firewall mark, and a
// persistent client has the same server on both; IPv6 has a separate service.
func TestFirewallMarks(t *testing.T) {
	p := sixPair(t, 2)
	p.PrepareDR()
	lb := p.LB[0]
	var reals, reals6 []string
	for _, r := range p.Real {
		r.AddAddress("lo", sixVIP+"/128")
		lab.ServeLines(r, ":80", r.Name)
		lab.ServeLines(r, ":443", r.Name)
		reals = append(reals, fmt.Sprintf("{ address = %q, weight = 1, check = { type = \"connect\", address = \"%s:80\", interval = \"100ms\", timeout = \"2s\", rise = 1, fall = 3 } }", r.Addr(), r.Addr()))
		reals6 = append(reals6, fmt.Sprintf("{ address = %q, weight = 1, check = { type = \"on\" } }", six(r)))
	}
	for _, c := range []string{"tc qdisc add dev eth0 clsact",
		"tc filter add dev eth0 ingress protocol ip flower dst_ip " + lvsdtest.VIP + " ip_proto tcp action skbedit mark 7",
		"tc filter add dev eth0 ingress protocol ipv6 flower dst_ip " + sixVIP + " ip_proto tcp action skbedit mark 7"} {
		lb.MustRun(strings.Fields(c)...)
	}
	p.Services = fmt.Sprintf(`
[[virtual_service]]
name = "marked"
fwmark = 7
scheduler = "rr"
persistence = "5m"
real_servers = [ %s ]
[[virtual_service]]
name = "marked6"
fwmark = 7
family = "ipv6"
scheduler = "rr"
real_servers = [ %s ]
`, strings.Join(reals, ", "), strings.Join(reals6, ", "))
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "both servers", func() bool { return strings.Count(lb.IPVSTable(), "-a -f 7 -r") == 2 })
	p.WaitUntil(30*time.Second, "a response", func() bool {
		c, err := lab.TryConverse(p.Client, lvsdtest.VIP+":80", time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	home := lab.Converse(p.Client, lvsdtest.VIP+":80").Server
	for range 3 {
		if c := lab.Converse(p.Client, lvsdtest.VIP+":443"); c.Server != home {
			t.Errorf("port 443 on %s, port 80 on %s", c.Server, home)
		}
	}
	waitAllServe(p, "["+sixVIP+"]:443")
	out := lb.IPVSTable()
	if !lvsdtest.ContainsAll(out, "-A -f 7 -s rr -p 300\n", "-A -f 7 -6 -s rr\n", "-a -f 7 -6 -r [2001:db8:77::21]:0 -g -w 1", "-a -f 7 -r 10.77.0.21:0 -g -w 1") {
		t.Errorf("%s", out)
	}
	// After a kill and a start the table is unchanged.
	lb.KillDaemon()
	lb.StartDaemon()
	time.Sleep(2 * time.Second) // two comparisons, without a change
	if now := lb.IPVSTable(); now != out {
		t.Errorf("the table changed from\n%s to\n%s", out, now)
	}
	if n := lb.IPVSWrites(); n != 0 {
		t.Errorf("%d writes after a restart", n)
	}
}

// TestDrainKeepsConnections removes a server from the file: its open connection continues,
// new ones go to other servers, and it is removed from the table when the connection has
// ended, or at the deadline.
func TestDrainKeepsConnections(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		p.AdvertInterval = "1s"
		p.Services = lvsdtest.Replace(t, p.Services, "scheduler", "drain_timeout = \"1h\"\nscheduler")
	})
	lb := p.LB[0]
	p.LB[1].StopDaemon() // without connection synchronisation a takeover would break the connection
	rs2 := netip.AddrPortFrom(p.Real[1].Addr(), 80).String()
	var talk *lab.Conversation
	for talk == nil || talk.Server != "rs2" {
		talk = lab.Converse(p.Client, lvsdtest.VIPPort)
	}
	talk.Keep(50*time.Millisecond, 5*time.Second)
	without := func(timeout string) {
		p.Services = lvsdtest.Replace(t, p.WebService(lvsdtest.QuickCheck, 1), "scheduler", "drain_timeout = \""+timeout+"\"\nscheduler")
		p.WriteConfig()
		lb.MustReload()
	}
	without("1h")
	if w := lb.ProcWeight(rs2); w != 0 {
		t.Fatalf("weight %d of a draining server", w)
	}
	for range 4 {
		if c := lab.Converse(p.Client, lvsdtest.VIPPort); c.Server != "rs1" {
			t.Errorf("a new connection went to %s", c.Server)
		}
	}
	// A kill does not end the drain.
	lb.KillDaemon()
	lb.StartDaemon()
	time.Sleep(2 * time.Second) // two counts of its connections
	if w := lb.ProcWeight(rs2); w != 0 {
		t.Fatalf("weight %d of a draining server, after a restart", w)
	}
	before, _ := talk.Lines()
	p.WaitUntil(5*time.Second, "another line", func() bool { n, _ := talk.Lines(); return n > before || talk.Err() != nil })
	if err := talk.Err(); err != nil {
		t.Fatalf("a connection did not survive the drain: %v", err)
	}
	// A shorter time in the file applies to a drain in progress.
	without("3s")
	p.WaitUntil(30*time.Second, "the deadline", func() bool { return lb.ProcWeight(rs2) == -1 })
	talk.Close()
}

// TestFlushedTableIsRestored: ipvsadm -C under a running director, once and repeatedly.
func TestFlushedTableIsRestored(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) { p.AdvertInterval = "1s" })
	lb := p.LB[0]
	before := lb.IPVSTable()
	lb.MustRun("ipvsadm", "-C")
	took := p.WaitUntil(5*time.Second, "the table to be restored", func() bool { return lb.IPVSTable() == before })
	t.Logf("FIGURE a flushed table was restored after %v (resync_interval 1s)", took)

	rs1 := netip.AddrPortFrom(p.Real[0].Addr(), 80).String()
	rival := lb.Start("sh", "-c", "while :; do ipvsadm -e -t "+lvsdtest.VIPPort+" -r "+rs1+" -g -w 50; sleep 0.3; done")
	p.WaitUntil(60*time.Second, "the conflict in the status", func() bool {
		return strings.Contains(lb.Process.Output(), "conflicting changes by another process")
	})
	at := lb.IPVSWrites()
	time.Sleep(5 * time.Second)
	if n := lb.IPVSWrites() - at; n > 6 {
		t.Errorf("%d writes in 5 s of a conflict, want at most one a second (resync_interval)", n)
	}
	if n := strings.Count(lb.Process.Output(), "conflicting changes by another process"); n != 1 {
		t.Errorf("the conflict was logged %d times", n)
	}
	rival.Kill()
	<-rival.Done()
	p.WaitUntil(30*time.Second, "our weight", func() bool { return lb.ProcWeight(rs1) == 1 })
	p.WaitUntil(60*time.Second, "the end of the conflict", func() bool {
		return strings.Contains(lb.Process.Output(), "conflicting changes ended")
	})
}
