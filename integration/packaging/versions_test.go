package packaging_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// previousProgram returns the path of the lvsd of the release before.
func previousProgram(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.Command("dpkg-deb", "-x", previousPackage(t), folder).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(folder, "usr/sbin/lvsd")
}

// TestReleaseTwoVersionsInAPair: a director of the release before and one of this release
// are a pair, as master and as backup; each takes the other's place with its state, forward
// and back, and a connection survives all of it.
func TestReleaseTwoVersionsInAPair(t *testing.T) {
	previous := previousProgram(t)
	p := lvsdtest.NewPair(t, 2)
	p.ServeLines()
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 1)
	p.WriteConfigText(strings.Replace(p.Config()+p.PeerConfig(), "[peers]", "[peers]\nedits = true", 1))
	p.EnableSync()
	lb1, lb2 := p.LB[0], p.LB[1]
	lb1.Program = previous
	p.StartBoth()
	conversation := lab.Converse(p.Client, lvsdtest.VIPPort)
	real := p.Real[1].Addr().String() + ":80"
	arguments := func(d *lvsdtest.Director, args ...string) []string {
		return append(args, "-c", p.ConfigFile, "--director", d.Name, "--socket", d.Socket)
	}
	// works hands over from one to the other and back.
	works := func(what string) {
		t.Helper()
		for _, d := range p.LB {
			d.WaitServing(2)
			d.WaitProblem("another version of lvsd", true)
		}
		for _, command := range [][]string{{"handover"}, {"handover", "--end"}} {
			var out string
			p.WaitUntil(60*time.Second, what+": "+strings.Join(command, " "), func() bool {
				var err error
				out, err = lb1.LVSD(arguments(lb1, command...)...)
				return err == nil
			})
			want := "backup"
			if len(command) > 1 {
				want = "master"
			}
			lb1.WaitState(want, 30*time.Second)
			if err := conversation.Say(10 * time.Second); err != nil {
				t.Fatalf("%s: after %v the connection is gone: %v\n%s", what, command, err, out)
			}
		}
		// Both have one file here; each sees that the other has not read an edit.
		for _, command := range []string{"drain", "undrain"} {
			if out, err := lb1.LVSD(arguments(lb1, command, "web", real)...); err != nil {
				t.Fatalf("%s: %s: %v\n%s", what, command, err, out)
			}
			for _, d := range p.LB {
				d.WaitProblem("another configuration", true)
			}
			lb2.MustReload()
			for _, d := range p.LB {
				d.WaitProblem("another configuration", false)
			}
		}
		for _, d := range p.LB {
			d.WaitWeight(real, 1, 20*time.Second)
		}
	}
	works("the release before is master")
	// lb2 first, as docs/upgrading.md has it.
	for _, step := range []struct {
		what             string
		first, second    string // the programs of lb1 and lb2
		restart, waiting *lvsdtest.Director
	}{
		{"lb1 upgraded", "", "", lb1, lb2},
		{"lb2 downgraded", "", previous, lb2, lb1},
		{"lb1 downgraded", previous, previous, lb1, lb2},
		{"lb2 upgraded", previous, "", lb2, lb1},
	} {
		step.restart.StopDaemon()
		step.waiting.WaitState("master", 30*time.Second)
		lb1.Program, lb2.Program = step.first, step.second
		step.restart.StartDaemon()
		lb1.WaitState("master", 60*time.Second)
		lb2.WaitState("backup", 60*time.Second)
		if step.first != step.second {
			works(step.what)
		}
		if aside, _ := filepath.Glob(p.Path(step.restart.Name+".state", "*.bad")); len(aside) > 0 {
			t.Errorf("%s: it could not read %v", step.what, aside)
		}
	}
	conversation.Close()
}

// TestReleaseUpgrade upgrades a pair of installed packages as docs/upgrading.md says, while
// a client connects all the time: none of its connects fails, and one connection lasts.
func TestReleaseUpgrade(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "README.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, addr := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21"} {
		r := p.AddRealServer(p.Net, addr+"/24")
		lab.Nginx(r, "80", r.Name)
		p.RunGuide(r, g["sh real servers"])
	}
	old, new := previousPackage(t), packaged(t, "lvsd_*.deb")
	version := func(deb string) string {
		out, err := exec.Command("dpkg-deb", "-f", deb, "Version").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	var machines [2]*machine
	for i, d := range p.LB {
		m := boot(t, p.Lab, d.Host)
		m.install(old)
		m.write("etc/lvsd/lvsd.toml", g["toml"]+"\n[ipvs.sync]\ninterface = \"eth0\"\nid = 51\n")
		m.write("etc/lvsd/pair.key", lvsdtest.AuthKey)
		m.mustRun("chown", "lvsd:", "/etc/lvsd/pair.key")
		m.mustRun("chmod", "600", "/etc/lvsd/pair.key")
		m.mustRun("systemctl", "enable", "--now", "lvsd")
		machines[i] = m
	}
	state := func(m *machine, want string) {
		t.Helper()
		p.WaitUntil(120*time.Second, m.Name+" to be "+want, func() bool {
			return m.property("ActiveState") == "active" && strings.HasPrefix(strings.Replace(m.property("StatusText"), "services", "service", 1), want+", 1 service up")
		})
	}
	lb1, lb2 := machines[0], machines[1]
	state(lb1, "web master")
	state(lb2, "web backup")
	for _, d := range p.LB {
		for server, weight := range map[string]int{"10.0.0.9:80": 2, "10.0.0.20:80": 5, "10.0.0.21:80": 5} {
			d.WaitWeight(server, weight, 60*time.Second)
		}
	}
	text, err := os.ReadFile(new)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range machines {
		m.write("root/new.deb", string(text))
	}
	steps, begun := 0, time.Now()
	// One connection has a request each second: nginx closes one that is idle for long.
	request, _ := lvsdtest.KeepAlive(t, p.Client)
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if err := request(); err != nil {
				ended <- err
				return
			}
			select {
			case <-over:
				ended <- nil
				return
			case <-time.After(time.Second):
			}
		}
	}()
	traffic := lab.StartOutage(p.Client, lvsdtest.GuideVIPPort, lab.OutageConfig{Every: 20 * time.Millisecond, Timeout: 900 * time.Millisecond, For: 15 * time.Minute})

	// The steps of the page, each on the host that it names or on the one of the step before.
	var m *machine
	for line := range strings.Lines(lvsdtest.ReadGuide(t, "docs/upgrading.md")["sh upgrade"]) {
		command, comment, _ := strings.Cut(strings.TrimSpace(line), "#")
		for _, x := range machines {
			if strings.Contains(comment, "on "+x.Name) {
				m = x
			}
		}
		words := strings.Fields(strings.ReplaceAll(command, "./lvsd_VERSION_amd64.deb", "/root/new.deb"))
		var out string
		name := m.Name
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s: %s:\n%s", name, command, out)
			}
		})
		p.WaitUntil(120*time.Second, m.Name+": "+command, func() bool {
			if words[1] == "status" { // until the version is its only problem
				out, _ = m.run("lvsd", "status", "--json")
				var status struct{ Problems []string }
				_ = json.Unmarshal([]byte(out), &status)
				return len(status.Problems) == 1 && strings.Contains(status.Problems[0], "another version of lvsd")
			}
			var err error
			out, err = m.run(words...)
			if err != nil && words[0] != "lvsd" {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			return err == nil
		})
		if strings.Contains(out, "downgrading") {
			t.Errorf("%s is older than %s:\n%s", version(new), version(old), out)
		}
		select {
		case err := <-ended:
			t.Fatalf("%s: after %s the connection is gone: %v", m.Name, command, err)
		default:
		}
		t.Logf("%s: %s: done after %v", m.Name, command, time.Since(begun).Round(time.Second))
		steps++
	}
	if steps != 5 {
		t.Errorf("docs/upgrading.md has %d steps", steps)
	}
	state(lb1, "web master")
	state(lb2, "web backup")
	close(over)
	if err := <-ended; err != nil {
		t.Errorf("the connection is gone: %v", err)
	}
	report := traffic.Stop()
	t.Logf("FIGURE upgrade of a pair from %s to %s: %v", version(old), version(new), report)
	if report.Failed > 0 {
		t.Errorf("connects failed: %v", report)
	}
	for _, m := range machines {
		// The program, its metrics and its log have the package's version.
		want := strings.ReplaceAll(version(new), "~", "-")
		for _, command := range []string{"lvsd version", "curl -s http://127.0.0.1:8112/metrics", "journalctl -u lvsd -o cat --no-pager"} {
			if out := m.mustRun(strings.Fields(command)...); !strings.Contains(out, want) {
				t.Errorf("%s: %s does not have version %s:\n%s", m.Name, command, want, out)
			}
		}
		if out, _ := m.run("lvsd", "status", "--json"); strings.Contains(out, "another version") {
			t.Errorf("%s: %s", m.Name, out)
		}
	}
}
