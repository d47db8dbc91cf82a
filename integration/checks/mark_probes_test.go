package checks_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// checkHealth returns the health of a real server by each of its checks, in the order
// of the file.
func checkHealth(d *lvsdtest.Director, service, realServer string) (all []string) {
	out, err := d.LVSD("why", "--json", service, realServer, "--socket", d.Socket)
	if err != nil {
		return []string{out}
	}
	var why struct {
		Servers []struct {
			Checks []struct {
				Health string `json:"verdict"`
			} `json:"checks"`
		} `json:"real_servers"`
	}
	if err := json.Unmarshal([]byte(out), &why); err != nil || len(why.Servers) != 1 {
		return []string{out}
	}
	for _, c := range why.Servers[0].Checks {
		all = append(all, c.Health)
	}
	return all
}

// checkProbeCommand: lvsd probe lets the daemon run a check through the forwarding, once;
// without a daemon the result is not a success.
func checkProbeCommand(p *lvsdtest.Pair) {
	p.T.Helper()
	real := p.Real[0].Addr().String() + ":80"
	probe := func(code int, texts []string, more ...string) {
		p.T.Helper()
		c := p.LB[0].Start(append([]string{lvsdtest.Binary(p.T), "probe", "-c", p.ConfigFile, "--director", "lb1", "web", real}, more...)...)
		lvsdtest.WaitExit(p.T, c, code, texts...)
	}
	probe(0, []string{"web " + real + ": connect check of " + real + "\n", "web " + real + ": connect through check of " + lvsdtest.VIPPort + ", through the kernel, by the daemon",
		"connect  10.77.0.11:", " to " + lvsdtest.VIPPort})
	probe(1, []string{"not run: this check runs through the kernel, which needs the daemon: cannot connect to lvsd"}, "--socket", p.Path("absent.sock"))
}

// checkFlush: after the IPVS table was flushed, a probe reaches whichever host has the
// address. That is not regarded as a failure of the server.
func checkFlush(p *lvsdtest.Pair) {
	p.T.Helper()
	lb := p.LB[0]
	for i := range 2 {
		// The table is repaired within milliseconds: not each flush meets a probe.
		var flushed time.Time
		p.WaitUntil(30*time.Second, "a probe without its firewall-mark service", func() bool {
			if time.Since(flushed) > time.Second {
				lb.MustRun("ipvsadm", "-C")
				flushed = time.Now()
			}
			out, err := lb.LVSD("why", "--json", "web", "--socket", lb.Socket)
			return err == nil && strings.Count(out, "the kernel had no path") > i
		})
	}
	p.WaitUntil(20*time.Second, "the firewall-mark services", func() bool { return strings.Count(lb.IPVSTable(), "-A -f ") == 2 })
	out, err := lb.LVSD("events", "--since", "1h", "--json", "--socket", lb.Socket)
	if err != nil {
		p.T.Fatal(err)
	}
	downs := 0
	for line := range strings.Lines(out) {
		if strings.Contains(line, `"kind":"health"`) && strings.Contains(line, `"to":"down"`) {
			downs++
		}
	}
	if downs != 1 { // of the server that lost the address
		p.T.Errorf("%d checks went down:\n%s", downs, out)
	}
}

// TestMarkProbes: a real server that lost the VIP is detected by a probe through the
// kernel's forwarding, on the master, which has the VIP itself, and on the backup, while
// the probe of the server's own address succeeds.
func TestMarkProbes(t *testing.T) {
	for _, c := range []struct {
		forward, dev string
		prepare      func(r *lab.Host)
	}{
		{"dr", "lo", func(r *lab.Host) { r.PrepareDR(lvsdtest.VIP) }},
		{"tun", "tunl0", func(r *lab.Host) { r.PrepareTUN(lvsdtest.VIP) }},
	} {
		t.Run(c.forward, func(t *testing.T) {
			p := lvsdtest.NewPair(t, 2)
			for _, r := range p.Real {
				c.prepare(r)
				lab.ServeLines(r, ":80", r.Name)
			}
			check := func(more string) string {
				return fmt.Sprintf(`{ type = "connect", interval = "200ms", timeout = "1s", rise = 1, fall = 1%s }`, more)
			}
			p.Services = p.ServiceConfig("web", lvsdtest.VIPPort, fmt.Sprintf("forward = %q\nscheduler = \"rr\"\ncheck = [%s, %s]", c.forward, check(""), check(", through = true")), 80)
			for _, d := range p.LB {
				d.SetSysctl("net.ipv4.conf.all.rp_filter", "0")
				d.SetSysctl("net.ipv4.conf.eth0.rp_filter", "1")
			}
			p.StartBoth()
			for _, d := range p.LB {
				d.WaitServing(2)
			}
			lost := p.Real[0].Addr().String() + ":80"
			p.Real[0].DelAddress(c.dev, lvsdtest.VIP+"/32")
			for _, d := range p.LB {
				d.WaitWeight(lost, 0, 20*time.Second)
				if got := checkHealth(d, "web", lost); !slices.Equal(got, []string{"up", "down"}) {
					t.Errorf("%s: the direct probe and the one through IPVS: %v, want up and down", d.Name, got)
				}
				d.WaitWeight(p.Real[1].Addr().String()+":80", 1, 5*time.Second)
			}
			p.WaitUntil(20*time.Second, "a response from the server that has the address", func() bool {
				c, err := lab.TryConverse(p.Client, lvsdtest.VIPPort, time.Second)
				if err != nil {
					return false
				}
				c.Close()
				return c.Server == "rs2"
			})
			p.Real[0].AddAddress(c.dev, lvsdtest.VIP+"/32")
			for _, d := range p.LB {
				d.WaitWeight(lost, 1, 20*time.Second)
			}

			s, err := p.LB[0].Status()
			if err != nil || len(s.Services) != 1 {
				t.Errorf("the services of the probes are in the status: %+v, %v", s.Services, err)
			}
			if table := p.LB[0].IPVSTable(); strings.Count(table, "-A -f ") != 2 {
				t.Errorf("want a firewall-mark service for each server:\n%s", table)
			}
			checkProbeCommand(p)
			checkFlush(p)
			for name, want := range map[string]string{"accept_local": "1", "rp_filter": "0"} {
				if got, _ := p.LB[0].Sysctl("net.ipv4.conf.eth0." + name); got != want {
					t.Errorf("%s is %s while mark probes are configured", name, got)
				}
			}
			// A reload without such checks removes the services and restores the settings.
			p.Services = p.ServiceConfig("web", lvsdtest.VIPPort, fmt.Sprintf("forward = %q\nscheduler = \"rr\"\ncheck = %s", c.forward, check("")), 80)
			p.WriteConfig()
			p.LB[0].MustReload()
			p.LB[1].KillDaemon() // and so does a start after a crash
			p.LB[1].StartDaemon()
			for _, d := range p.LB {
				p.WaitUntil(10*time.Second, d.Name+" has no firewall-mark service", func() bool { return !strings.Contains(d.IPVSTable(), "-f ") })
				for name, want := range map[string]string{"accept_local": "0", "rp_filter": "1"} {
					if got, _ := d.Sysctl("net.ipv4.conf.eth0." + name); got != want {
						t.Errorf("%s: %s is %s afterwards, want the value of before: %s", d.Name, name, got, want)
					}
				}
			}
		})
	}
}

// TestMTUFaultIsFound: a server's network drops packets of the full size without an ICMP
// error. Direct connections stay below that size, those through the tunnel do not: the
// direct probe succeeds, the same request through IPVS fails.
func TestMTUFaultIsFound(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	for _, r := range p.Real {
		r.PrepareTUN(lvsdtest.VIP)
		lab.ServeHTTP(r, ":80", r.Name)
	}
	check := `{ type = "http", method = "POST", body = "` + strings.Repeat("x", 3000) + `", interval = "500ms", timeout = "400ms", rise = 1, fall = 2`
	p.Services = p.ServiceConfig("web", lvsdtest.VIPPort, fmt.Sprintf("forward = \"tun\"\nscheduler = \"rr\"\ncheck = [%s }, %s, through = true }]", check, check), 80)
	lb := p.LB[0]
	lb.SetSysctl("net.ipv4.conf.all.rp_filter", "0")
	for _, dev := range []string{"lo", "eth0"} { // as on a physical network: veth would forward several segments as one packet
		lb.MustRun("ip", "link", "set", dev, "gso_max_segs", "1")
	}
	lb.StartMaster(2)
	p.Real[0].MustRun("ip", "link", "set", "eth0", "mtu", "1400")
	narrow := p.Real[0].Addr().String() + ":80"
	lb.WaitWeight(narrow, 0, 20*time.Second)
	if got := checkHealth(lb, "web", narrow); !slices.Equal(got, []string{"up", "down"}) {
		t.Errorf("the direct probe and the one through IPVS: %v, want up and down", got)
	}
	lb.WaitWeight(p.Real[1].Addr().String()+":80", 1, 5*time.Second)
	p.Real[0].MustRun("ip", "link", "set", "eth0", "mtu", "1500")
	lb.WaitWeight(narrow, 1, 20*time.Second)
}
