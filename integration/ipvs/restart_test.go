// A director that is killed at any moment: the kernel's table stays, and the next start
// changes it to the file of then.

package ipvs_test

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// manyServices returns services of 60 servers each. Each i omits another service and has
// other servers in the rest.
func manyServices(i int) string {
	var b strings.Builder
	for s := range 5 {
		if s == i%5 {
			continue
		}
		fmt.Fprintf(&b, "[[virtual_service]]\nname = \"s%d\"\naddress = \"%s:%d\"\ncheck = { type = \"on\" }\nreal_servers = [\n", s, lvsdtest.VIP, 8000+s)
		for r := range 60 {
			fmt.Fprintf(&b, "  { address = \"10.78.%d.%d\", weight = %d },\n", s, 1+r+20*(i%3), 1+i)
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// wantedLines returns the table of manyServices as ipvsadm saves it, sorted.
func wantedLines(i int) (lines []string) {
	for s := range 5 {
		if s == i%5 {
			continue
		}
		lines = append(lines, fmt.Sprintf("-A -t %s:%d -s wlc", lvsdtest.VIP, 8000+s))
		for r := range 60 {
			lines = append(lines, fmt.Sprintf("-a -t %s:%d -r 10.78.%d.%d:%d -g -w %d", lvsdtest.VIP, 8000+s, s, 1+r+20*(i%3), 8000+s, 1+i))
		}
	}
	slices.Sort(lines)
	return lines
}

// countEntries counts the lines of /proc/net/ip_vs, which starts no process.
func countEntries(d *lvsdtest.Director) (n int) {
	d.Pair.T.Helper()
	if err := d.Do(func() error {
		f, err := os.Open("/proc/thread-self/net/ip_vs")
		if err != nil {
			return err
		}
		defer f.Close()
		for scan := bufio.NewScanner(f); scan.Scan(); n++ {
		}
		return nil
	}); err != nil {
		d.Pair.T.Fatal(err)
	}
	return n
}

// TestKilledWhileItWrites kills the daemon as soon as the kernel's table changes,
// repeatedly, each time with another file. Then one start must suffice: the table equals
// the last file, a server with a connection that was removed from it drains, and the
// services of others are unchanged.
func TestKilledWhileItWrites(t *testing.T) {
	const kills = 6
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	lb := p.LB[0]
	p.Client.ServePrefix("10.78.0.0/16")
	lb.OnLink("10.78.0.0/16")
	for _, r := range p.Real {
		lab.ServeLines(r, ":80", r.Name)
	}
	theirs := []string{"-A -t 10.77.0.200:443 -s wrr", "-a -t 10.77.0.200:443 -r 10.77.0.21:443 -g -w 9"}
	lb.MustRun("ipvsadm", "-A", "-t", "10.77.0.200:443", "-s", "wrr")
	lb.MustRun("ipvsadm", "-a", "-t", "10.77.0.200:443", "-r", "10.77.0.21", "-g", "-w", "9")
	web := func(drain string, weights ...int) string {
		return lvsdtest.Replace(t, p.WebService(`{ type = "on" }`, weights...), "scheduler", "drain_timeout = \""+drain+"\"\nscheduler")
	}
	write := func(i int, web string) { p.Services = web + manyServices(i); p.WriteConfig() }
	write(0, web("1h", 1, 1))
	lb.StartMaster(2)
	var talks []*lab.Conversation
	for range 4 {
		talks = append(talks, lab.Converse(p.Client, lvsdtest.VIPPort))
	}
	conns := func() (n int) {
		for line := range strings.Lines(lb.MustRun("ipvsadm", "-L", "-n", "--stats", "--exact", "-t", lvsdtest.VIPPort)) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == "TCP" {
				fmt.Sscan(f[2], &n)
			}
		}
		return n
	}
	p.WaitUntil(10*time.Second, "the connections to be counted", func() bool { return conns() == len(talks) })

	lb.KillDaemon()
	between := 0
	for i := 1; i <= kills; i++ {
		write(i, web("1h", 1, 1))
		before := countEntries(lb)
		lb.Process = lb.Start(lvsdtest.Binary(t), "run", "-c", p.ConfigFile, "--director", lb.Name)
		p.WaitUntil(20*time.Second, "the table to change", func() bool { return countEntries(lb) != before })
		lb.KillDaemon()
		if left := tableLines(lb.IPVSTable()); !slices.Equal(left, sorted(wantedLines(i), theirs, webLines(p, 1, 1))) {
			between++
		}
	}
	t.Logf("FIGURE %d of %d kills left the table half written", between, kills)
	if between == 0 {
		t.Error("no kill during a write")
	}

	write(kills+1, web("1h", 1)) // without rs2
	lb.StartDaemon()
	p.WaitUntil(20*time.Second, "the last file's table", func() bool {
		return slices.Equal(tableLines(lb.IPVSTable()), sorted(wantedLines(kills+1), theirs, webLines(p, 1, 0)))
	})
	for _, c := range talks {
		if err := c.Say(5 * time.Second); err != nil {
			t.Errorf("a connection to %s did not survive: %v", c.Server, err)
		}
	}
	if n := conns(); n != len(talks) {
		t.Errorf("the service's counter shows %d connections, want %d: it was reset", n, len(talks))
	}
	write(kills+1, web("1s", 1))
	lb.MustReload()
	p.WaitUntil(20*time.Second, "the drain to end", func() bool {
		return slices.Equal(tableLines(lb.IPVSTable()), sorted(wantedLines(kills+1), theirs, webLines(p, 1)))
	})

	p.EditConfig("[ipvs]", "[ipvs]\non_stop = \"remove\"")
	lb.MustReload()
	lb.StopDaemon()
	if left := tableLines(lb.IPVSTable()); !slices.Equal(left, theirs) {
		t.Errorf("on_stop remove left\n%s", strings.Join(left, "\n"))
	}
}

// tableLines returns the sorted lines of a table.
func tableLines(saved string) []string {
	lines := strings.Split(strings.TrimSpace(saved), "\n")
	slices.Sort(lines)
	return lines
}

// sorted concatenates and sorts lines.
func sorted(parts ...[]string) []string {
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all
}

// webLines returns the lines of the pair's service with these weights.
func webLines(p *lvsdtest.Pair, weights ...int) []string {
	lines := []string{"-A -t " + lvsdtest.VIPPort + " -s rr"}
	for i, w := range weights {
		lines = append(lines, fmt.Sprintf("-a -t %s -r %s:80 -g -w %d", lvsdtest.VIPPort, p.Real[i].Addr(), w))
	}
	return lines
}
