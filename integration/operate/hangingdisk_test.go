package operate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab/fusedisk"
	"lvsd/integration/lvsdtest"
)

// TestHangingDisk: the disks of state_dir and of the configuration stop replying. The
// director continues to balance and refuses a reload, it stops, starts without its
// state_dir, and `lvsd cleanup` removes the address after a crash; what is lost is
// reported until the disk replies again.
func TestHangingDisk(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	servers := p.ServeLines()
	lb, stateDir := p.LB[0], p.Path("lb1.state")
	state, conf := fusedisk.New(t, stateDir), fusedisk.New(t, p.Path("conf"))
	p.Services = p.WebService(lvsdtest.QuickCheck, 1, 2)
	p.ConfigFile = filepath.Join(p.Path("conf"), "lvsd.toml")
	if err := os.WriteFile(p.ConfigFile, []byte(p.Config()), 0o600); err != nil {
		t.Fatal(err)
	}
	holds := func() bool { return lb.Holds(lvsdtest.VIP) }
	weights := func(first, second int) {
		t.Helper()
		lb.WaitWeight("10.77.0.21:80", first, 30*time.Second)
		lb.WaitWeight("10.77.0.22:80", second, 30*time.Second)
	}
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	weights(1, 2)

	// What watches the file for changes is to look at it while the disk hangs.
	if err := os.WriteFile(p.ConfigFile, []byte(p.Config()), 0o600); err != nil {
		t.Fatal(err)
	}
	state.Hang()
	conf.Hang()
	servers[0].Stop()
	weights(0, 2)
	lb.WaitProblem("the disk does not reply", true)
	if out, err := lb.Reload(); err == nil || !strings.Contains(out, "the disk does not reply") {
		t.Errorf("reload: %v\n%s", err, out)
	}
	servers[0].Start()
	weights(1, 2)
	if !holds() || lb.VRRPState() != "master" {
		t.Error("the director is not master any more")
	}
	lb.StopDaemonWithin(30 * time.Second)
	if holds() {
		t.Errorf("it is stopped, and holds the address:\n%s", lb.Process.Tail(20))
	}

	conf.Resume()
	lb.StartDaemon()
	lb.WaitState("master", 30*time.Second)
	weights(1, 2)
	lb.WaitProblem("the disk does not reply", true)
	state.Resume()
	lb.WaitProblem("the disk does not reply", false)
	if saved, err := os.ReadFile(filepath.Join(stateDir, "running.toml")); err != nil || !strings.Contains(string(saved), lvsdtest.VIP) {
		t.Errorf("running.toml: %v\n%s", err, saved)
	}

	state.Hang()
	lb.KillDaemon()
	cleanup := lb.Start("env", "SERVICE_RESULT=signal", lvsdtest.Binary(t), "cleanup", "-c", p.ConfigFile, "--director", "lb1")
	p.WaitUntil(60*time.Second, "the VIP to be removed", func() bool { return !holds() })
	p.WaitUntil(30*time.Second, "cleanup to end", func() bool { return !cleanup.Running() })
	if out := cleanup.Output(); !strings.Contains(out, "removed "+lvsdtest.VIP+" from eth0") || !strings.Contains(out, "the disk does not reply") {
		t.Errorf("cleanup: %d\n%s", cleanup.ExitCode(), out)
	}
}
