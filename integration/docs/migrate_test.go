package docs_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// TestGuideFromLdirectord: docs/guides/from-ldirectord.md. What heartbeat and ldirectord
// have made on the active node, its address and the kernel's table, is made by commands.
func TestGuideFromLdirectord(t *testing.T) {
	g := lvsdtest.ReadGuide(t, "docs/guides/from-ldirectord.md")
	p := lvsdtest.NewGuidePair(t, g, "toml")
	for _, a := range []string{"10.0.0.9/24", "10.0.0.20/24"} {
		r := p.AddRealServer(p.Net, a)
		r.PrepareDR(lvsdtest.GuideVIP)
		lab.ServeLines(r, ":80", r.Name)
	}
	for _, lb := range p.LB {
		lb.PrepareDirector()
	}
	active := p.LB[0]
	active.MustRun("ip", "address", "add", lvsdtest.GuideVIP+"/24", "dev", "eth0")
	active.MustRun("sh", "-c", "ipvsadm -R <"+p.WriteFile("old.txt", `-A -t 10.0.0.88:80 -s wrr
-a -t 10.0.0.88:80 -r 10.0.0.9:80 -g -w 1
-a -t 10.0.0.88:80 -r 10.0.0.20:80 -g -w 3
`))

	// The commands of the guide make the file.
	old := p.WriteFile("ldirectord.cf", `checktimeout = 3
checkinterval = 1
quiescent = no
virtual = 10.0.0.88:80
	real = 10.0.0.9:80 gate 1
	real = 10.0.0.20:80 gate 3
	service = simpletcp
	checktype = connect
	scheduler = wrr
	protocol = tcp
`)
	services := p.Path("services.toml")
	for line := range strings.Lines(g["sh convert"]) {
		line = strings.NewReplacer("lvsd ", lvsdtest.Binary(t)+" ", "/etc/ha.d/ldirectord.cf", old, "lvsd.toml", services).Replace(strings.TrimSpace(line))
		active.MustRun("sh", "-c", line)
	}
	text, err := os.ReadFile(services)
	if err != nil {
		t.Fatal(err)
	}
	p.WriteConfigText(p.ConfigText() + string(text))
	before := active.IPVSTable()
	onBoth(p, g["sh check"])
	if after := active.IPVSTable(); after != before || !active.Holds(lvsdtest.GuideVIP) {
		t.Errorf("the checks changed the running node:\n%s\nto\n%s", before, after)
	}

	// The cluster gives up its resources.
	connections := lab.StartOutage(p.Client, lvsdtest.GuideVIPPort, lab.OutageConfig{Every: 50 * time.Millisecond, Timeout: time.Second})
	connections.WaitSuccesses(5, 20*time.Second)
	stopped := time.Now()
	active.MustRun("ip", "address", "del", lvsdtest.GuideVIP+"/24", "dev", "eth0")
	active.MustRun("ipvsadm", "-C")
	if holders := p.HoldersOf(lvsdtest.GuideVIP); len(holders) > 0 {
		t.Fatalf("%v still have the address", holders)
	}
	active.StartDaemon()
	active.WaitState("master", 30*time.Second)
	waitLive(active, 2)
	serving := time.Now()
	connections.WaitSuccesses(5, 20*time.Second)
	r := connections.Stop()
	_, gap := r.Gap(stopped, serving)
	t.Logf("without an address for %v: %v", gap.Round(10*time.Millisecond), r)
	if gap > 20*time.Second {
		t.Errorf("clients were refused for %v", gap)
	}

	// The second director joins, which no connection notices.
	connections = lab.StartOutage(p.Client, lvsdtest.GuideVIPPort, lab.OutageConfig{Every: 50 * time.Millisecond, Timeout: 10 * time.Second})
	connections.WaitSuccesses(5, 20*time.Second)
	p.LB[1].StartDaemon()
	p.LB[1].WaitState("backup", 30*time.Second)
	waitLive(p.LB[1], 2)
	connections.WaitSuccesses(5, 20*time.Second)
	if r := connections.Stop(); r.Failed > 0 {
		t.Errorf("the second director joins: %v", r)
	}
	if holders := p.HoldersOf(lvsdtest.GuideVIP); len(holders) != 1 || holders[0] != "lb1" {
		t.Errorf("%v have the address", holders)
	}
	if after := active.IPVSTable(); after != before {
		t.Errorf("the table was\n%s\nand is\n%s", before, after)
	}
	for _, d := range p.LB {
		if out, err := d.LVSD("status", "-c", p.ConfigFile, "--director", d.Name); err != nil {
			t.Errorf("status of %s: %v\n%s", d.Name, err, out)
		}
	}
}

// onBoth runs commands of lvsd on both directors.
func onBoth(p *lvsdtest.Pair, commands string) {
	p.T.Helper()
	if commands == "" {
		p.T.Fatal("the guide has no such commands")
	}
	for line := range strings.Lines(commands) {
		args := strings.Fields(line)[1:]
		for _, d := range p.LB {
			if out, err := d.LVSD(append(args, "-c", p.ConfigFile, "--director", d.Name)...); err != nil {
				p.T.Errorf("%s: %s: %v\n%s", d.Name, line, err, out)
			}
		}
	}
}
