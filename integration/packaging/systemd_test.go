package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// packaged finds the one package of a kind that `make package` left.
func packaged(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(lvsdtest.RepositoryFile(t, "bin/packages", pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d packages %s in bin/packages: `make package` makes one", len(found), pattern)
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// serviceLab is the README's pair: lb1 a machine with the package, lb2 a director
// without a service manager, three real servers.
func serviceLab(t *testing.T, change func(string) string) (*lvsdtest.Pair, *machine) {
	g := lvsdtest.ReadGuide(t, "README.md")
	g["toml"] = change(g["toml"])
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, addr := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21"} {
		r := p.AddRealServer(p.Net, addr+"/24")
		lab.Nginx(r, "80", r.Name)
		p.RunGuide(r, g["sh real servers"])
	}
	m := boot(t, p.Lab, p.LB[0].Host)
	deb := packaged(t, "lvsd_*.deb")
	out := m.install(deb)
	if !strings.Contains(out, "write /etc/lvsd/lvsd.toml") {
		t.Errorf("a first installation does not say what to do:\n%s", out)
	}
	m.write("etc/lvsd/lvsd.toml", g["toml"])
	return p, m
}

// install lets dpkg install a package.
func (m *machine) install(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("root/lvsd.deb", string(text))
	return m.do("dpkg", "-i", "/root/lvsd.deb")
}

// TestOncallService lets a systemd run what the package brings: started, reloaded,
// refused, restarted, killed, hung, upgraded, stopped and removed, beside a peer and
// under a client whose connection has to last.
func TestOncallService(t *testing.T) {
	// Long adverts: a process takes seconds to start in the lab's kernel, and a restart
	// must be over before the peer's time has run out.
	p, m := serviceLab(t, func(s string) string {
		return lvsdtest.Replace(t, s, "virtual_router_id = 51\n", "virtual_router_id = 51\nadvert_interval = \"6s\"\n")
	})
	lb := p.LB[0]
	if state := m.show("UnitFileState"); state != "disabled" || m.show("ActiveState") != "inactive" {
		t.Errorf("after the installation the unit is %s, %s", state, m.show("ActiveState"))
	}
	m.do("lvsd", "check", "--host")
	m.do("systemctl", "enable", "--now", "lvsd") // Type=notify: it is back when the daemon is ready
	for server, weight := range map[string]int{"10.0.0.9:80": 2, "10.0.0.20:80": 5, "10.0.0.21:80": 5} {
		lb.WaitWeight(server, weight, 30*time.Second)
	}
	p.WaitUntil(60*time.Second, "the address", func() bool { return lb.Holds("10.0.0.88") })
	p.LB[1].StartDaemon()
	p.LB[1].WaitState("backup", 30*time.Second)
	p.WaitUntil(60*time.Second, "a healthy status, and systemd's line of it", func() bool {
		_, err := m.try("lvsd", "status")
		return err == nil && strings.HasPrefix(m.show("StatusText"), "web master, 1 services up")
	})
	pid := m.main()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	// CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13.
	for _, want := range []string{"CapEff:\t0000000000003000", "CapBnd:\t0000000000003000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("the daemon's rights: no %q in\n%s", want, status)
		}
	}
	if regexp.MustCompile(`Uid:\s+0\s`).Match(status) {
		t.Error("the daemon runs as root")
	}
	// LimitRTPRIO= is enough for the elections' own process.
	if policies := m.do("sh", "-c", "chrt -a -p $(pgrep -P "+m.show("MainPID")+")"); !strings.Contains(policies, "SCHED_RR") {
		t.Errorf("the elections run under no real-time policy:\n%s", policies)
	}
	// docs/operations.md has the rating of this very systemd.
	security := strings.Fields(m.do("systemd-analyze", "security", "--no-pager", "lvsd"))
	doc := lvsdtest.ReadRepositoryFile(t, "docs/operations.md")
	if rating := security[len(security)-3:]; !strings.Contains(doc, "rates it "+rating[0]+", \""+rating[1]+"\"") {
		t.Errorf("systemd-analyze security says %v, docs/operations.md something else", rating)
	}
	talk, _ := lvsdtest.KeepAlive(t, p.Client)
	lasts := func(after string) {
		t.Helper()
		if err := talk(); err != nil {
			t.Fatalf("after %s the client's connection is gone: %v", after, err)
		}
		if !lb.Holds("10.0.0.88") || p.LB[1].Holds("10.0.0.88") {
			t.Errorf("after %s the address is on %v", after, p.HoldersOf(lvsdtest.GuideVIP))
		}
		for server, weight := range map[string]int{"10.0.0.9:80": 2, "10.0.0.20:80": 5, "10.0.0.21:80": 5} {
			lb.WaitWeight(server, weight, 30*time.Second)
		}
	}

	// A reload, and systemctl knows its verdict.
	good, err := os.ReadFile(m.file("etc/lvsd/lvsd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("etc/lvsd/lvsd.toml", lvsdtest.Replace(t, string(good), `{ address = "10.0.0.21:80", weight = 5 }`, `{ address = "10.0.0.21:80", weight = 4 }`))
	m.do("systemctl", "reload", "lvsd")
	lb.WaitWeight("10.0.0.21:80", 4, 30*time.Second)
	m.write("etc/lvsd/lvsd.toml", lvsdtest.Replace(t, string(good), `{ address = "10.0.0.21:80", weight = 5 }`, `{ address = "10.0.0.21:80", weight = "five" }`))
	if out, err := m.try("systemctl", "reload", "lvsd"); err == nil {
		t.Errorf("a refused reload passes for one that was done: %s", out)
	}
	if journal := m.journal(); !strings.Contains(journal, "lvsd.toml:25:") {
		t.Errorf("the journal does not say what is wrong where:\n%s", journal)
	}
	if m.show("ActiveState") != "active" || m.main() != pid {
		t.Error("a refused reload ended the daemon")
	}
	m.write("etc/lvsd/lvsd.toml", string(good))
	m.do("systemctl", "reload", "lvsd")
	lasts("reloads")

	// It is back after a kill, and after it hung; nothing is touched meanwhile.
	comesBack := func(what string, sig syscall.Signal) {
		t.Helper()
		restarts, old := m.show("NRestarts"), m.main()
		number, _ := strconv.Atoi(old)
		if err := syscall.Kill(number, sig); err != nil {
			t.Fatal(err)
		}
		p.WaitUntil(120*time.Second, "the daemon to be back after "+what, func() bool {
			return m.show("NRestarts") != restarts && m.show("ActiveState") == "active"
		})
		if m.main() == old {
			t.Errorf("after %s the daemon is the same", what)
		}
		p.WaitUntil(120*time.Second, "the mastership after "+what, func() bool {
			return strings.HasPrefix(m.show("StatusText"), "web master, 1 services up")
		})
		lasts(what)
	}
	comesBack("a kill", syscall.SIGKILL)
	comesBack("another kill", syscall.SIGKILL)
	m.write("etc/systemd/system/lvsd.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\nTimeoutAbortSec=2s\n")
	m.do("systemctl", "daemon-reload")
	m.do("systemctl", "restart", "lvsd")
	p.WaitUntil(120*time.Second, "the mastership after a restart", func() bool {
		return strings.HasPrefix(m.show("StatusText"), "web master, 1 services up")
	})
	talk, _ = lvsdtest.KeepAlive(t, p.Client) // the other had the address: without [ipvs.sync] connections end
	comesBack("it hung", syscall.SIGSTOP)
	if err := os.RemoveAll(m.file("etc/systemd/system/lvsd.service.d")); err != nil {
		t.Fatal(err)
	}

	// A master that does not come up again has its address taken off; it is tried
	// without end, and is back when what kept it from starting is mended.
	m.write("etc/lvsd/lvsd.toml", "[nonsense]\n")
	if err := os.Remove(m.file("var/lib/lvsd/running.toml")); err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(m.main())
	if err := syscall.Kill(number, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.WaitUntil(60*time.Second, "the address to be taken off", func() bool { return !lb.Holds("10.0.0.88") })
	first, _ := strconv.Atoi(m.show("NRestarts"))
	p.WaitUntil(120*time.Second, "more starts than a start limit of systemd's allows", func() bool {
		n, _ := strconv.Atoi(m.show("NRestarts"))
		return n > first+6
	})
	m.write("etc/lvsd/lvsd.toml", string(good))
	p.WaitUntil(120*time.Second, "the mastership after the file was mended", func() bool {
		return m.show("ActiveState") == "active" && strings.HasPrefix(m.show("StatusText"), "web master, 1 services up")
	})

	// An upgrade restarts it; a removal stops it, and leaves what is the user's.
	old := m.main()
	if out := m.install(packaged(t, "lvsd_*.deb")); strings.Contains(out, "write /etc/lvsd/lvsd.toml") {
		t.Errorf("an upgrade tells to write what is there:\n%s", out)
	}
	p.WaitUntil(120*time.Second, "the mastership after an upgrade", func() bool {
		return m.show("ActiveState") == "active" && m.main() != old && strings.HasPrefix(m.show("StatusText"), "web master, 1 services up")
	})
	m.do("systemctl", "stop", "lvsd")
	if p.WaitUntil(60*time.Second, "the peer's address", func() bool { return p.LB[1].Holds("10.0.0.88") }); lb.Holds("10.0.0.88") {
		t.Error("after a stop both have the address")
	}
	if result := m.show("Result"); result != "success" {
		t.Errorf("a stop: %s", result)
	}
	m.do("systemctl", "start", "lvsd")
	m.do("dpkg", "-r", "lvsd")
	if state := m.show("ActiveState"); state == "active" || m.there("usr/sbin/lvsd") || !m.there("etc/lvsd/lvsd.toml") || !m.there("var/lib/lvsd/running.toml") {
		t.Errorf("after a removal: %s, program %v, configuration %v, state %v", state, m.there("usr/sbin/lvsd"), m.there("etc/lvsd/lvsd.toml"), m.there("var/lib/lvsd/running.toml"))
	}
	m.do("dpkg", "-P", "lvsd")
	if !m.there("etc/lvsd/lvsd.toml") || m.there("var/lib/lvsd/running.toml") {
		t.Errorf("after a purge: configuration %v, state %v", m.there("etc/lvsd/lvsd.toml"), m.there("var/lib/lvsd/running.toml"))
	}
}
