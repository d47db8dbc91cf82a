package docs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestReadmeConfiguration runs the first configuration of the README as it is written
// there: the file, the commands on real servers and directors, and the drain.
func TestReadmeConfiguration(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "README.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, addr := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21"} {
		r := p.AddRealServer(p.Net, addr+"/24")
		lab.Nginx(r, "80", r.Name)
		p.RunGuide(r, g["sh real servers"])
	}
	var last string
	for _, d := range p.LB {
		for line := range strings.Lines(g["sh director"]) {
			line, _, _ = strings.Cut(line, "#")
			args := strings.Fields(line)
			if len(args) == 0 || args[0] != "lvsd" {
				t.Fatalf("the README has %q", line)
			}
			if last = args[1]; last == "run" {
				d.StartDaemon()
			} else if out, err := d.LVSD(append(args[1:], "-c", p.ConfigFile, "--director", d.Name)...); err != nil && last != "status" {
				t.Fatalf("%s: %s: %v\n%s", d.Name, line, err, out)
			}
		}
	}
	if last != "status" {
		t.Errorf("the last command is %s, not status", last)
	}
	// status returns the output and whether there is no problem. A director that was just
	// started has some, until the first checks have finished and the other one replies.
	status := func(d *lvsdtest.Director) (string, bool) {
		out, err := d.LVSD("status", "-c", p.ConfigFile, "--director", d.Name)
		return out, err == nil
	}
	for _, d := range p.LB {
		p.WaitUntil(30*time.Second, "no problem on "+d.Name, func() bool { _, ok := status(d); return ok })
	}
	p.LB[0].WaitState("master", 20*time.Second)
	waitLive(p.LB[0], 3)
	ask := func(n int) map[string]int {
		seen := map[string]int{}
		for range n {
			code, body, err := p.Client.Get("http://" + lvsdtest.GuideVIPPort + "/")
			if err != nil || code != 200 {
				t.Fatalf("a client: %d %v", code, err)
			}
			seen[strings.TrimSpace(body)]++
		}
		return seen
	}
	if seen := ask(24); len(seen) != 3 {
		t.Errorf("servers: %v, want all three", seen)
	}

	// "lvsd drain web 10.0.0.21:80 on both directors": they share the file here, which the
	// second one needs to reload alone. Until then both say that their configurations differ.
	if out, err := p.LB[0].LVSD("drain", "web", "10.0.0.21:80", "-c", p.ConfigFile, "--director", "lb1"); err != nil {
		t.Fatalf("drain: %v\n%s", err, out)
	}
	for _, d := range p.LB {
		p.WaitUntil(20*time.Second, "the half-done drain in the status of "+d.Name, func() bool {
			out, ok := status(d)
			return !ok && strings.Contains(out, "another configuration")
		})
	}
	if out, err := p.LB[1].LVSD("reload", "-c", p.ConfigFile, "--director", "lb2"); err != nil {
		t.Fatalf("reload: %v\n%s", err, out)
	}
	if seen := ask(24); seen["rs3"] != 0 || len(seen) != 2 {
		t.Errorf("with rs3 drained: %v", seen)
	}
	if out, err := p.LB[0].LVSD("drained", "web", "10.0.0.21:80", "--timeout", "1m", "-c", p.ConfigFile, "--director", "lb1"); err != nil {
		t.Errorf("drained: %v\n%s", err, out)
	}

	// The other director takes over.
	p.LB[0].Process.Kill()
	p.LB[0].CutCable()
	p.LB[1].WaitState("master", 30*time.Second)
	p.WaitUntil(20*time.Second, "a response through lb2", func() bool {
		code, _, err := p.Client.Get("http://" + lvsdtest.GuideVIPPort + "/")
		return err == nil && code == 200
	})
	if seen := ask(12); seen["rs3"] != 0 || len(seen) != 2 {
		t.Errorf("through lb2: %v", fmt.Sprint(seen))
	}
}
