package operate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lvsdtest"
)

// TestProgramsInheritNoCapability runs the daemon as the systemd unit does: with a user of
// its own and two ambient capabilities. These suffice for its work, and checks, track
// scripts and notify programs have none.
func TestProgramsInheritNoCapability(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.ServeLines()
	lb := p.LB[0]
	const user = "65534"
	output := p.Path("output") // of the programs: their capabilities
	for _, folder := range []string{output, p.Path("lb1.state"), p.Path("run")} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(folder, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(p.Dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	lb.Socket = p.Path("run", "control.sock")
	script := func(name string) string {
		path := p.WriteFile(name, fmt.Sprintf("#!/bin/sh\ngrep -E '^(Uid|Cap)' /proc/self/status >%[1]s.new && mv %[1]s.new %[1]s\n", filepath.Join(output, name)))
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check, track, notify := script("check"), script("track"), script("notify")
	p.VRRPKeys = fmt.Sprintf("track_scripts = [{ command = [%q], interval = \"1s\", timeout = \"10s\" }]\n", track)
	p.Services = p.WebService(fmt.Sprintf(`{ type = "exec", command = [%q], interval = "1s", timeout = "10s" }`, check), 1)
	p.EditConfig("[global]", fmt.Sprintf("[global]\nnotify = [%q]", notify))
	if err := os.Chmod(p.ConfigFile, 0o644); err != nil {
		t.Fatal(err)
	}
	lb.Process = lb.Start("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs",
		"--inh-caps=-all,+net_admin,+net_raw", "--ambient-caps=-all,+net_admin,+net_raw", "--bounding-set=-all,+net_admin,+net_raw",
		lvsdtest.Binary(t), "run", "-c", p.ConfigFile, "--director", "lb1")
	lb.WaitWeight(p.Real[0].Addr().String()+":80", 1, 60*time.Second)
	p.WaitUntil(60*time.Second, "the address", func() bool { return lb.Holds(lvsdtest.VIP) })
	var capabilities []byte
	for _, name := range []string{"check", "track", "notify"} {
		p.WaitUntil(60*time.Second, "the "+name+" program", func() (ok bool) {
			var err error
			capabilities, err = os.ReadFile(filepath.Join(output, name))
			return err == nil
		})
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			if !strings.Contains(string(capabilities), set+":\t0000000000000000\n") {
				t.Errorf("the %s program has capabilities:\n%s", name, capabilities)
				break
			}
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", lb.Process.Pid()))
	if err != nil || !lvsdtest.ContainsAll(string(status), "Uid:\t65534\t", "CapEff:\t0000000000003000\n", "CapBnd:\t0000000000003000\n") {
		t.Errorf("the daemon itself: %v\n%s", err, status)
	}
}
