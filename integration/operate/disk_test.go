package operate_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// mountDisk makes a folder a file system of its own until the test ends.
func mountDisk(t *testing.T, folder, options string) {
	t.Helper()
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
}

// TestReadOnlyDisk: a director that was killed starts again on a disk that has become
// read-only, holds its address and reports what is lost; after another kill `lvsd
// cleanup` removes the address, at once, as it can record nothing.
func TestReadOnlyDisk(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.ServeLines()
	lb, stateDir := p.LB[0], p.Path("lb1.state")
	mountDisk(t, stateDir, "size=1m")
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	p.WriteConfig()
	holds := func() bool { return lb.Holds(lvsdtest.VIP) }
	lb.StartDaemon()
	p.WaitUntil(30*time.Second, "the director to hold the VIP", holds)
	lb.KillDaemon()
	if err := unix.Mount("", stateDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	lb.StartDaemon()
	lb.WaitProblem("read-only file system", true)
	p.WaitUntil(30*time.Second, "the director to hold the VIP again", holds)
	lb.WaitWeight("10.77.0.21:80", 1, 30*time.Second)
	lb.KillDaemon()
	cleanup := lb.Start("env", "SERVICE_RESULT=signal", lvsdtest.Binary(t), "cleanup", "-c", p.ConfigFile, "--director", "lb1")
	p.WaitUntil(30*time.Second, "the VIP to be removed", func() bool { return !holds() })
	p.WaitUntil(10*time.Second, "cleanup to say so", func() bool { return strings.Contains(cleanup.Output(), "removed "+lvsdtest.VIP+" from eth0") })
}

// TestFullDiskAndNoControlSocket starts the daemon while the disk of state_dir is full
// and the control socket cannot be created. It balances, reloads and logs each problem
// once; when there is space again, it writes its state, and commands reach it.
func TestFullDiskAndNoControlSocket(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	lb := p.LB[0]
	stateDir, runDir := p.Path("lb1.state"), p.Path("run")
	mountDisk(t, stateDir, "size=256k")
	mountDisk(t, runDir, "size=64k,ro")
	lb.Socket = filepath.Join(runDir, "control.sock")
	filler := filepath.Join(stateDir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	one := lab.ServeLines(p.Real[0], ":80", "rs1")
	lab.ServeLines(p.Real[1], ":80", "rs2")
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 2)
	p.WriteConfig()
	lb.Process = lb.Start(lvsdtest.Binary(t), "run", "-c", p.ConfigFile, "--director", "lb1")
	problems := func() string {
		code, body, err := lb.Get("http://127.0.0.1:" + lvsdtest.HTTPPort + "/api/v1/status")
		var s lvsdtest.Status
		if err != nil || code != 200 || json.Unmarshal([]byte(body), &s) != nil {
			return "no response"
		}
		return strings.Join(s.Problems, "\n")
	}
	lb.WaitWeight("10.77.0.21:80", 1, 30*time.Second)
	one.Stop()
	lb.WaitWeight("10.77.0.21:80", 0, 30*time.Second)
	p.EditConfig(`10.77.0.22:80", weight = 2`, `10.77.0.22:80", weight = 7`)
	if err := lb.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	lb.WaitWeight("10.77.0.22:80", 7, 30*time.Second)
	problemLogs := map[string]string{ // message in the log, by the problem in the status
		"no command reaches the daemon":       "the control socket cannot be created",
		"running.toml":                        "failed to save the running configuration",
		"the event history cannot be written": "the event history cannot be written",
		"health cannot be saved":              "health cannot be saved",
		"owned":                               "the record of lvsd's IPVS entries is outdated",
	}
	p.WaitUntil(30*time.Second, "every problem in the status", func() bool {
		now := problems()
		for shown := range problemLogs {
			if !strings.Contains(now, shown) {
				return false
			}
		}
		return true
	})
	if !lb.Holds(lvsdtest.VIP) {
		t.Error("the director does not hold the VIP")
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", runDir, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	p.WaitUntil(40*time.Second, "the end of every problem", func() bool {
		now := problems()
		for shown := range problemLogs {
			if strings.Contains(now, shown) {
				return false
			}
		}
		return now != "no response"
	})
	if _, err := lb.Status(); err != nil {
		t.Errorf("over the control socket: %v", err)
	}
	for shown, logged := range problemLogs {
		if n := strings.Count(lb.Process.Output(), logged); n != 1 {
			t.Errorf("%q was logged %d times: %q", shown, n, logged)
		}
	}
	if saved, err := os.ReadFile(filepath.Join(stateDir, "running.toml")); err != nil || !strings.Contains(string(saved), "weight = 7") {
		t.Errorf("running.toml: %v\n%s", err, saved)
	}
	out, err := lb.LVSD("events", "--since", "1h", "--json", "--socket", lb.Socket)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if all := eventLines(t, out); find(all, "daemon", "running") != 1 || find(all, "health", "down") != 1 {
		t.Errorf("the history lacks events of the time of the full disk:\n%s", out)
	}
}
