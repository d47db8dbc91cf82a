package operate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// convertConfig runs lvsd convert on a director, adds the paths of its socket and state,
// and makes the result the pair's configuration. It returns what convert printed to
// stderr.
func convertConfig(p *lvsdtest.Pair, lb *lvsdtest.Director, args string) string {
	p.T.Helper()
	p.ConfigFile = p.WriteFile("converted.toml", "")
	warnings := lb.MustRun("sh", "-c", lvsdtest.Binary(p.T)+" convert "+args+" >"+p.ConfigFile)
	text := lb.MustRun("cat", p.ConfigFile)
	if !strings.Contains(text, "\n[[director]]") {
		text += "\n[[director]]\nname = \"lb1\"\n[[director]]\nname = \"lb2\"\n"
	}
	p.ConfigFile = p.WriteFile("converted.toml", text+fmt.Sprintf(`
[global]
control_socket = { lb1 = %q, lb2 = %q }
state_dir = { lb1 = %q, lb2 = %q }
`, p.LB[0].Socket, p.LB[1].Socket, p.Path("lb1.state"), p.Path("lb2.state")))
	if out, err := lb.LVSD("check", "-c", p.ConfigFile); err != nil {
		p.T.Fatalf("lvsd check: %v\n%s\n%s", err, out, text)
	}
	return warnings
}

// savedTable returns the IPVS table for ipvsadm -R, with the thresholds.
func savedTable(d *lvsdtest.Director) string {
	d.Pair.T.Helper()
	out, err := d.LVSD("export", "ipvsadm")
	if err != nil {
		d.Pair.T.Fatalf("export: %v\n%s", err, out)
	}
	return out
}

// writtenTable returns the series of writes to the IPVS table that are not 0.
func writtenTable(d *lvsdtest.Director) string {
	text, err := d.GetAPI("/metrics")
	if err != nil {
		d.Pair.T.Fatal(err)
	}
	var all strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "lvsd_ipvs_operations_total") && !strings.Contains(line, "sysctl") && !strings.HasSuffix(line, " 0\n") {
			all.WriteString(line)
		}
	}
	return all.String()
}

// TestConvertIPVSadm: a table with every kind of entry, which is exported, converted and
// run, remains the same, and lvsd writes nothing to it.
func TestConvertIPVSadm(t *testing.T) {
	p := lvsdtest.NewPair(t, 0)
	lb := p.LB[0]
	table := strings.ReplaceAll(`-A -t 10.77.0.100:80 -s wlc
-a -t 10.77.0.100:80 -r 10.77.0.21:80 -g -w 2
-a -t 10.77.0.100:80 -r 10.77.0.22:80 -g -w 0 -x 100 -y 80
-A -u 10.77.0.100:53 -s rr -o
-a -u 10.77.0.100:53 -r 10.77.0.21:5353 -m -w 1
-A -u 10.77.0.100:5060 -s rr -p 60 --pe sip
-a -u 10.77.0.100:5060 -r 10.77.0.21:5060 -m -w 1
-A -t 10.77.0.100:443 -s sh -b sh-port
-a -t 10.77.0.100:443 -r 10.77.0.21:443 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.77.0.100:443 -r 10.77.0.22:443 -i -w 1 --tun-type ipip
-A -t 10.77.0.100:444 -s mh -p 300 -M 255.255.255.0 -b mh-fallback,mh-port
-a -t 10.77.0.100:444 -r 10.77.0.21:444 -g -w 1
-A -t 10.77.0.101:0 -s dh -p 360
-a -t 10.77.0.101:0 -r 10.77.0.21:0 -g -w 1
-A -f 7 -s rr
-a -f 7 -r 10.77.0.21:0 -g -w 1
-A -f 7 -6 -s rr -p 360 -M 64
-a -f 7 -6 -r [2001:db8::9]:0 -m -w 1
-A -t [2001:db8::88]:80 -s wrr
-a -t [2001:db8::88]:80 -r [2001:db8::9]:80 -g -w 3
`, "\r", "")
	lb.MustRun("sh", "-c", "ipvsadm -R <"+p.WriteFile("made.txt", table))
	before := savedTable(lb)
	if n := strings.Count(before, "\n"); n != strings.Count(table, "\n") {
		t.Fatalf("ipvsadm -R made\n%s", before)
	}
	warnings := convertConfig(p, lb, "ipvsadm --exit-code "+p.WriteFile("table.txt", before))
	for line := range strings.Lines(warnings) {
		if !strings.HasPrefix(line, "warning: ") {
			t.Errorf("not carried over: %s", line)
		}
	}
	lb.StartDaemon()
	p.WaitUntil(10*time.Second, "a comparison with the kernel", func() bool { return !strings.HasPrefix(lb.Metric("lvsd_ipvs_last_resync_timestamp_seconds"), "0") })
	if after := savedTable(lb); after != before {
		t.Errorf("the table is\n%s\nwant\n%s", after, before)
	}
	if w := writtenTable(lb); w != "" {
		t.Errorf("written to a table that was correct:\n%s", w)
	}
	// Also with the names that ipvsadm prints without -n.
	lb.Process.Terminate()
	<-lb.Process.Done()
	names := p.WriteFile("names.txt", "-A -t localhost:http -s rr -p\n-a -t localhost:http -r localhost:https -m -w 3\n")
	if out, err := lb.LVSD("convert", "ipvsadm", names); err != nil || !lvsdtest.ContainsAll(out, `address = "127.0.0.1:80"`, `"127.0.0.1:443"`, `persistence = "6m"`) {
		t.Errorf("names: %v\n%s", err, out)
	}
}

// startKeepalived starts keepalived on the host of a director.
func startKeepalived(d *lvsdtest.Director, file string) *lab.Process {
	return d.Start("keepalived", "-n", "-l", "-D", "-f", file, "-p", d.Pair.Path(d.Name+".pid"), "-r", d.Pair.Path(d.Name+".vrrp.pid"), "-c", d.Pair.Path(d.Name+".check.pid"))
}

// TestConvertKeepalivedPair replaces keepalived by lvsd on one director of a pair after
// the other, with the file that convert made: keepalived and lvsd elect one master, and
// the IPVS table remains the same.
func TestConvertKeepalivedPair(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.ServeLines()
	files := [2]string{p.WriteFile("lb1.conf", lvsdtest.KeepalivedConf("MASTER", "150")), p.WriteFile("lb2.conf", lvsdtest.KeepalivedConf("BACKUP", "100"))}
	var running [2]*lab.Process
	for i, lb := range p.LB {
		running[i] = startKeepalived(lb, files[i])
	}
	full := func(lb *lvsdtest.Director) bool { return strings.Count(savedTable(lb), "\n") == 5 }
	for _, lb := range p.LB {
		p.WaitUntil(20*time.Second, "keepalived to fill the table of "+lb.Name, func() bool { return full(lb) })
	}
	p.WaitUntil(20*time.Second, "keepalived on lb1 to be master", func() bool { return p.LB[0].Holds(lvsdtest.VIP) && !p.LB[1].Holds(lvsdtest.VIP) })
	before := savedTable(p.LB[0])

	// The commands are those of the guide.
	g := lvsdtest.ReadGuide(t, "docs/guides/from-keepalived.md")
	commands := strings.Split(strings.NewReplacer("lvsd convert ", "", "/tmp/lb1.conf", files[0], "/tmp/lb2.conf", files[1], " >lvsd.toml", "").Replace(g["sh convert"]), "\n")
	for line := range strings.Lines(convertConfig(p, p.LB[0], commands[0])) {
		asAnotherUser := strings.HasPrefix(line, "to do:") && strings.Contains(line, "without script_user")
		if !asAnotherUser && (strings.HasPrefix(line, "lost:") || strings.HasPrefix(line, "left out:") || strings.HasPrefix(line, "to do:")) {
			t.Errorf("not carried over: %s", line)
		}
	}
	if out, err := p.LB[0].LVSD(append([]string{"convert"}, strings.Fields(commands[1])...)...); err != nil || !lvsdtest.ContainsAll(out, "virtual_server 10.77.0.100 80", "10.77.0.22:80") {
		t.Errorf("%s: %v\n%s", commands[1], err, out)
	}
	for line := range strings.Lines(g["sh check"]) {
		for _, lb := range p.LB {
			if out, err := lb.LVSD(append(strings.Fields(line)[1:], "-c", p.ConfigFile, "--director", lb.Name)...); err != nil {
				t.Errorf("%s: %s: %v\n%s", lb.Name, line, err, out)
			}
		}
	}
	end := func(i int) {
		running[i].Terminate()
		<-running[i].Done()
	}
	same := func(lb *lvsdtest.Director) {
		t.Helper()
		p.WaitUntil(20*time.Second, "the same table on "+lb.Name, func() bool { return savedTable(lb) == before })
	}
	alone := func(i int) {
		t.Helper()
		p.WaitUntil(20*time.Second, p.LB[i].Name+" alone to hold the address", func() bool { return p.LB[i].Holds(lvsdtest.VIP) && !p.LB[1-i].Holds(lvsdtest.VIP) })
	}
	// The backup is replaced beside the master, which no connection notices.
	connections := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 50 * time.Millisecond, Timeout: 10 * time.Second})
	connections.WaitSuccesses(5, 20*time.Second)
	end(1)
	p.LB[1].StartDaemon()
	p.LB[1].WaitState("backup", 20*time.Second)
	same(p.LB[1])
	alone(0)
	connections.WaitSuccesses(5, 20*time.Second)
	if r := connections.Stop(); r.Failed > 0 {
		t.Errorf("replacing the backup: %v", r)
	}

	// The master resigns (priority 0): one takeover, as between two of keepalived.
	connections = lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 50 * time.Millisecond, Timeout: time.Second})
	connections.WaitSuccesses(5, 20*time.Second)
	resigned := time.Now()
	end(0)
	p.LB[1].WaitState("master", 20*time.Second)
	alone(1)
	master := time.Now()
	connections.WaitSuccesses(5, 20*time.Second)
	r := connections.Stop()
	_, gap := r.Gap(resigned, master)
	t.Logf("the master resigns: gap of %v, %v", gap.Round(10*time.Millisecond), r)
	if gap > 10*time.Second {
		t.Errorf("a gap of %v when the master resigns: %v", gap, r)
	}

	// The new lb1 preempts, which no connection notices.
	connections = lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Every: 50 * time.Millisecond, Timeout: 10 * time.Second})
	connections.WaitSuccesses(5, 20*time.Second)
	p.LB[0].StartDaemon()
	p.LB[0].WaitState("master", 30*time.Second)
	p.LB[1].WaitState("backup", 20*time.Second)
	alone(0)
	same(p.LB[0])
	connections.WaitSuccesses(5, 20*time.Second)
	if r := connections.Stop(); r.Failed > 0 {
		t.Errorf("the new master preempts: %v", r)
	}
	if out, err := p.LB[0].LVSD("status", "-c", p.ConfigFile, "--director", "lb1"); err != nil {
		t.Errorf("status: %v\n%s", err, out)
	}
}
