package operate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestBadReloads reloads a running director with every bad file of the configuration's
// own tests, and a few that only this host refuses: each is refused with the reason and
// nothing changes.
func TestBadReloads(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) { p.AdvertInterval = "1s" })
	lb := p.LB[0]
	good := p.Config()
	before := lb.IPVSTable()
	first, err := lb.Status()
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"a missing interface":     lvsdtest.Replace(t, good, `interface = "eth0"`, `interface = "eth7"`),
		"another state directory": lvsdtest.Replace(t, good, "lb1.state", "elsewhere"),
		"a port that is taken":    lvsdtest.Replace(t, good, "[global]", "[global]\nhttp_listen = \"127.0.0.1:9\""),
		"an empty file":           "",
		"binary rubbish":          "\x00\x01\xff\xfe",
	}
	if missing := lb.MissingScheduler(); missing != "" {
		bad["a missing scheduler"] = lvsdtest.Replace(t, good, `scheduler = "rr"`, `scheduler = "`+missing+`"`)
	} else {
		t.Log("a missing scheduler is not tested: this kernel has all")
	}
	files, err := filepath.Glob(lvsdtest.RepositoryFile(t, "config/testdata/bad-*.toml"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d bad files (%v)", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		bad[filepath.Base(f)] = string(text)
	}
	taken, err := lb.Listen("tcp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	// A conversation and the advertisements continue meanwhile.
	talk := lab.Converse(p.Client, lvsdtest.VIPPort)
	talk.Keep(20*time.Millisecond, 2*time.Second)
	for name, text := range bad {
		p.WriteFile("lvsd.toml", text)
		v, err := lb.PostAPI("/control/v1/reload") // as lvsd reload does, without the cost of a process
		if err != nil || v.OK || len(v.Errors) == 0 || v.Hash != first.Config.Hash {
			t.Errorf("%s: %v, %+v", name, err, v)
			continue
		}
		if strings.HasPrefix(name, "bad-") && !strings.Contains(v.Errors[0], "lvsd.toml:") {
			t.Errorf("%s: no position in the message: %s", name, v.Errors[0])
		}
	}
	if out, err := lb.Reload(); lvsdtest.ExitCode(err) != 1 || !lvsdtest.ContainsAll(out, "lvsd.toml", "reload rejected; still running configuration "+first.Config.Hash) {
		t.Errorf("lvsd reload: %v\n%s", err, out)
	}
	if got := lb.Metric("lvsd_config_last_reload_successful"); got != "0" {
		t.Errorf("lvsd_config_last_reload_successful %s after a refused reload", got)
	}
	s, err := lb.Status()
	if err != nil || s.Config.Hash != first.Config.Hash || s.Config.ReloadError == "" || s.Healthy || s.VRRP[0].State != "master" {
		t.Errorf("status after refused reloads: %+v, %v", s, err)
	}
	if after := lb.IPVSTable(); after != before {
		t.Errorf("the table changed from\n%s to\n%s", before, after)
	}
	if err := talk.Err(); err != nil {
		t.Error(err)
	}
	talk.Close()
	if got := lb.Metric(`lvsd_vrrp_transitions_total{reason="link_down",to="fault",vrrp="web"}`); got != "absent" && got != "0" {
		t.Errorf("faults: %s", got)
	}
	// Without --socket the path of the socket is in the file, broken or not.
	p.WriteFile("lvsd.toml", good+"\n[broken\n")
	if out, err := lb.LVSD("reload", "-c", p.ConfigFile, "--director", "lb1"); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "lvsd.toml:") {
		t.Errorf("lvsd reload with a broken file: %v\n%s", err, out)
	}
	// What the kernel refuses is a failure: a broadcast address as a real server.
	p.WriteFile("lvsd.toml", strings.Replace(good, "real_servers = [", "real_servers = [\n  { address = \"10.77.0.255:80\", weight = 1 },", 1))
	if out, err := lb.Reload(); lvsdtest.ExitCode(err) != 1 || !lvsdtest.ContainsAll(out, "10.77.0.255:80", "rejected part of it") {
		t.Errorf("a real server that the kernel refuses: %v\n%s", err, out)
	}
	p.WriteFile("lvsd.toml", good)
	if out, err := lb.Reload(); err != nil {
		t.Errorf("the good file again: %v\n%s", err, out)
	}
	if got := lb.Metric("lvsd_config_last_reload_successful"); got != "1" {
		t.Errorf("lvsd_config_last_reload_successful %s after a good reload", got)
	}
	if s := p.LB[1].VRRPState(); s != "backup" {
		t.Errorf("the backup became %s meanwhile", s)
	}
}

// TestReloadOfOneWeightIsOneWrite counts kernel writes for one changed weight
// among a thousand real servers.
func TestReloadOfOneWeightIsOneWrite(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	lb := p.LB[0]
	p.Real[0].ServePrefix("10.78.0.0/16")
	lb.OnLink("10.78.0.0/16")
	table := func(changed int) string {
		var b strings.Builder
		for s := range 10 {
			fmt.Fprintf(&b, "[[virtual_service]]\nname = \"s%d\"\naddress = \"%s:%d\"\ncheck = { type = \"on\" }\nreal_servers = [\n", s, lvsdtest.VIP, 8000+s)
			for r := range 100 {
				weight := 1
				if s == 4 && r == 50 {
					weight = changed
				}
				fmt.Fprintf(&b, "  { address = \"10.78.%d.%d:%d\", weight = %d },\n", s, r+1, 8000+s, weight)
			}
			b.WriteString("]\n")
		}
		return b.String()
	}
	p.Services = table(1)
	lb.StartDaemon()
	took := lb.WaitWeight("10.78.9.100:8009", 1, 30*time.Second)
	lb.WaitState("master", 30*time.Second)
	p.WaitUntil(30*time.Second, "all servers", func() bool { return lb.IPVSWrites() >= 1010 })
	t.Logf("FIGURE 1,000 real servers in the kernel %v after the start", took)
	before := lb.IPVSWrites()
	p.Services = table(9)
	p.WriteConfig()
	start := time.Now()
	lb.MustReload()
	t.Logf("FIGURE reload of one weight among 1,000, as the command sees it: %v", time.Since(start))
	if w := lb.KernelWeight("10.78.4.51:8004"); w != 9 {
		t.Errorf("weight in the kernel: %d, want 9", w)
	}
	// The series may be a second old: read them after the next full comparison with
	// the kernel.
	done := float64(time.Now().Unix())
	p.WaitUntil(30*time.Second, "a comparison after the reload", func() bool {
		return lb.MetricValue("lvsd_ipvs_last_resync_timestamp_seconds") > done+1
	})
	if got := lb.IPVSWrites() - before; got != 1 {
		t.Errorf("one changed weight took %v kernel writes, want 1", got)
	}
}
