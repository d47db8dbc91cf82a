package packaging_test

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// notifySocket is the socket on which a service manager receives notifications
// (sd_notify(3)).
type notifySocket struct {
	mu    sync.Mutex
	lines []string
}

// listenNotify opens the socket for NOTIFY_SOCKET of a unit of Type=notify.
func listenNotify(t *testing.T, path string) *notifySocket {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m := &notifySocket{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.lines = append(m.lines, strings.Split(string(buf[:n]), "\n")...)
			m.mu.Unlock()
		}
	}()
	return m
}

// after returns the notifications after the first n.
func (m *notifySocket) after(n int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines[n:])
}

func (m *notifySocket) contains(n int, what string) bool {
	return slices.ContainsFunc(m.after(n), func(s string) bool { return strings.HasPrefix(s, what) })
}

// TestSystemdNotify: the daemon notifies the service manager when the table is complete,
// as watchdog, of its status, of each reload, and of the stop.
func TestSystemdNotify(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	p.WriteConfig()
	lb := p.LB[0]
	path := p.Path("notify")
	m := listenNotify(t, path)
	lb.Process = lb.StartCommand(lab.Command{
		Args: []string{lvsdtest.Binary(t), "run", "-c", p.ConfigFile, "--director", "lb1"},
		Env:  []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=3000000"},
	})
	wait := func(n int, what string) {
		t.Helper()
		p.WaitUntil(20*time.Second, "the notification "+what, func() bool { return m.contains(n, what) })
	}
	wait(0, "READY=1")
	wait(0, "WATCHDOG=1")
	wait(0, "STATUS=web master, 1 service up")

	before := len(m.after(0))
	lb.MustReload()
	wait(before, "RELOADING=1")
	wait(before, "MONOTONIC_USEC=")
	wait(before, "READY=1")

	before = len(m.after(0))
	lb.Process.Terminate()
	<-lb.Process.Done()
	wait(before, "STOPPING=1")
}

// TestCleanupAfterACrash: the addresses of a killed master remain for the daemon that
// systemd restarts; lvsd cleanup removes them when that fails, or when run manually, but
// not from a running daemon.
func TestCleanupAfterACrash(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	p.Services = "[[virtual_service]]\nname = \"web\"\naddress = \"" + lvsdtest.VIPPort + "\"\ncheck = { type = \"on\" }\nreal_servers = [{ address = \"10.77.0.21:80\" }]\n"
	p.VRRPKeys = `excluded_addresses = ["10.77.0.101"]`
	lb := p.LB[0]
	lb.StartDaemon()
	lb.WaitState("master", 20*time.Second)
	cleanup := func(result string) (string, error) {
		return lvsdWithEnv(lb, []string{"SERVICE_RESULT=" + result}, "cleanup", "-c", p.ConfigFile, "--director", "lb1")
	}
	if out, err := cleanup("signal"); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "another lvsd uses") {
		t.Errorf("beside a running daemon: %v\n%s", err, out)
	}
	kill := func() {
		t.Helper()
		lb.KillDaemon()
		if !lb.Holds(lvsdtest.VIP) {
			t.Fatal("the address of the killed daemon is gone")
		}
	}
	kill()
	if out, err := cleanup("signal"); err != nil || !strings.Contains(out, "kept for the restarted daemon") || !lb.Holds(lvsdtest.VIP) {
		t.Errorf("after a crash: %v\n%s", err, out)
	}
	lb.StartDaemon() // as systemd does; it serves without an outage
	lb.WaitState("master", 20*time.Second)
	kill()
	if out, err := cleanup("signal"); err != nil || !lb.Holds(lvsdtest.VIP) {
		t.Errorf("after another crash: %v\n%s", err, out)
	}
	if out, err := cleanup("exit-code"); err != nil || !lvsdtest.ContainsAll(out, "removed "+lvsdtest.VIP+" from eth0", "10.77.0.101") || lb.Holds(lvsdtest.VIP) || lb.Holds("10.77.0.101") {
		t.Errorf("after a start that failed: %v\n%s", err, out)
	}
	lb.StartDaemon()
	lb.WaitState("master", 20*time.Second)
	kill()
	if out, err := lb.LVSD("cleanup", "--json", "-c", p.ConfigFile, "--director", "lb1"); err != nil || !lvsdtest.ContainsAll(out, `"address": "`+lvsdtest.VIP+`"`, `"spared": false`) || lb.Holds(lvsdtest.VIP) {
		t.Errorf("run manually: %v\n%s", err, out)
	}
	if out, err := cleanup("success"); err != nil || !strings.Contains(out, "nothing") {
		t.Errorf("when nothing is left: %v\n%s", err, out)
	}
}

// TestOncallTwoHoldersAfterAKill measures how long two directors have the address when a
// master is killed: with a restart at once as by a service manager, with a restart that
// fails, and without a restart.
func TestOncallTwoHoldersAfterAKill(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) { p.AdvertInterval = "1s" })
	lb, peer := p.LB[0], p.LB[1]
	// both returns the time with two holders until a condition holds.
	both := func(limit time.Duration, until func() bool) (total time.Duration) {
		t.Helper()
		last := time.Now()
		p.WaitUntil(limit, "the end of a measurement", func() bool {
			now := time.Now()
			if len(p.Holders()) == 2 {
				total += now.Sub(last)
			}
			last = now
			return until()
		})
		return total
	}
	lb.KillDaemon()
	lb.StartDaemon()
	again := both(60*time.Second, func() bool { return lb.VRRPState() == "master" && len(p.Holders()) == 1 })

	lb.KillDaemon()
	for _, result := range []string{"signal", "exit-code"} { // of the daemon, and of the start after it
		if out, err := lvsdWithEnv(lb, []string{"SERVICE_RESULT=" + result}, "cleanup", "-c", p.ConfigFile, "--director", "lb1"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	gone := both(60*time.Second, func() bool { return peer.VRRPState() == "master" && peer.Holds(lvsdtest.VIP) })
	if lb.Holds(lvsdtest.VIP) {
		t.Error("the address of a director that does not start remains")
	}

	lb.StartDaemon()
	lb.WaitState("master", 60*time.Second)
	p.WaitUntil(20*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })
	lb.KillDaemon()
	killed := time.Now()
	both(60*time.Second, func() bool { return peer.VRRPState() == "master" && len(p.Holders()) == 2 })
	t.Logf("FIGURE two holders after a kill, 1 s adverts: restarted at once %v; restart fails %v; no restart: from %v after the kill on",
		again.Round(time.Millisecond), gone.Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
	if out, err := lb.LVSD("cleanup", "-c", p.ConfigFile, "--director", "lb1"); err != nil || lb.Holds(lvsdtest.VIP) {
		t.Errorf("run manually: %v\n%s", err, out)
	}
}

// lvsdWithEnv runs a command of lvsd with additional environment variables.
func lvsdWithEnv(d *lvsdtest.Director, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(d.Pair.T.Context(), 30*time.Second)
	defer cancel()
	return d.Run(ctx, slices.Concat([]string{"env"}, env, []string{lvsdtest.Binary(d.Pair.T)}, args)...)
}

// TestOncallDebianPackage installs the package of make package with dpkg in a directory,
// upgrades, removes and purges it, and checks the files after each step.
func TestOncallDebianPackage(t *testing.T) {
	deb := packaged(t, "lvsd_*.deb")
	root := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	for _, folder := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "etc", "var/lib/lvsd"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"var/lib/dpkg/status", "var/lib/dpkg/available"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dpkg := func(args ...string) string {
		t.Helper()
		return run("dpkg", append([]string{"--root=" + root, "--force-script-chrootless", "--force-bad-path"}, args...)...)
	}
	if out := dpkg("-i", deb); !strings.Contains(out, "write /etc/lvsd/lvsd.toml") {
		t.Errorf("a first installation prints no instructions:\n%s", out)
	}
	if users, err := os.ReadFile(filepath.Join(root, "etc/passwd")); err != nil || !strings.Contains(string(users), "lvsd:") {
		t.Errorf("no user: %v %s", err, users)
	}
	lvsd := filepath.Join(root, "usr/sbin/lvsd")
	for _, file := range []string{"usr/lib/systemd/system/lvsd.service", "usr/lib/modules-load.d/lvsd.conf", "usr/lib/sysusers.d/lvsd.conf",
		"usr/share/man/man5/lvsd.toml.5", "usr/share/man/man8/lvsd.8", "usr/share/bash-completion/completions/lvsd", "usr/share/doc/lvsd/copyright",
		"usr/share/lvsd/lvsd.schema.json", "usr/share/lvsd/alerts/lvsd.rules.yml", "usr/share/lvsd/dashboard/lvsd.json", "usr/share/lvsd/dashboard/provisioning.yml", "usr/share/doc/lvsd/runbook.md", "usr/share/doc/lvsd/lvsd.cdx.json", "usr/share/doc/lvsd/index.md"} {
		if matches, _ := filepath.Glob(filepath.Join(root, file) + "*"); len(matches) == 0 {
			t.Errorf("%s is not in the package", file)
		}
	}
	// Every command has a man page.
	for line := range strings.Lines(run(lvsd, "--help")) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.HasPrefix(line, "  ") || strings.HasPrefix(words[0], "-") || words[0] == "lvsd" || words[0] == "help" || words[0] == "completion" {
			continue
		}
		if matches, _ := filepath.Glob(filepath.Join(root, "usr/share/man/man8", "lvsd-"+words[0]+".8*")); len(matches) != 1 {
			t.Errorf("lvsd %s has no man page", words[0])
		}
	}
	for _, example := range []string{"lvsd.toml", "pair.toml"} {
		run(lvsd, "check", "-c", filepath.Join(root, "usr/share/doc/lvsd/examples", example))
	}
	brokenLinks(t, filepath.Join(root, "usr/share/doc/lvsd"))
	if _, err := os.Stat(filepath.Join(root, "etc/lvsd/lvsd.toml")); err == nil {
		t.Error("the package has a configuration, which only the user writes")
	}
	if control := run("dpkg-deb", "--field", deb); !strings.Contains(control, "Package: lvsd") {
		t.Error(control)
	}
	// An upgrade, a removal and a purge keep the files of the user.
	mine := filepath.Join(root, "etc/lvsd/lvsd.toml")
	history := filepath.Join(root, "var/lib/lvsd/events")
	for _, file := range []string{mine, history} {
		if err := os.WriteFile(file, []byte("# mine\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	there := func(file string) bool { _, err := os.Stat(file); return err == nil }
	if out := dpkg("-i", deb); strings.Contains(out, "write /etc/lvsd/lvsd.toml") || !there(mine) || !there(history) {
		t.Errorf("an upgrade: %v %v\n%s", there(mine), there(history), out)
	}
	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/lvsd.service"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "lvsd")
	run("cp", lvsd, program)
	dpkg("-r", "lvsd")
	if there(lvsd) || !there(mine) || !there(history) {
		t.Errorf("after a removal: program %v, configuration %v, history %v", there(lvsd), there(mine), there(history))
	}
	dpkg("-P", "lvsd")
	if !there(mine) || there(history) {
		t.Errorf("after a purge: configuration %v, history %v", there(mine), there(history))
	}
	// The systemd of this machine verifies the unit, with the path of the unpacked
	// program.
	file := filepath.Join(t.TempDir(), "lvsd.service")
	if err := os.WriteFile(file, bytes.ReplaceAll(unit, []byte("/usr/sbin/lvsd"), []byte(program)), 0o644); err != nil {
		t.Fatal(err)
	}
	run("systemd-analyze", "verify", "--man=no", file)
	run("systemd-analyze", "security", "--offline=true", "--threshold=30", file)
}

// brokenLinks reports links of the installed documents to files that are not there. They
// are read where the repository has them, below docs.
func brokenLinks(t *testing.T, folder string) {
	t.Helper()
	links, checked := regexp.MustCompile(`\]\(([^)#\s:]+)(#[^)]*)?\)`), 0
	for _, pattern := range []string{"[A-Z]*.md", "docs/[a-z]*.md", "docs/guides/*.md", "docs/decisions/*.md", "docs/examples/ansible/*.md"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no document %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, link := range links.FindAllSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(file), string(link[1]))); err != nil {
					t.Errorf("%s: %v", file, err)
				}
				checked++
			}
		}
	}
	if checked < 50 {
		t.Errorf("%d links only", checked)
	}
}

// TestOncallRPM: the .rpm has the same files as the .deb, with the same content and mode,
// and the same scripts, and its program runs.
func TestOncallRPM(t *testing.T) {
	rpm, deb := packaged(t, "lvsd-*.rpm"), packaged(t, "lvsd_*.deb")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	fromDeb, fromRPM := t.TempDir(), t.TempDir()
	run("dpkg-deb", "-x", deb, fromDeb)
	run("rpm", "--root", fromRPM, "--initdb")
	run("rpm", "--root", fromRPM, "-i", "--nodeps", "--noscripts", rpm)
	if out := run("rpm", "--root", fromRPM, "-V", "--nodeps", "lvsd"); out != "" {
		t.Errorf("rpm reports changes to the installed files:\n%s", out)
	}
	files := strings.Fields(run("rpm", "-qlp", rpm))
	seen := map[string]bool{}
	for _, file := range files {
		seen[file] = true
	}
	err := filepath.WalkDir(fromDeb, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name := strings.TrimPrefix(path, fromDeb)
		other := filepath.Join(fromRPM, name)
		if strings.HasPrefix(name, "/usr/share/doc/lvsd/changelog.gz") || strings.HasPrefix(name, "/usr/share/lintian/") { // of the deb alone
			return nil
		}
		a, errA := os.ReadFile(path)
		b, errB := os.ReadFile(other)
		if !seen[name] || errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: listed %v, %v %v", name, seen[name], errA, errB)
			return nil
		}
		infoA, _ := os.Stat(path)
		infoB, _ := os.Stat(other)
		if infoA.Mode() != infoB.Mode() {
			t.Errorf("%s has mode %v in one package and %v in the other", name, infoA.Mode(), infoB.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 40 {
		t.Errorf("%d files only", len(files))
	}
	scripts := run("rpm", "-qp", "--scripts", rpm)
	for _, name := range []string{"postinst.sh", "prerm.sh", "postrm.sh"} {
		text := lvsdtest.ReadRepositoryFile(t, "cmd/lvsd/package", name)
		if !strings.Contains(scripts, strings.TrimSpace(strings.TrimPrefix(text, "#!/bin/sh\n"))) {
			t.Errorf("%s is not among its scripts:\n%s", name, scripts)
		}
	}
	if out := run(filepath.Join(fromRPM, "usr/sbin/lvsd"), "version"); !strings.HasPrefix(out, "lvsd ") {
		t.Error(out)
	}
}
