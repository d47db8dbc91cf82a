// Settings besides the table: of connection synchronisation, and the kernel's timeouts;
// and the rates and connections of a busy kernel.

package ipvs_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestSyncSettingsReachTheKernel reads each setting with ipvsadm and sysctl. What the
// network or the kernel does not support is refused with the reason, by a reload and by a
// start.
func TestSyncSettingsReachTheKernel(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) { p.AdvertInterval = "1s" })
	lb := p.LB[0]
	p.LB[1].StopDaemon() // lvsd is started with its name below
	file := func(ipvs string) {
		p.WriteFile("lvsd.toml", lvsdtest.Replace(t, p.Config(), "[ipvs]", "[ipvs]\n"+ipvs))
	}
	daemons := func() string { return lb.MustRun("ipvsadm", "-L", "--daemon") }
	has := func(want, maxlen string) { // the receiver uses the MTU of the interface
		t.Helper()
		head, tail, _ := strings.Cut(want, "*")
		if got := daemons(); !lvsdtest.ContainsAll(got, "master sync daemon ("+head+maxlen+tail, "backup sync daemon ("+head+"1472"+tail) {
			t.Errorf("want %s with %s, the kernel has\n%s", want, maxlen, got)
		}
	}
	reload := func() {
		t.Helper()
		lb.MustReload()
	}
	file("timeout_tcp = \"11m\"\ntimeout_tcp_fin = \"77s\"\ntimeout_udp = \"99s\"\n" +
		`sync = { interface = "eth0", id = 7, group = "224.0.0.90", port = 9000, ttl = 2, maxlen = 1200, threshold = [1, 20], refresh_period = "5s" }`)
	reload()
	has("mcast=eth0, syncid=7, maxlen=*, group=224.0.0.90, port=9000, ttl=2)", "1200")
	for name, want := range map[string]string{"sync_threshold": "1\t20", "sync_refresh_period": "5"} {
		if v, err := lb.Sysctl("net.ipv4.vs." + name); err != nil || v != want {
			t.Errorf("%s is %q, %v, want %q", name, v, err, want)
		}
	}
	if out := lb.MustRun("ipvsadm", "-L", "--timeout"); !strings.Contains(out, "660 77 99") {
		t.Errorf("timeouts: %s", out)
	}
	file(`sync = { interface = "eth0", id = 7 }`)
	reload()
	has("mcast=eth0, syncid=7, maxlen=*, group=224.0.0.81, port=8848, ttl=1)", "1472")
	good := daemons()
	refuses := func(what string, words ...string) {
		t.Helper()
		if out, err := lb.Reload(); lvsdtest.ExitCode(err) != 1 || !lvsdtest.ContainsAll(out, words...) {
			t.Errorf("%s: reload: %v\n%s", what, err, out)
		}
		out, err := lb.LVSD("run", "--strict", "-c", p.ConfigFile, "--director", "lb2", "--state-dir", p.Path("elsewhere"))
		if lvsdtest.ExitCode(err) != 1 || !lvsdtest.ContainsAll(out, words...) {
			t.Errorf("%s: start: %v\n%s", what, err, out)
		}
		if now := daemons(); now != good {
			t.Errorf("%s: changed to\n%s", what, now)
		}
	}
	file(`sync = { interface = "eth0", id = 7, maxlen = 1473 }`)
	refuses("maxlen above the MTU", "[ipvs.sync]", "messages of 1473 bytes", "at most 1472")
	// A smaller MTU reduces the length of messages.
	lb.MustRun("ip", "link", "set", "eth0", "mtu", "1400")
	file(`sync = { interface = "eth0", id = 7 }`)
	reload()
	p.WaitUntil(10*time.Second, "messages of the smaller length", func() bool {
		return strings.Contains(daemons(), "master sync daemon (mcast=eth0, syncid=7, maxlen=1372")
	})
	good = daemons()
	lb.SetSysctl("net.ipv4.vs.backup_only", "1")
	file(`sync = { interface = "eth0", id = 8 }`)
	refuses("backup_only", "backup_only = 1", "set it to 0")
	lb.SetSysctl("net.ipv4.vs.backup_only", "0")
	reload()
	if out := daemons(); !lvsdtest.ContainsAll(out, "syncid=8") {
		t.Errorf("after backup_only was set back:\n%s", out)
	}
}

// TestManyConnections: of thousands of connections the first are listed, with a note that
// there are more; rates equal the kernel's.
func TestManyConnections(t *testing.T) {
	const flows = 3000
	p := lvsdtest.NewPair(t, 1)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	lb := p.LB[0]
	lab.ServeUDP(p.Real[0], lvsdtest.VIP+":53", "rs1")
	p.Services = p.ServiceConfig("dns", lvsdtest.VIP+":53", "protocol = \"udp\"\ncheck = { type = \"on\" }", 53)
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "the server in the table", func() bool { return lb.ProcWeight(p.Real[0].Addr().String()+":53") == 1 })
	to := netip.MustParseAddr(lvsdtest.VIP).As4()
	if err := p.Client.Do(func() error {
		for i := range flows {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: p.Client.Addr().As4(), Port: 20_000 + i})
			if err == nil {
				err = unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Addr: to, Port: 53})
			}
			unix.Close(fd)
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// A busy kernel may drop some packets; most flows exist.
	p.WaitUntil(20*time.Second, "most flows", func() bool {
		s, err := lb.GetAPI("/api/v1/status")
		return err == nil && kernelCounts(s).Inactive > flows/2
	})
	var peak, kernel string
	p.WaitUntil(20*time.Second, "a rate of connections", func() bool {
		s, err := lb.GetAPI("/api/v1/status")
		if err != nil || kernelCounts(s).Rates.Connections == 0 {
			return false
		}
		peak, kernel = fmt.Sprint(kernelCounts(s).Rates), lb.MustRun("ipvsadm", "-L", "-n", "--rate")
		return true
	})
	t.Logf("rates %s, ipvsadm:\n%s", peak, kernel)
	start := time.Now()
	out, err := lb.LVSD("status", "--connections", "dns", "--socket", lb.Socket)
	if lines := strings.Count(out, "\n"); err != nil || lines != 1002 || !strings.Contains(out, "and more (first 1000 that the kernel listed)") {
		t.Errorf("%d lines, %v:\n%.300s", lines, err, out)
	}
	t.Logf("listed after %v", time.Since(start))
	var list struct {
		Connections []json.RawMessage
		More        bool
	}
	if out, err := lb.LVSD("status", "--connections", "--json", "--socket", lb.Socket); err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Connections) != 1000 || !list.More {
		t.Errorf("as JSON: %v, %d connections, more %v", err, len(list.Connections), list.More)
	}
}

// counts are those of the first server of the first service.
type counts struct {
	Inactive int `json:"inactive_connections"`
	Rates    struct {
		Connections uint64 `json:"connections_per_second"`
		PacketsIn   uint64 `json:"packets_in_per_second"`
		BytesIn     uint64 `json:"bytes_in_per_second"`
	} `json:"rates"`
}

func kernelCounts(text string) counts {
	var s struct {
		Services []struct {
			RealServers []counts `json:"real_servers"`
		} `json:"virtual_services"`
	}
	if json.Unmarshal([]byte(text), &s) != nil || len(s.Services) == 0 || len(s.Services[0].RealServers) == 0 {
		return counts{}
	}
	return s.Services[0].RealServers[0]
}
