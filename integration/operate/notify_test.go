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

// TestNotify: a program receives each event in order, while another one that forks and
// hangs, and a webhook that refuses the connection, delay nothing: weights follow the
// checks, the daemon stops in time, and no process of the hanging program is left.
func TestNotify(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	p.PrepareDR()
	lb := p.LB[0]
	received, pids := p.Path("received"), p.Path("pids")
	good := p.WriteFile("good", "#!/bin/sh\ncat >> "+received+"\n")
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
	p.WaitUntil(20*time.Second, "the webhook's failure in the status", func() bool {
		s, err := lb.Status()
		return err == nil && strings.Contains(strings.Join(s.Problems, "\n"), "webhook http://127.0.0.1:9: the newest notification failed")
	})
	if got := lb.Metric("lvsd_notify_failures_total"); got == "0" || got == "absent" {
		t.Errorf("%s failures counted", got)
	}
	if n := strings.Count(lb.Process.Output(), "notification failed"); n > 2 { // the webhook, and later the hanging program
		t.Errorf("failures were logged %d times", n)
	}
	p.WaitUntil(30*time.Second, "the notification of the lost quorum", func() bool {
		text, _ := os.ReadFile(received)
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
	text1, err := os.ReadFile(received)
	if err != nil {
		t.Fatal(err)
	}
	all := eventLines(t, string(text1))
	for i := range all[1:] {
		if all[i+1].ID <= all[i].ID {
			t.Errorf("event %d was received after %d", all[i+1].ID, all[i].ID)
		}
	}
	if find(all, "daemon", "running") != 1 || find(all, "vrrp", "master") != 1 || find(all, "health", "down") != 1 || find(all, "daemon", "stopped") != 1 {
		t.Errorf("received:\n%s", text1)
	}
}
