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

// TestFullDiskAndNoControlSocket starts the daemon while the disk of state_dir is full
// and the control socket cannot be created. It balances, reloads and logs each problem
// once; when there is space again, it writes its state, and commands reach it.
func TestFullDiskAndNoControlSocket(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	lb := p.LB[0]
	disk := func(folder, options string) {
		t.Helper()
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	}
	stateDir, runDir := p.Path("lb1.state"), p.Path("run")
	disk(stateDir, "size=256k")
	disk(runDir, "size=64k,ro")
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
		"no command reaches the daemon":           "the control socket cannot be made",
		"running.toml":                            "the running configuration is not kept",
		"the history of events cannot be written": "the history of events cannot be written",
		"what was decided cannot be kept":         "what was decided cannot be kept",
		"owned":                                   "the ledger of what is ours is not up to date",
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
