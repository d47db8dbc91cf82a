package operate_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// snapshot returns all that `lvsd realserver` may change on a host.
func snapshot(t *testing.T, h *lab.Host) string {
	t.Helper()
	var b strings.Builder
	for _, s := range []string{"all.arp_ignore", "all.arp_announce", "lo.arp_ignore", "eth0.arp_ignore", "all.rp_filter", "eth0.rp_filter",
		"tunl0.rp_filter", "gre0.rp_filter"} {
		v, _ := h.Sysctl("net.ipv4.conf." + s)
		fmt.Fprintln(&b, s, v)
	}
	addrs := h.Addresses("")
	slices.SortFunc(addrs, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	fmt.Fprintln(&b, addrs)
	for line := range strings.Lines(h.MustRun("ip", "-brief", "link")) {
		if f := strings.Fields(line); len(f) > 1 {
			fmt.Fprintln(&b, f[0], f[len(f)-1])
		}
	}
	return b.String()
}

// TestRealServer: a host that was prepared by `lvsd realserver up` alone serves through a
// director, and `down` restores its earlier settings.
func TestRealServer(t *testing.T) {
	for _, c := range []struct{ name, vip, up, director string }{
		{"dr", lvsdtest.VIP, "", "-g"},
		{"ipip", lvsdtest.VIP, "--forward tun", "-i"},
		{"gue", lvsdtest.VIP, "--forward tun --type gue --port 6081", "-i --tun-type gue --tun-port 6081"},
		{"gre", lvsdtest.VIP, "--forward tun --type gre", "-i --tun-type gre"},
		{"gre with checksum", lvsdtest.VIP, "--forward tun --type gre --checksum --local 10.77.0.21", "-i --tun-type gre --tun-csum"},
		{"dr over IPv6", lvsdtest.VIP6, "", "-g"},
		{"ip6ip6", lvsdtest.VIP6, "--forward tun", "-i"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab.RequireKernel(t)
			l := lab.New(t)
			lan := l.LAN("lan", "10.77.0.0/24")
			client, lb, rs := l.Host("client", lan, "10.77.0.2/24"), l.Host("lb", lan, "10.77.0.11/24"), l.Host("rs1", lan, "10.77.0.21/24")
			server, service := rs.Addr().String()+":80", c.vip+":80"
			bits := "/32"
			if c.vip == lvsdtest.VIP6 {
				for h, a := range map[*lab.Host]string{client: "2", lb: "11", rs: "21"} {
					h.AddAddress("eth0", "fd00:77::"+a+"/64")
				}
				server, service, bits = "[fd00:77::21]:80", "["+lvsdtest.VIP6+"]:80", "/128"
			}
			lab.ServeLines(rs, ":80", "rs1")
			// Deprecated, or IPv6 would choose it as the source of the outer packet,
			// and a real server drops a packet from its own address.
			lb.MustRun("ip", "address", "add", c.vip+bits, "dev", "eth0", "preferred_lft", "0")
			lb.MustRun("ipvsadm", "-A", "-t", service, "-s", "rr")
			lb.MustRun(append([]string{"ipvsadm", "-a", "-t", service, "-r", server}, strings.Fields(c.director)...)...)

			dir := l.Path("state")
			args := func(verb string, more ...string) []string {
				return append([]string{"realserver", verb, "--vip", c.vip, "--state-dir", dir}, more...)
			}
			way := strings.Fields(c.up)
			// The first time loads modules, whose devices remain.
			for range 2 {
				if out, code := lvsdtest.LVSDOn(t, rs, args("up", way...)...); code != 0 {
					t.Fatalf("up: exit %d\n%s", code, out)
				}
				if out, code := lvsdtest.LVSDOn(t, rs, args("down")...); code != 0 {
					t.Fatalf("down: exit %d\n%s", code, out)
				}
			}
			found := snapshot(t, rs)
			if strings.Contains(found, c.vip) {
				t.Fatalf("down left the address:\n%s", found)
			}
			if out, code := lvsdtest.LVSDOn(t, rs, args("status", append(way, "--json")...)...); code != 1 || !strings.Contains(out, `"up": false`) {
				t.Errorf("status while down: exit %d\n%s", code, out)
			}
			if conn, err := lab.TryConverse(client, service, time.Second); err == nil {
				conn.Close()
				t.Error("a host that is not a real server replies")
			}

			for range 2 { // up is idempotent
				if out, code := lvsdtest.LVSDOn(t, rs, args("up", way...)...); code != 0 {
					t.Fatalf("up: exit %d\n%s", code, out)
				}
			}
			out, code := lvsdtest.LVSDOn(t, rs, "realserver", "status", "--json", "--state-dir", dir)
			var states []struct {
				VIP   string `json:"vip"`
				Up    bool   `json:"up"`
				Known bool   `json:"known"`
			}
			if err := json.Unmarshal([]byte(out), &states); err != nil || code != 0 || len(states) != 1 || states[0].VIP != c.vip || !states[0].Up || !states[0].Known {
				t.Errorf("status: exit %d, %v\n%s", code, err, out)
			}
			l.WaitUntil(15*time.Second, "a response through the director", func() bool {
				conn, err := lab.TryConverse(client, service, 2*time.Second)
				if err == nil {
					conn.Close()
				}
				return err == nil
			})
			for range 2 { // so is down
				if out, code := lvsdtest.LVSDOn(t, rs, args("down")...); code != 0 {
					t.Fatalf("down: exit %d\n%s", code, out)
				}
			}
			if now := snapshot(t, rs); now != found {
				t.Errorf("down left\n%s\nbefore\n%s", now, found)
			}
			// Also after up was killed at any point.
			for i := range 6 {
				p := rs.Start(append([]string{lvsdtest.Binary(t)}, args("up", way...)...)...)
				<-time.After(time.Duration(60+25*i) * time.Millisecond) // during its work
				p.Kill()
				<-p.Done()
				if out, code := lvsdtest.LVSDOn(t, rs, args("down")...); code != 0 {
					t.Fatalf("down after a crash: exit %d\n%s", code, out)
				}
				if now := snapshot(t, rs); now != found {
					t.Fatalf("down after a crash left\n%s\nbefore\n%s", now, found)
				}
			}
		})
	}
}

// TestRealServerUsage: invalid arguments are a usage error, what cannot be done is a
// failure.
func TestRealServerUsage(t *testing.T) {
	lab.RequireKernel(t)
	l := lab.New(t)
	h := l.Host("rs1", l.LAN("lan", "10.77.0.0/24"), "10.77.0.21/24")
	dir := l.Path("state")
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"up", "--vip", 2},
		{"up --vip nowhere", "not an IP address", 2},
		{"up --vip 10.77.0.100 --forward nat", "must be dr or tun", 2},
		{"up --vip 10.77.0.100 --type gre", "need --forward tun", 2},
		{"up --vip 10.77.0.21", "is already on eth0", 1},
		{"status", "no address is up", 1},
		{"down", "", 0},
		{"sideways", "is not a command", 2},
	} {
		out, code := lvsdtest.LVSDOn(t, h, append([]string{"realserver", "--state-dir", dir}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("realserver %s: exit %d, want %d with %q\n%s", c.args, code, c.code, c.want, out)
		}
	}
}

// TestHostPrepare: check reports a director whose kernel does not forward packets, and it
// serves NAT once prepared; settings that are not needed are not changed.
func TestHostPrepare(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	lb := p.LB[0]
	inner := p.LAN("inner", "10.78.0.0/24")
	lb.Plug(inner, "10.78.0.1/24")
	r := p.Host("rs1", inner, "10.78.0.21/24")
	r.PrepareNAT("10.78.0.1")
	lab.ServeLines(r, ":8080", "rs1")
	p.Real = append(p.Real, r)
	p.Services = p.ServiceConfig("web", lvsdtest.VIPPort, "forward = \"nat\"\ncheck = "+lvsdtest.QuickCheck, 8080)
	p.WriteConfig()
	settings := []string{"net.ipv4.ip_forward", "net.ipv4.conf.all.send_redirects", "net.ipv4.conf.eth1.send_redirects", "net.ipv4.vs.conntrack",
		"net.ipv4.conf.all.rp_filter", "net.ipv6.conf.all.forwarding"}
	for i, v := range []string{"0", "1", "1", "0", "0", "0"} {
		lb.SetSysctl(settings[i], v)
	}
	values := func() (all []string) {
		for _, s := range settings {
			v, err := lb.Sysctl(s)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, v)
		}
		return all
	}
	before := values()
	command := func(args ...string) (string, int) {
		return lvsdtest.LVSDOn(t, lb.Host, append(append([]string{"host"}, args...), "-c", p.ConfigFile, "--director", "lb1")...)
	}
	out, code := command("check", "--json")
	var checked struct {
		OK       bool `json:"ok"`
		Findings []struct {
			Name string `json:"name"`
			OK   bool   `json:"ok"`
		} `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &checked); err != nil || code != 1 || checked.OK {
		t.Fatalf("check: exit %d, %v\n%s", code, err, out)
	}
	bad := map[string]bool{}
	for _, f := range checked.Findings {
		bad[f.Name] = !f.OK
	}
	for _, s := range settings[:4] {
		if !bad[s] {
			t.Errorf("check does not find %s\n%s", s, out)
		}
	}
	out, _ = command("prepare", "--dry-run")
	if !strings.Contains(out, "would: net.ipv4.ip_forward = 1 (was 0)") || !slices.Equal(values(), before) {
		t.Errorf("dry run: %v\n%s", values(), out)
	}
	if !strings.Contains(out, "masquerade") || !strings.Contains(out, "10.78.0.21") {
		t.Errorf("no masquerading rule:\n%s", out)
	}
	out, code = command("prepare")
	if want := []string{"1", "0", "0", "1", "0", "0"}; !slices.Equal(values(), want) {
		t.Errorf("prepared %v to %v, want %v\n%s", settings, values(), want, out)
	}
	if _, err := exec.LookPath("nft"); err != nil {
		// Then only the rule is missing, and the message names the package to install.
		if code != 1 || !strings.Contains(out, "install nftables") {
			t.Errorf("prepare without nft: exit %d\n%s", code, out)
		}
	} else if _, err := p.Client.Run(t.Context(), "nft", "add", "table", "ip", "probe"); err != nil {
		// User-Mode Linux has nftables without any family of packets.
		if code != 1 || !strings.Contains(out, "this kernel does not support nftables") {
			t.Errorf("prepare without nftables in the kernel: exit %d\n%s", code, out)
		}
	} else {
		if code != 0 {
			t.Errorf("prepare: exit %d\n%s", code, out)
		}
		if out, code := command("check"); code != 0 {
			t.Errorf("check of a prepared host: exit %d\n%s", code, out)
		}
		if out, code := command("prepare"); code != 0 || !strings.Contains(out, "nothing to change") {
			t.Errorf("prepare again: exit %d\n%s", code, out)
		}
		// A real server's own connections leave with the director's address.
		peers := make(chan string, 1)
		ln, err := p.Client.Listen("tcp", "10.77.0.2:9000")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			if conn, err := ln.Accept(); err == nil {
				peers <- conn.RemoteAddr().String()
				conn.Close()
			}
		}()
		conn, err := r.Dial(t.Context(), "tcp", "10.77.0.2:9000")
		if err != nil {
			t.Fatalf("a real server cannot connect: %v", err)
		}
		defer conn.Close()
		if peer := <-peers; !strings.HasPrefix(peer, "10.77.0.11:") {
			t.Errorf("a real server connected from %s", peer)
		}
	}
	lb.StartDaemon()
	lb.WaitState("master", 10*time.Second)
	p.WaitUntil(10*time.Second, "a response by NAT", func() bool {
		conn, err := lab.TryConverse(p.Client, lvsdtest.VIPPort, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
