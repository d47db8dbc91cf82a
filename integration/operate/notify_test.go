package operate_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestNotify: a program that works is told of each event in order, while one
// that forks and hangs, one that fails, and a webhook that nobody answers keep
// nobody waiting: the weight follows, the daemon stops in time, and nothing of
// the hanging one is left.
func TestNotify(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.PrepareDR()
	lb := p.LB[0]
	told, pids := p.Path("told"), p.Path("pids")
	good := p.WriteFile("good", "#!/bin/sh\ncat >> "+told+"\n")
	hung := p.WriteFile("hung", "#!/bin/sh\necho $$ >> "+pids+"\nsleep 1000 &\necho $! >> "+pids+"\nsleep 1000\n")
	for _, f := range []string{good, hung} {
		if err := os.Chmod(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.VRRPKeys = fmt.Sprintf("notify = [%q]\n", hung)
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	p.WriteConfigText(strings.Replace(p.Config(), "[global]", fmt.Sprintf("[global]\nnotify = [%q]\nwebhook = \"http://127.0.0.1:9/lvsd\"", good), 1))
	server := lab.ServeLines(p.Real[0], ":80", "rs1")
	lb.StartDaemon()
	lb.WaitState("master", 10*time.Second)
	address := p.Real[0].Addr().String() + ":80"
	lb.WaitWeight(address, 1, 10*time.Second)
	p.WaitUntil(10*time.Second, "the hanging program to run", func() bool { text, _ := os.ReadFile(pids); return strings.Count(string(text), "\n") >= 2 })
	server.Stop()
	lb.WaitWeight(address, 0, 10*time.Second)
	p.WaitUntil(20*time.Second, "the webhook's failure to be shown", func() bool {
		s, err := lb.Status()
		return err == nil && strings.Contains(strings.Join(s.Problems, "\n"), "webhook http://127.0.0.1:9: the newest event was not told")
	})
	if got := lb.Metric("lvsd_notify_failures_total"); got == "0" || got == "absent" {
		t.Errorf("%s failures counted", got)
	}
	if n := strings.Count(lb.Process.Output(), "an event was not told"); n > 2 { // the webhook, and later the hanging program
		t.Errorf("failures are said %d times", n)
	}
	p.WaitUntil(30*time.Second, "the quorum's end to be told", func() bool {
		text, _ := os.ReadFile(told)
		return strings.Contains(string(text), `"kind":"quorum","level":"error"`)
	})
	begin := time.Now()
	lb.Process.Terminate()
	<-lb.Process.Done()
	if took := time.Since(begin); took > 13*time.Second {
		t.Errorf("the stop took %v", took)
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(text)) {
		if args, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && len(args) > 0 {
			t.Errorf("process %s is left: %q", pid, args)
		}
	}
	told1, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	all := eventLines(t, string(told1))
	for i := range all[1:] {
		if all[i+1].ID <= all[i].ID {
			t.Errorf("event %d is told after %d", all[i+1].ID, all[i].ID)
		}
	}
	if find(all, "daemon", "running") != 1 || find(all, "vrrp", "master") != 1 || find(all, "health", "down") != 1 || find(all, "daemon", "stopped") != 1 {
		t.Errorf("told:\n%s", told1)
	}
}
