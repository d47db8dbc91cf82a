// GRE and GUE over IPv6, with and without checksums; firewall marks by NAT and by tunnel,
// of both address families.

package ipvs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// realServerUp prepares a host with lvsd realserver up.
func realServerUp(p *lvsdtest.Pair, h *lab.Host, address, way string) {
	p.T.Helper()
	args := append([]string{lvsdtest.Binary(p.T), "realserver", "up", "--vip", address, "--state-dir", p.Path(h.Name + ".state")}, strings.Fields(way)...)
	h.MustRun(args...)
}

// waitServedBy waits until a connection from an address is served, by this server and no
// other.
func waitServedBy(p *lvsdtest.Pair, server, from, to string) {
	p.T.Helper()
	p.WaitUntil(20*time.Second, "a response through "+to, func() bool {
		who, err := askFrom(p, from, to, false)
		if err == nil && who != server {
			p.T.Errorf("%s was served by %s, want %s", to, who, server)
		}
		return err == nil
	})
}

// TestIPv6Tunnels serves connections through each kind of tunnel over IPv6, one for each
// server.
func TestIPv6Tunnels(t *testing.T) {
	ways := []struct{ forward, server, saved string }{
		{`{ type = "gre" }`, "--type gre", "--tun-type gre --tun-nocsum"},
		{`{ type = "gre", checksum = "csum" }`, "--type gre --checksum --local ADDR", "--tun-type gre --tun-csum"},
		{`{ type = "gue", port = 6080 }`, "--type gue --port 6080", "--tun-type gue --tun-port 6080 --tun-nocsum"},
		{`{ type = "gue", port = 6081, checksum = "csum" }`, "--type gue --port 6081", "--tun-type gue --tun-port 6081 --tun-csum"},
		{`{ type = "gue", port = 6082, checksum = "remcsum" }`, "--type gue --port 6082", "--tun-type gue --tun-port 6082 --tun-remcsum"},
	}
	p := sixPair(t, len(ways))
	lb := p.LB[0]
	at := func(i int) string { return fmt.Sprintf("[%s]:%d", sixVIP, 80+i) }
	file := func(weight int) {
		p.Services = ""
		for i, w := range ways {
			p.Services += fmt.Sprintf("[[virtual_service]]\nname = \"s%d\"\naddress = %q\nforward = %s\ncheck = %s\nreal_servers = [ { address = \"[%s]:%d\", weight = %d } ]\n",
				i, at(i), w.forward, lvsdtest.QuickCheck, six(p.Real[i]), 80+i, weight)
		}
		p.WriteConfig()
	}
	for i, w := range ways {
		r := p.Real[i]
		realServerUp(p, r, sixVIP, "--forward tun "+strings.ReplaceAll(w.server, "ADDR", six(r)))
		lab.ServeLines(r, fmt.Sprint(":", 80+i), r.Name)
	}
	saved := func(weight int) {
		t.Helper()
		for i, w := range ways {
			if line := fmt.Sprintf("-a -t %s -r [%s]:%d -i -w %d %s\n", at(i), six(p.Real[i]), 80+i, weight, w.saved); !strings.Contains(lb.IPVSTable(), line) {
				t.Errorf("no %sin\n%s", line, lb.IPVSTable())
			}
		}
	}
	file(1)
	lb.StartDaemon()
	for i := range ways {
		waitServedBy(p, p.Real[i].Name, "", at(i))
	}
	saved(1)
	file(7) // a changed weight does not change the tunnel
	lb.MustReload()
	saved(7)
	for i := range ways {
		waitServedBy(p, p.Real[i].Name, "", at(i))
	}
	restartWritesNothing(p, lb)
	p.Services = ""
	p.WriteConfig()
	if out, err := lb.Reload(); err != nil || lb.IPVSTable() != "" {
		t.Errorf("removed: %v\n%s\nleft:\n%s", err, out, lb.IPVSTable())
	}
}

// restartWritesNothing kills a director and starts it again: the table is unchanged and
// the director writes nothing.
func restartWritesNothing(p *lvsdtest.Pair, lb *lvsdtest.Director) {
	p.T.Helper()
	before := lb.IPVSTable()
	lb.KillDaemon()
	lb.StartDaemon()
	reads := lb.Metric("lvsd_ipvs_last_resync_timestamp_seconds")
	p.WaitUntil(20*time.Second, "health of all servers and a comparison", func() bool {
		s, err := lb.Status()
		if err != nil {
			return false
		}
		for _, svc := range s.Services {
			for _, r := range svc.RealServers {
				if r.Health != "up" {
					return false
				}
			}
		}
		return lb.Metric("lvsd_ipvs_last_resync_timestamp_seconds") != reads
	})
	if now := lb.IPVSTable(); now != before {
		p.T.Errorf("after a restart the table changed from\n%s to\n%s", before, now)
	}
	if n := lb.IPVSWrites(); n != 0 {
		p.T.Errorf("%d writes after a restart", n)
	}
}

// TestMarksByNATAndTunnel: firewall marks of both address families, with servers by NAT
// and by tunnel.
func TestMarksByNATAndTunnel(t *testing.T) {
	p := sixPair(t, 4)
	lb := p.LB[0]
	nat, ipip, gre, gue := p.Real[0], p.Real[1], p.Real[2], p.Real[3]
	const client, client6 = "10.77.0.2", "2001:db8:77::2"
	// The NAT server's replies go through the director, which is on its LAN.
	nat.SetSysctl("net.ipv4.conf.all.accept_redirects", "0")
	nat.SetSysctl("net.ipv6.conf.eth0.accept_redirects", "0")
	nat.Route(client+"/32", "10.77.0.11")
	nat.Route(client6+"/128", "2001:db8:77::11")
	for r, way := range map[*lab.Host]string{ipip: "", gre: "--type gre", gue: "--type gue --port 6080"} {
		realServerUp(p, r, lvsdtest.VIP, "--forward tun "+way)
		realServerUp(p, r, sixVIP, "--forward tun "+way)
	}
	forwards := []string{`"nat"`, `"tun"`, `{ type = "gre" }`, `{ type = "gue", port = 6080 }`}
	saved := []string{"-m -w 1", "-i -w 1 --tun-type ipip", "-i -w 1 --tun-type gre --tun-nocsum", "-i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum"}
	lb.MustRun("tc", "qdisc", "add", "dev", "eth0", "clsact")
	var want []string
	for i, r := range p.Real {
		mark, port := 7+i, 8000+i
		for family, to := range map[string]string{"ip": lvsdtest.VIP, "ipv6": sixVIP} {
			lb.MustRun(strings.Fields(fmt.Sprintf("tc filter add dev eth0 ingress protocol %s flower dst_ip %s ip_proto tcp dst_port %d action skbedit mark %d", family, to, port, mark))...)
		}
		lab.ServeLines(r, fmt.Sprint(":", port), r.Name)
		for family, address := range map[string]string{"ipv4": r.Addr().String(), "ipv6": six(r)} {
			p.Services += fmt.Sprintf("[[virtual_service]]\nname = \"m%d%s\"\nfwmark = %d\nfamily = %q\nforward = %s\nreal_servers = [ { address = %q, weight = 1 } ]\ncheck = { type = \"on\" }\n",
				mark, family, mark, family, forwards[i], address)
		}
		want = append(want, fmt.Sprintf("-A -f %d -s wlc\n", mark), fmt.Sprintf("-a -f %d -r %s:0 %s\n", mark, r.Addr(), saved[i]),
			fmt.Sprintf("-A -f %d -6 -s wlc\n", mark), fmt.Sprintf("-a -f %d -6 -r [%s]:0 %s\n", mark, six(r), saved[i]))
	}
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	for i, r := range p.Real {
		waitServedBy(p, r.Name, client, fmt.Sprintf("%s:%d", lvsdtest.VIP, 8000+i))
		waitServedBy(p, r.Name, client6, fmt.Sprintf("[%s]:%d", sixVIP, 8000+i))
	}
	if out := lb.IPVSTable(); !lvsdtest.ContainsAll(out, want...) || strings.Count(out, "\n") != len(want) {
		t.Errorf("want\n%s got\n%s", strings.Join(want, ""), out)
	}
	restartWritesNothing(p, lb)
}
