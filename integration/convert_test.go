package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// converted runs lvsd convert on a director, adds where this director keeps its
// own things, and leaves the result as the pair's file. What convert says on
// stderr is returned.
func (p *pair) converted(lb *director, args string) string {
	p.t.Helper()
	p.file = p.WriteFile("converted.toml", "")
	said := lb.MustRun("sh", "-c", binary(p.t)+" convert "+args+" >"+p.file)
	text := lb.MustRun("cat", p.file)
	if !strings.Contains(text, "\n[[director]]") {
		text += "\n[[director]]\nname = \"lb1\"\n[[director]]\nname = \"lb2\"\n"
	}
	p.file = p.WriteFile("converted.toml", text+fmt.Sprintf(`
[global]
control_socket = { lb1 = %q, lb2 = %q }
state_dir = { lb1 = %q, lb2 = %q }
`, p.lb[0].socket, p.lb[1].socket, p.Path("lb1.state"), p.Path("lb2.state")))
	if out, err := lb.run("check", "-c", p.file); err != nil {
		p.t.Fatalf("lvsd check: %v\n%s\n%s", err, out, text)
	}
	return said
}

// table is the kernel's, in ipvsadm's words with the thresholds.
func (d *director) table() string {
	d.p.t.Helper()
	out, err := d.run("export", "ipvsadm")
	if err != nil {
		d.p.t.Fatalf("export: %v\n%s", err, out)
	}
	return out
}

// written lists what was written to the kernel's table, if anything.
func (d *director) written() string {
	text, err := d.get("/metrics")
	if err != nil {
		d.p.t.Fatal(err)
	}
	var all strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "lvsd_ipvs_operations_total") && !strings.Contains(line, "sysctl") && !strings.HasSuffix(line, " 0\n") {
			all.WriteString(line)
		}
	}
	return all.String()
}

// TestATableComesBackFromIPVSadm: a table with one of everything, exported,
// converted and run, is the same table, and nothing of it was written anew.
func TestATableComesBackFromIPVSadm(t *testing.T) {
	p := newPair(t, 0)
	lb := p.lb[0]
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
	before := lb.table()
	if n := strings.Count(before, "\n"); n != strings.Count(table, "\n") {
		t.Fatalf("ipvsadm -R made\n%s", before)
	}
	said := p.converted(lb, "ipvsadm --exit-code "+p.WriteFile("table.txt", before))
	if said != "" {
		t.Errorf("not carried over:\n%s", said)
	}
	lb.start()
	p.WaitUntil(10*time.Second, "a look at the kernel's table", func() bool { return !strings.HasPrefix(lb.metric("lvsd_ipvs_last_resync_timestamp_seconds"), "0") })
	if after := lb.table(); after != before {
		t.Errorf("the table is\n%s\nwant\n%s", after, before)
	}
	if w := lb.written(); w != "" {
		t.Errorf("written to a table that was as it should be:\n%s", w)
	}
	// By the names that ipvsadm prints without -n, too.
	lb.process.Terminate()
	<-lb.process.Done()
	names := p.WriteFile("names.txt", "-A -t localhost:http -s rr -p\n-a -t localhost:http -r localhost:https -m -w 3\n")
	if out, err := lb.run("convert", "ipvsadm", names); err != nil || !contains(out, `address = "127.0.0.1:80"`, `"127.0.0.1:443"`, `persistence = "6m"`) {
		t.Errorf("names: %v\n%s", err, out)
	}
}

// keepalivedConf is the file of one director of a pair.
func keepalivedConf(state, priority string) string {
	return `! a pair
vrrp_script always {
    script "/bin/true"
    interval 1
}
vrrp_instance VI_1 {
    state ` + state + `
    interface eth0
    virtual_router_id 51
    priority ` + priority + `
    advert_int 1
    virtual_ipaddress {
        10.77.0.100
    }
    track_script {
        always
    }
}
virtual_server 10.77.0.100 80 {
    delay_loop 1
    lvs_sched wrr
    lvs_method DR
    protocol TCP
    persistence_timeout 60
    persistence_granularity 255.255.255.0
    real_server 10.77.0.21 80 {
        weight 3
        uthreshold 1000
        lthreshold 900
        TCP_CHECK {
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }
    real_server 10.77.0.22 80 {
        weight 2
        TCP_CHECK {
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }
}
virtual_server fwmark 9 {
    delay_loop 1
    lvs_sched sh
    sh-fallback
    lvs_method DR
    real_server 10.77.0.21 {
        TCP_CHECK {
            connect_port 80
            connect_timeout 1
        }
    }
}
`
}

// keepalived runs it on a director.
func (d *director) keepalived(file string) *lab.Process {
	return d.Start("keepalived", "-n", "-l", "-D", "-f", file, "-p", d.p.Path(d.Name+".pid"), "-r", d.p.Path(d.Name+".vrrp.pid"), "-c", d.p.Path(d.Name+".check.pid"))
}

// TestAPairComesFromKeepalived exchanges the directors of a pair one by one,
// with the file that convert makes: each time the one with keepalived and the
// one with lvsd get along, and the kernel's table is the one of before.
func TestAPairComesFromKeepalived(t *testing.T) {
	p := newPair(t, 2)
	p.prepareDR()
	for _, r := range p.real {
		lab.ServeLines(r, ":80", r.Name)
	}
	files := [2]string{p.WriteFile("lb1.conf", keepalivedConf("MASTER", "150")), p.WriteFile("lb2.conf", keepalivedConf("BACKUP", "100"))}
	var running [2]*lab.Process
	for i, lb := range p.lb {
		running[i] = lb.keepalived(files[i])
	}
	full := func(lb *director) bool { return strings.Count(lb.table(), "\n") == 5 }
	for _, lb := range p.lb {
		p.WaitUntil(20*time.Second, "keepalived to fill the table of "+lb.Name, func() bool { return full(lb) })
	}
	p.WaitUntil(20*time.Second, "keepalived on lb1 to be master", func() bool { return p.lb[0].Holds(vip) && !p.lb[1].Holds(vip) })
	before := p.lb[0].table()

	if said := p.converted(p.lb[0], "keepalived lb1="+files[0]+" lb2="+files[1]); strings.Contains(said, "left out") || strings.Contains(said, "to do") {
		t.Errorf("not carried over:\n%s", said)
	}
	end := func(i int) {
		running[i].Terminate()
		<-running[i].Done()
	}
	same := func(lb *director) {
		t.Helper()
		p.WaitUntil(20*time.Second, "the table of before on "+lb.Name, func() bool { return lb.table() == before })
	}
	end(1)
	p.lb[1].start()
	p.lb[1].wait("backup", 20*time.Second)
	same(p.lb[1])

	end(0) // says goodbye with priority 0
	p.lb[1].wait("master", 20*time.Second)
	if !p.lb[1].Holds(vip) || p.lb[0].Holds(vip) {
		t.Errorf("the address is on %v, want lb2", p.holders())
	}
	answers := lab.StartOutage(p.client, vipPort, lab.OutageConfig{})
	answers.WaitSuccesses(5, 20*time.Second)
	answers.Stop()

	p.lb[0].start()
	p.lb[0].wait("master", 30*time.Second)
	p.lb[1].wait("backup", 20*time.Second)
	same(p.lb[0])
	if out, err := p.lb[0].run("status", "-c", p.file, "--director", "lb1"); err != nil {
		t.Errorf("status: %v\n%s", err, out)
	}
}
