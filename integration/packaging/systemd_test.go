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

// packaged returns the path of the one package of `make package` that matches.
func packaged(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(lvsdtest.RepositoryFile(t, "bin/packages", pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d packages %s in bin/packages (run make package)", len(found), pattern)
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// serviceLab builds the pair of the README with three real servers: lb1 is a machine with
// the package, lb2 a director without a service manager.
func serviceLab(t *testing.T, change func(string) string) (*lvsdtest.Pair, *machine) {
	g := lvsdtest.ReadGuide(t, "README.md")
	// The directors have different files here: lb2 needs paths of its own.
	before, rest, _ := strings.Cut(g["toml"], "[peers]")
	_, after, ok := strings.Cut(rest, "\n\n")
	if !ok {
		t.Fatal("the README has no [peers]")
	}
	g["toml"] = change(before + after)
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
		t.Errorf("a first installation prints no instructions:\n%s", out)
	}
	m.write("etc/lvsd/lvsd.toml", g["toml"])
	return p, m
}

// install installs a package with dpkg.
func (m *machine) install(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("root/lvsd.deb", string(text))
	return m.mustRun("dpkg", "-i", "/root/lvsd.deb")
}

// TestOncallService runs the package's unit under systemd: start, reload, refused reload,
// restart, kill, hang, upgrade, stop and removal, with a peer and a client whose connection
// must survive.
func TestOncallService(t *testing.T) {
	// A long interval: a process may take seconds to start, and a restart must be over
	// before the master down timer of the peer expires.
	p, m := serviceLab(t, func(s string) string {
		return lvsdtest.Replace(t, s, "virtual_router_id = 51\n", "virtual_router_id = 51\nadvert_interval = \"6s\"\n")
	})
	lb := p.LB[0]
	if state := m.property("UnitFileState"); state != "disabled" || m.property("ActiveState") != "inactive" {
		t.Errorf("after the installation the unit is %s, %s", state, m.property("ActiveState"))
	}
	m.mustRun("lvsd", "check", "--host")
	m.mustRun("systemctl", "enable", "--now", "lvsd") // Type=notify: returns when the daemon is ready
	for server, weight := range map[string]int{"10.0.0.9:80": 2, "10.0.0.20:80": 5, "10.0.0.21:80": 5} {
		lb.WaitWeight(server, weight, 30*time.Second)
	}
	p.WaitUntil(60*time.Second, "the address", func() bool { return lb.Holds("10.0.0.88") })
	p.LB[1].StartDaemon()
	p.LB[1].WaitState("backup", 30*time.Second)
	p.WaitUntil(60*time.Second, "a healthy status, also in systemctl status", func() bool {
		_, err := m.run("lvsd", "status")
		return err == nil && strings.HasPrefix(m.property("StatusText"), "web master, 1 service up")
	})
	pid := m.mainPID()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	// CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13.
	for _, want := range []string{"CapEff:\t0000000000003000", "CapBnd:\t0000000000003000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("capabilities of the daemon: no %q in\n%s", want, status)
		}
	}
	if regexp.MustCompile(`Uid:\s+0\s`).Match(status) {
		t.Error("the daemon runs as root")
	}
	// LimitRTPRIO= suffices for the VRRP process.
	if policies := m.mustRun("sh", "-c", "chrt -a -p $(pgrep -P "+m.property("MainPID")+")"); !strings.Contains(policies, "SCHED_RR") {
		t.Errorf("the VRRP process has no real-time policy:\n%s", policies)
	}
	// docs/guides/service.md has the rating of this version of systemd.
	security := strings.Fields(m.mustRun("systemd-analyze", "security", "--no-pager", "lvsd"))
	doc := lvsdtest.ReadRepositoryFile(t, "docs/guides/service.md")
	if rating := security[len(security)-3:]; !strings.Contains(doc, "rates it "+rating[0]+", \""+rating[1]+"\"") {
		t.Errorf("systemd-analyze security says %v, docs/guides/service.md something else", rating)
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

	// systemctl reload returns the result of the reload.
	good, err := os.ReadFile(m.file("etc/lvsd/lvsd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	m.write("etc/lvsd/lvsd.toml", lvsdtest.Replace(t, string(good), `{ address = "10.0.0.21:80", weight = 5 }`, `{ address = "10.0.0.21:80", weight = 4 }`))
	m.mustRun("systemctl", "reload", "lvsd")
	lb.WaitWeight("10.0.0.21:80", 4, 30*time.Second)
	m.write("etc/lvsd/lvsd.toml", lvsdtest.Replace(t, string(good), `{ address = "10.0.0.21:80", weight = 5 }`, `{ address = "10.0.0.21:80", weight = "five" }`))
	if out, err := m.run("systemctl", "reload", "lvsd"); err == nil {
		t.Errorf("a refused reload is reported as a success: %s", out)
	}
	if journal := m.journal(); !strings.Contains(journal, "lvsd.toml:25:") {
		t.Errorf("the journal does not have the error with its position:\n%s", journal)
	}
	if m.property("ActiveState") != "active" || m.mainPID() != pid {
		t.Error("a refused reload ended the daemon")
	}
	m.write("etc/lvsd/lvsd.toml", string(good))
	m.mustRun("systemctl", "reload", "lvsd")
	lasts("reloads")

	// systemd restarts it after a kill and after a hang; the kernel's state is kept.
	comesBack := func(what string, sig syscall.Signal) {
		t.Helper()
		restarts, old := m.property("NRestarts"), m.mainPID()
		number, _ := strconv.Atoi(old)
		if err := syscall.Kill(number, sig); err != nil {
			t.Fatal(err)
		}
		p.WaitUntil(120*time.Second, "the restart after "+what, func() bool {
			return m.property("NRestarts") != restarts && m.property("ActiveState") == "active"
		})
		if m.mainPID() == old {
			t.Errorf("after %s the process is the same", what)
		}
		p.WaitUntil(120*time.Second, "the mastership after "+what, func() bool {
			return strings.HasPrefix(m.property("StatusText"), "web master, 1 service up")
		})
		lasts(what)
	}
	comesBack("a kill", syscall.SIGKILL)
	comesBack("another kill", syscall.SIGKILL)
	m.write("etc/systemd/system/lvsd.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\nTimeoutAbortSec=2s\n")
	m.mustRun("systemctl", "daemon-reload")
	m.mustRun("systemctl", "restart", "lvsd")
	p.WaitUntil(120*time.Second, "the mastership after a restart", func() bool {
		return strings.HasPrefix(m.property("StatusText"), "web master, 1 service up")
	})
	p.WaitUntil(60*time.Second, "the address here alone", func() bool { return lb.Holds("10.0.0.88") && !p.LB[1].Holds("10.0.0.88") })
	talk, _ = lvsdtest.KeepAlive(t, p.Client) // the peer had the address: without [ipvs.sync] connections break
	comesBack("it hung", syscall.SIGSTOP)
	if err := os.RemoveAll(m.file("etc/systemd/system/lvsd.service.d")); err != nil {
		t.Fatal(err)
	}

	// The address of a master that cannot start is removed; systemd retries without a
	// limit, and it is master again when the cause is fixed.
	m.write("etc/lvsd/lvsd.toml", "[nonsense]\n")
	if err := os.Remove(m.file("var/lib/lvsd/running.toml")); err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.Atoi(m.mainPID())
	if err := syscall.Kill(number, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.WaitUntil(60*time.Second, "the address to be removed", func() bool { return !lb.Holds("10.0.0.88") })
	first, _ := strconv.Atoi(m.property("NRestarts"))
	p.WaitUntil(120*time.Second, "more starts than the default start limit allows", func() bool {
		n, _ := strconv.Atoi(m.property("NRestarts"))
		return n > first+6
	})
	m.write("etc/lvsd/lvsd.toml", string(good))
	p.WaitUntil(120*time.Second, "the mastership after the file was fixed", func() bool {
		return m.property("ActiveState") == "active" && strings.HasPrefix(m.property("StatusText"), "web master, 1 service up")
	})

	// An upgrade restarts it; a removal stops it and keeps the files of the user.
	old := m.mainPID()
	if out := m.install(packaged(t, "lvsd_*.deb")); strings.Contains(out, "write /etc/lvsd/lvsd.toml") {
		t.Errorf("an upgrade prints the instructions of a first installation:\n%s", out)
	}
	p.WaitUntil(120*time.Second, "the mastership after an upgrade", func() bool {
		return m.property("ActiveState") == "active" && m.mainPID() != old && strings.HasPrefix(m.property("StatusText"), "web master, 1 service up")
	})
	m.mustRun("systemctl", "stop", "lvsd")
	if p.WaitUntil(60*time.Second, "the peer's address", func() bool { return p.LB[1].Holds("10.0.0.88") }); lb.Holds("10.0.0.88") {
		t.Error("after a stop both have the address")
	}
	if result := m.property("Result"); result != "success" {
		t.Errorf("a stop: %s", result)
	}
	m.mustRun("systemctl", "start", "lvsd")
	m.mustRun("dpkg", "-r", "lvsd")
	if state := m.property("ActiveState"); state == "active" || m.exists("usr/sbin/lvsd") || !m.exists("etc/lvsd/lvsd.toml") || !m.exists("var/lib/lvsd/running.toml") {
		t.Errorf("after a removal: %s, program %v, configuration %v, state %v", state, m.exists("usr/sbin/lvsd"), m.exists("etc/lvsd/lvsd.toml"), m.exists("var/lib/lvsd/running.toml"))
	}
	m.mustRun("dpkg", "-P", "lvsd")
	if !m.exists("etc/lvsd/lvsd.toml") || m.exists("var/lib/lvsd/running.toml") {
		t.Errorf("after a purge: configuration %v, state %v", m.exists("etc/lvsd/lvsd.toml"), m.exists("var/lib/lvsd/running.toml"))
	}
}
