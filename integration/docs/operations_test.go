// Every command line of the guides to operation is run as it is written there, on the pair
// of the README, in the situation of the text. A new line without a situation here fails.

package docs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// operationPages are the guides whose command lines are executed here.
var operationPages = []string{"change", "convert", "drain", "handover", "monitoring", "notifications", "prepare", "service", "virtual-mac"}

// operations is the guides and their command lines.
type operations struct {
	*lvsdtest.Pair
	text  string
	lines map[string]bool // the command lines; true: executed
	tools map[string]string
}

// commandLines returns the lines of code blocks and tables that run lvsd or prepare that.
func commandLines(text string) map[string]bool {
	all := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)\n```[^\n]*\n(.*?)\n```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "# ")
			line, _, _ = strings.Cut(line, " #")
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "lvsd ") || strings.Contains(line, "| lvsd ") {
				all[line] = false
			}
		}
	}
	// And of the tables: | one service | `lvsd status web` |
	for _, row := range regexp.MustCompile("(?m)^\\| .* \\| `(lvsd [^`]+)` \\|$").FindAllStringSubmatch(text, -1) {
		all[row[1]] = false
	}
	return all
}

// run runs a line of the document on a host in a shell, with this lvsd in the PATH and the
// paths of files adapted to the lab.
func (o *operations) run(h *lab.Host, line string) (string, error) {
	o.T.Helper()
	if _, there := o.lines[line]; !there {
		o.T.Errorf("no guide has the line %q", line)
	}
	o.lines[line] = true
	line = strings.NewReplacer("/tmp/", o.Dir()+"/", "/etc/ha.d", o.Dir()).Replace(line)
	ctx, cancel := context.WithTimeout(o.T.Context(), 2*time.Minute)
	defer cancel()
	return h.Run(ctx, "env", "PATH="+o.bin(h)+":"+os.Getenv("PATH"), "sh", "-c", "cd "+o.Path("work")+" && "+line)
}

// must runs a line that must succeed, with these texts in its output.
func (o *operations) must(h *lab.Host, line string, says ...string) string {
	o.T.Helper()
	out, err := o.run(h, line)
	if err != nil || !lvsdtest.ContainsAll(out, says...) {
		o.T.Errorf("%s: %s: %v, want %q in\n%s", h.Name, line, err, says, out)
	}
	return out
}

// bin returns a directory with the program, for a host.
func (o *operations) bin(h *lab.Host) string {
	folder := o.Path("bin." + h.Name)
	if o.tools[h.Name] != "" {
		return folder
	}
	o.tools[h.Name] = folder
	if err := os.Mkdir(folder, 0o755); err != nil {
		o.T.Fatal(err)
	}
	for name, script := range map[string]string{
		"lvsd": fmt.Sprintf("[ \"$1\" != realserver ] || set -- \"$@\" --state-dir %s\nexec %s \"$@\" -c %s --director %s\n", o.Path(h.Name+".realserver"), lvsdtest.Binary(o.T), o.ConfigFile, h.Name),
		"ssh":  "echo \"$@\" >>" + o.Path("ssh") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			o.T.Fatal(err)
		}
	}
	return folder
}

// TestOperationsAsWritten runs the commands of the guides to operation.
func TestOperationsAsWritten(t *testing.T) {
	text := ""
	for _, name := range operationPages {
		text += lvsdtest.ReadRepositoryFile(t, "docs/guides/"+name+".md")
	}
	g := lvsdtest.ReadGuide(t, "README.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	o := &operations{Pair: p, text: text, lines: commandLines(text), tools: map[string]string{}}
	if err := os.Mkdir(p.Path("work"), 0o755); err != nil {
		t.Fatal(err)
	}
	var web []*lab.NginxServer
	for _, addr := range []string{"10.0.0.9", "10.0.0.20", "10.0.0.21", "10.0.0.22"} {
		r := p.AddRealServer(p.Net, addr+"/24")
		web = append(web, lab.Nginx(r, "80", r.Name))
	}

	// Prepare a real server: three for the service, and one for each other forwarding method.
	for _, r := range p.Real[:3] {
		o.must(r, "lvsd realserver up --vip 10.0.0.88", "10.0.0.88 is up")
	}
	spare := p.Real[3]
	for _, way := range []string{"--forward tun", "--forward tun --type gue --port 6080", "--forward tun --type gre"} {
		o.must(spare, "lvsd realserver up --vip 10.0.0.88 "+way, "10.0.0.88 is up")
		o.must(spare, "lvsd realserver status", "10.0.0.88", "up")
		o.must(spare, "lvsd realserver down", "10.0.0.88 is down")
	}

	// Status, while a server is down.
	lb := p.LB[0]
	for _, d := range p.LB {
		d.StartDaemon()
	}
	lb.WaitState("master", 30*time.Second)
	waitLive(lb, 3)
	waitLive(p.LB[1], 3)
	p.WaitUntil(30*time.Second, "a healthy pair", func() bool { s, err := lb.Status(); return err == nil && s.Healthy })

	// Prepare a director, preview and reload.
	for _, line := range []string{"lvsd check --host", "lvsd host check", "lvsd host prepare --dry-run", "lvsd host prepare", "lvsd plan", "lvsd reload"} {
		o.must(lb.Host, line)
	}
	o.must(lb.Host, "lvsd alerts --job lvsd-web -c lvsd.toml >lvsd-web.rules.yml")
	if rules, err := os.ReadFile(p.Path("work", "lvsd-web.rules.yml")); err != nil || !strings.Contains(string(rules), "alert: LvsdTwoMasters") {
		t.Errorf("the alert rules: %v\n%s", err, rules)
	}

	o.must(lb.Host, "lvsd status web", "SERVICE web tcp 10.0.0.88:80 wlc: up")
	web[1].Stop()
	waitLive(lb, 2)
	waitLive(p.LB[1], 2)
	p.WaitUntil(30*time.Second, "the peer's problem", func() bool {
		out, _ := lb.LVSD("status", "-c", p.ConfigFile, "--director", "lb1")
		return strings.Contains(out, "lb2! service web: real server 10.0.0.20:80 is down: http refused, 3 of 3")
	})
	for _, line := range []string{"lvsd status --unhealthy", "lvsd status --all"} {
		out, err := o.run(lb.Host, line)
		if lvsdtest.ExitCode(err) != 1 || !lvsdtest.ContainsAll(out, "! service web: real server 10.0.0.20:80 is down: http refused, 3 of 3", "VRRP", "lb1 (here)", "LAST CHANGES", "0 of 5") {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	o.must(lb.Host, "lvsd why web", "10.0.0.9:80", "10.0.0.20:80")
	o.must(lb.Host, "lvsd why web 10.0.0.20:80", "http refused")
	o.must(lb.Host, "lvsd events --since 1h", "10.0.0.20:80", "http refused, 3 of 3")
	if out, err := o.run(lb.Host, "lvsd probe web 10.0.0.20:80"); lvsdtest.ExitCode(err) != 1 || !strings.Contains(out, "refused") {
		t.Errorf("probe of a failed server: %v\n%s", err, out)
	}
	web[1].Start()
	waitLive(lb, 3)
	waitLive(p.LB[1], 3)

	// Notifications: the event in the text has the field names of real events.
	sample := regexp.MustCompile("(?m)^\\{\"id\".*$").FindString(o.text)
	fields := map[string]bool{}
	out, err := lb.LVSD("events", "--since", "1h", "--json", "-c", p.ConfigFile, "--director", "lb1")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(out) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		for name := range e {
			fields[name] = true
		}
	}
	var e map[string]any
	if err := json.Unmarshal([]byte(sample), &e); err != nil {
		t.Errorf("the event in the text: %v", err)
	}
	for name := range e {
		if !fields[name] {
			t.Errorf("the event in the text has %q, and none here", name)
		}
	}

	// Changing the table manually.
	ask, end := lvsdtest.KeepAlive(t, p.Client)
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	o.must(lb.Host, "lvsd status --connections web", "10.0.0.2:", "10.0.0.88:80", "ESTABLISHED")
	o.must(lb.Host, "lvsd zero web", "counters reset: web")
	o.must(lb.Host, "lvsd export ipvsadm > table")
	if table, err := os.ReadFile(p.Path("work", "table")); err != nil || !lvsdtest.ContainsAll(string(table), "-A -t 10.0.0.88:80 -s wlc", "-w 5") {
		t.Errorf("the table: %v\n%s", err, table)
	}

	// Draining a server, on both directors.
	if err := end(); err != nil { // or lvsd drained might wait for it
		t.Fatal(err)
	}
	o.must(lb.Host, "lvsd weight web 10.0.0.21:80 3", "weight = 3", "reloaded", "lb2 still has weight 5")
	o.must(lb.Host, "lvsd drain web 10.0.0.21:80 --until 2h", "drain_until = ", "reloaded")
	o.must(lb.Host, "lvsd drain web 10.0.0.21:80", "drain = true", "reloaded")
	// The directors share the file here.
	if out, err := p.LB[1].LVSD("reload", "-c", p.ConfigFile, "--director", "lb2"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o.must(lb.Host, "lvsd drained web 10.0.0.21:80 --timeout 30m && ssh 10.0.0.21 reboot")
	if asked, err := os.ReadFile(p.Path("ssh")); err != nil || string(asked) != "10.0.0.21 reboot\n" {
		t.Errorf("after the drain: %v %q", err, asked)
	}

	// Handover and its end.
	p.WaitUntil(30*time.Second, "a ready peer", func() bool { _, err := lb.LVSD("status", "-c", p.ConfigFile, "--director", "lb1"); return err == nil })
	out = o.must(lb.Host, "lvsd handover --for 1h")
	if !regexp.MustCompile(`^web: handed over to 10\.0\.0\.13 in [\d.]+ s \(addresses removed here after [\d.]+ s\); standby until (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\n$`).MatchString(out) {
		t.Errorf("a handover prints %q", out)
	}
	if lb.Holds("10.0.0.88") || !p.LB[1].Holds("10.0.0.88") {
		t.Errorf("after the handover the address is on %v", p.HoldersOf(lvsdtest.GuideVIP))
	}
	if out, err := lb.LVSD("handover", "--end", "-c", p.ConfigFile, "--director", "lb1"); err != nil {
		t.Errorf("--end: %v\n%s", err, out)
	}
	lb.WaitState("master", 60*time.Second)

	// Migration from another program.
	for name, text := range map[string]string{"lb1.conf": lvsdtest.KeepalivedConf("MASTER", "150"), "lb2.conf": lvsdtest.KeepalivedConf("BACKUP", "100"),
		"ldirectord.cf": "virtual=10.0.0.88:80\n\treal=10.0.0.9:80 gate 2\n\tservice=http\n\trequest=\"index.html\"\n\treceive=\"ok\"\n\tscheduler=wlc\n\tprotocol=tcp\n"} {
		p.WriteFile(name, text)
	}
	for _, line := range []string{"lvsd convert keepalived lb1=/tmp/lb1.conf lb2=/tmp/lb2.conf >lvsd.toml", "lvsd convert ldirectord /etc/ha.d/ldirectord.cf >lvsd.toml", "ipvsadm -S -n | lvsd convert ipvsadm - >lvsd.toml"} {
		o.must(lb.Host, line)
		if out, err := lb.LVSD("check", "-c", p.Path("work", "lvsd.toml")); err != nil {
			t.Errorf("%s: the result: %v\n%s", line, err, out)
		}
	}

	for line, ran := range o.lines {
		if !ran {
			t.Errorf("a guide has %q, which is not run here", line)
		}
	}
	if len(o.lines) < 20 {
		t.Errorf("found %d lines only", len(o.lines))
	}
}
