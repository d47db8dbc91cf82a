package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// TestTheReadmesFirstConfiguration runs what the README says for a first real
// configuration, as it stands there: its file, its commands on the real servers
// and on the directors, and its drain.
func TestTheReadmesFirstConfiguration(t *testing.T) {
	g := readGuide(t, "../../README.md")
	p := guideLab(t, g, "toml")
	for _, addr := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21"} {
		r := p.realServer(p.lan, addr+"/24")
		lab.Nginx(r, "80", r.Name)
		p.typed(r, g["sh real servers"])
	}
	for _, d := range p.lb {
		for line := range strings.Lines(g["sh director"]) {
			line, _, _ = strings.Cut(line, "#")
			args := strings.Fields(line)
			if len(args) == 0 || args[0] != "lvsd" {
				t.Fatalf("the README has %q", line)
			}
			args = append(args[1:], "-c", p.file, "--director", d.Name)
			if args[0] == "run" {
				d.start()
				continue
			}
			// The status of a daemon that has just been started is bad until the
			// first checks are through.
			p.WaitUntil(30*time.Second, d.Name+": "+line, func() bool {
				out, err := d.run(args...)
				if err != nil && args[0] != "status" {
					t.Fatalf("%s: %s: %v\n%s", d.Name, line, err, out)
				}
				return err == nil
			})
		}
	}
	p.lb[0].wait("master", 20*time.Second)
	p.lb[0].live(3)
	ask := func(n int) map[string]int {
		seen := map[string]int{}
		for range n {
			code, body, err := p.client.Get("http://" + guideVIP + "/")
			if err != nil || code != 200 {
				t.Fatalf("a client: %d %v", code, err)
			}
			seen[strings.TrimSpace(body)]++
		}
		return seen
	}
	if seen := ask(24); len(seen) != 3 {
		t.Errorf("the servers that answered: %v, want all three", seen)
	}

	// "To drain a server, set its weight to 0 on both directors and run lvsd reload."
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	drained := replace(t, string(text), `{ address = "10.0.0.21:80", weight = 5 }`, `{ address = "10.0.0.21:80", weight = 0 }`)
	p.file = p.WriteFile("lvsd.toml", drained)
	for _, d := range p.lb {
		if out, err := d.run("reload", "-c", p.file, "--director", d.Name); err != nil {
			t.Fatalf("reload: %v\n%s", err, out)
		}
	}
	if seen := ask(24); seen["rs3"] != 0 || len(seen) != 2 {
		t.Errorf("with rs3 drained: %v", seen)
	}
	if out, err := p.lb[0].run("drained", "web", "10.0.0.21:80", "--timeout", "1m", "-c", p.file, "--director", "lb1"); err != nil {
		t.Errorf("drained: %v\n%s", err, out)
	}

	// And the other director takes over when this one dies.
	p.lb[0].process.Kill()
	p.lb[0].CutCable()
	p.lb[1].wait("master", 30*time.Second)
	p.WaitUntil(20*time.Second, "an answer by way of lb2", func() bool {
		code, _, err := p.client.Get("http://" + guideVIP + "/")
		return err == nil && code == 200
	})
	if seen := ask(12); seen["rs3"] != 0 || len(seen) != 2 {
		t.Errorf("by way of lb2: %v", fmt.Sprint(seen))
	}
}
