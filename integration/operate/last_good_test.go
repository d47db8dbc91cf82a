package operate_test

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestStartFromLastGoodConfig: a director whose file is broken or missing starts with the
// last good configuration and reports that everywhere, until the file is fixed.
func TestStartFromLastGoodConfig(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	lb := p.LB[0]
	p.Services = p.WebService(`{ type = "on" }`, 3, 4)
	p.WriteConfig()
	stateDir, copyFile := p.Path("lb1.state"), p.Path("lb1.state")+"/running.toml"
	refusedStart := func(want string, flags ...string) {
		t.Helper()
		out, err := lb.LVSD(append([]string{"run", "-c", p.ConfigFile, "--director", "lb1"}, flags...)...)
		if err == nil || lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, want) {
			t.Errorf("run %v: %v, want %q in\n%s", flags, err, want, out)
		}
	}
	good := p.Config()
	p.WriteConfigText(good + "\n[nonsense]\n")
	refusedStart("nonsense") // without a saved configuration

	p.WriteConfig()
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	lb.WaitWeight("10.77.0.22:80", 4, 10*time.Second)
	info, err := os.Stat(copyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the copy: %v, %v", info, err)
	}
	p.Services = p.WebService(`{ type = "on" }`, 3, 5) // saved at a reload, too
	p.WriteConfig()
	lb.MustReload()
	p.Services = p.WebService(`{ type = "on" }`, 3, 70000) // a refused one is not saved
	p.WriteConfig()
	if _, err := lb.Reload(); err == nil {
		t.Fatal("accepted")
	}
	lb.KillDaemon()
	refusedStart("70000", "--strict")

	for _, broken := range []struct {
		name  string
		apply func()
		flags []string
	}{
		{"broken", func() {}, nil},
		{"empty", func() { p.WriteConfigText("") }, []string{"--state-dir", stateDir}},
		{"missing", func() { _ = os.Remove(p.ConfigFile) }, []string{"--state-dir", stateDir}},
	} {
		broken.apply()
		systemd := notifySocket(t, p)
		lb.Process = lb.Start(append([]string{"/usr/bin/env", "NOTIFY_SOCKET=" + systemd.LocalAddr().String(), lvsdtest.Binary(t), "run", "-c", p.ConfigFile, "--director", "lb1"}, broken.flags...)...)
		lb.WaitState("master", 15*time.Second)
		lb.WaitWeight("10.77.0.22:80", 5, 10*time.Second)
		lb.WaitProblem("LAST GOOD CONFIGURATION", true)
		if got := lb.Metric("lvsd_config_last_reload_successful"); got != "0" {
			t.Errorf("%s: last reload successful: %s", broken.name, got)
		}
		if out, err := lb.LVSD("status", "--socket", lb.Socket); lvsdtest.ExitCode(err) != 1 || !opensWithTheCopy(out) {
			t.Errorf("%s: status opens with\n%.300s", broken.name, out)
		}
		notified := ""
		p.WaitUntil(10*time.Second, broken.name+": the notification of systemd", func() bool {
			buf := make([]byte, 4096)
			_ = systemd.SetReadDeadline(time.Now().Add(time.Second))
			n, err := systemd.Read(buf)
			notified += string(buf[:n]) + "\n"
			return err == nil && strings.Contains(notified, "STATUS=LAST GOOD CONFIGURATION")
		})
		if !strings.Contains(lb.Process.Output(), "LAST GOOD CONFIGURATION") {
			t.Errorf("%s: not logged:\n%s", broken.name, lb.Process.Tail(20))
		}
		if broken.name == "missing" {
			p.Services = p.WebService(`{ type = "on" }`, 3, 5)
			p.WriteConfig()
			if out, err := lb.Reload(); err != nil {
				t.Fatalf("a fixed file: %v\n%s", err, out)
			}
			lb.WaitProblem("LAST GOOD CONFIGURATION", false)
			p.WaitUntil(10*time.Second, "the metric", func() bool { return lb.Metric("lvsd_config_last_reload_successful") == "1" })
		}
		lb.KillDaemon()
	}

	// The saved configuration of another director, and a damaged one.
	p.WriteConfigText(p.Config() + "\n[nonsense]\n")
	text, err := os.ReadFile(copyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copyFile, []byte(strings.Replace(string(text), `"director":"lb1"`, `"director":"lb2"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	refusedStart("is that of director lb2, not lb1")
	if err := os.WriteFile(copyFile, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	refusedStart("is incomplete")
}

// opensWithTheCopy reports whether the status begins with the problem.
func opensWithTheCopy(status string) bool {
	return strings.HasPrefix(status, "! running the LAST GOOD CONFIGURATION")
}

// notifySocket listens in place of systemd.
func notifySocket(t *testing.T, p *lvsdtest.Pair) *net.UnixConn {
	t.Helper()
	path := p.Path("notify.sock")
	_ = os.Remove(path)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
