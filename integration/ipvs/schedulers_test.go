// Each scheduler of the kernel balances as documented when lvsd configures it; and with a
// server of weight 0 none refuses a client where lvsd promises that.

package ipvs_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// source returns the i-th of the client's additional addresses.
func source(i int) string { return fmt.Sprintf("10.77.0.%d", 130+i) }

// sources is the number of these addresses.
const sources = 100

// addSources adds them to the client.
func addSources(p *lvsdtest.Pair) {
	for i := range sources {
		p.Client.AddAddress("eth0", source(i)+"/24")
	}
}

// askFrom connects from an address of the client and returns the name of the server. The
// connection stays open until the end of the test if keep is set.
func askFrom(p *lvsdtest.Pair, from, to string, keep bool) (string, error) {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	var server string
	err := p.Client.Do(func() error {
		conn, err := dialer.Dial("tcp", to)
		if err != nil {
			return err
		}
		if keep {
			p.T.Cleanup(func() { conn.Close() })
		} else {
			defer conn.Close()
		}
		server, err = lab.AskLine(conn)
		return err
	})
	return server, err
}

// TestSchedulersSpreadAsDocumented: all schedulers behave as net/netfilter/ipvs/Kconfig of
// the kernel and ipvsadm(8) document them, with three servers of the weights 1, 2 and 3.
// For those that count connections, the connections stay open.
func TestSchedulersSpreadAsDocumented(t *testing.T) {
	balanced := []struct {
		scheduler string
		n         int
		keep      bool
		want      [3]int // of rs1, rs2, rs3
		off       int    // by how much each may differ
	}{
		{scheduler: "rr", n: 30, want: [3]int{10, 10, 10}},                     // in turn
		{scheduler: "wrr", n: 30, want: [3]int{5, 10, 15}},                     // in turn, by weight
		{scheduler: "lc", n: 30, keep: true, want: [3]int{10, 10, 10}},         // fewest connections
		{scheduler: "wlc", n: 30, keep: true, want: [3]int{5, 10, 15}, off: 1}, // fewest by weight
		{scheduler: "sed", n: 30, keep: true, want: [3]int{5, 10, 15}, off: 2}, // shortest expected delay
		{scheduler: "nq", n: 3, keep: true, want: [3]int{1, 1, 1}},             // an idle one first
		{scheduler: "fo", n: 10, keep: true, want: [3]int{0, 0, 10}},           // the highest weight alone
		{scheduler: "ovf", n: 9, keep: true, want: [3]int{2, 3, 4}},            // the highest until it has more than its weight
	}
	byDestination, bySource := []string{"lblc", "lblcr", "dh"}, []string{"sh", "mh"}
	names := slices.Concat(byDestination, bySource)
	for _, c := range balanced {
		names = append(names, c.scheduler)
	}
	p := everyScheduler(t, names)
	for _, c := range balanced {
		seen := spreadOf(p, c.scheduler, c.n, c.keep)
		t.Logf("%s: %d connections over the weights 1 2 3: %v", c.scheduler, c.n, seen)
		for i := range seen {
			if d := seen[i] - c.want[i]; d > c.off || d < -c.off {
				t.Errorf("%s spread %d connections %v, want %v (±%d)", c.scheduler, c.n, seen, c.want, c.off)
				break
			}
		}
	}
	for _, name := range byDestination { // one server for all connections to one address
		if seen := spreadOf(p, name, 10, false); slices.Max(seen[:]) != 10 {
			t.Errorf("%s spread the connections to one address: %v", name, seen)
		}
	}
	for _, name := range bySource { // one server for each client, and all servers for all clients
		var seen [3]int
		for i := range sources {
			first, err := askFrom(p, source(i), addressOf(name), false)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			seen[first[2]-'1']++
			if again, err := askFrom(p, source(i), addressOf(name), false); err != nil || again != first {
				t.Errorf("%s sent %s to %s, then to %s, %v", name, source(i), first, again, err)
			}
		}
		t.Logf("%s: %d sources over the weights 1 2 3: %v", name, sources, seen)
		if slices.Min(seen[:]) == 0 || seen[0] >= seen[2] {
			t.Errorf("%s: %d sources by weights 1 2 3: %v", name, sources, seen)
		}
	}
	// The server with the highest weight of fo is drained: the next one serves.
	p.Services = replaceAfter(t, p.Services, `scheduler = "fo"`, "weight = 3", "weight = 0")
	p.WriteConfig()
	p.LB[0].MustReload()
	if seen := spreadOf(p, "fo", 4, false); seen != [3]int{0, 4, 0} {
		t.Errorf("fo without its highest weight: %v", seen)
	}
}

// everyScheduler runs a director with a service for each scheduler, each with three
// servers of the weights 1, 2 and 3.
func everyScheduler(t *testing.T, names []string) *lvsdtest.Pair {
	p := lvsdtest.NewPair(t, 3)
	p.PrepareDR()
	addSources(p)
	for _, name := range names {
		p.Services += fmt.Sprintf("[[virtual_service]]\nname = %q\naddress = %q\nscheduler = %q\ncheck = { type = \"on\" }\nreal_servers = [\n", name, addressOf(name), name)
		for i, r := range p.Real {
			p.Services += fmt.Sprintf("  { address = \"%s\", weight = %d },\n", r.Addr(), 1+i)
			lab.ServeLines(r, fmt.Sprint(":", port(name)), r.Name)
		}
		p.Services += "]\n"
	}
	p.LB[0].StartDaemon()
	p.LB[0].WaitState("master", 15*time.Second)
	p.WaitUntil(10*time.Second, "all servers in the table", func() bool {
		out := p.LB[0].IPVSTable()
		return strings.Count(out, "-a -t") == 3*len(names) && !strings.Contains(out, "-w 0")
	})
	return p
}

// spreadOf counts the connections of each server, of n.
func spreadOf(p *lvsdtest.Pair, name string, n int, keep bool) (seen [3]int) {
	p.T.Helper()
	for range n {
		who, err := askFrom(p, "", addressOf(name), keep)
		if err != nil {
			p.T.Fatalf("%s: %v", name, err)
		}
		seen[who[2]-'1']++
	}
	return seen
}

// addressOf returns the address of a scheduler's service.
func addressOf(name string) string { return fmt.Sprintf("%s:%d", lvsdtest.VIP, port(name)) }

// port returns the port of a scheduler's service.
func port(scheduler string) int {
	n := 8000
	for _, c := range scheduler {
		n = (n*31+int(c))%20000 + 8000
	}
	return n
}

// replaceAfter replaces the first occurrence of old after the mark.
func replaceAfter(t testing.TB, text, mark, old, new string) string {
	t.Helper()
	before, after, ok := strings.Cut(text, mark)
	if !ok {
		t.Fatalf("no %q in:\n%s", mark, text)
	}
	return before + mark + lvsdtest.Replace(t, after, old, new)
}

// TestHashingSchedulersRefuseNoClient: the kernel refuses every client whose hash selects
// a server of weight 0. With sh and mh and their fallback flags none is refused; with dh,
// and without the flags, a failed server is removed from the table, and lvsd check warns
// of a drain, which is not possible.
func TestHashingSchedulersRefuseNoClient(t *testing.T) {
	cases := []struct {
		name, scheduler, flags string
		fallback               bool
	}{
		{"sh", "sh", "", true}, {"mh", "mh", "", true}, {"dh", "dh", "", false},
		{"sh-without", "sh", `scheduler_flags = ["no-fallback"]`, false},
		{"mh-without", "mh", `scheduler_flags = ["no-fallback"]`, false},
	}
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	addSources(p)
	lb := p.LB[0]
	var first []*lab.Server
	for _, r := range p.Real {
		for _, c := range cases {
			s := lab.ServeLines(r, fmt.Sprint(":", port(c.name)), r.Name)
			if r == p.Real[0] {
				first = append(first, s)
			}
		}
	}
	file := func(weight int) {
		p.Services = ""
		for _, c := range cases {
			p.Services += fmt.Sprintf("[[virtual_service]]\nname = %q\naddress = %q\nscheduler = %q\n%s\ncheck = %s\nreal_servers = [ { address = %q, weight = %d }, { address = %q, weight = 1 } ]\n",
				c.name, addressOf(c.name), c.scheduler, c.flags, lvsdtest.QuickCheck, p.Real[0].Addr(), weight, p.Real[1].Addr())
		}
		p.WriteConfig()
	}
	weights := func(want ...int) { // of rs1 in each service
		t.Helper()
		for i, c := range cases {
			lb.WaitWeight(fmt.Sprintf("%s:%d", p.Real[0].Addr(), port(c.name)), want[i], 10*time.Second)
		}
	}
	refusals := func(name string) (n int) {
		for i := range sources {
			if who, err := askFrom(p, source(i), addressOf(name), false); err != nil {
				n++
			} else if who != "rs2" {
				t.Errorf("%s: %s was sent to %s, which has weight 0", name, source(i), who)
			}
		}
		return n
	}
	file(1)
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	weights(1, 1, 1, 1, 1)

	for _, s := range first {
		s.Refuse()
	}
	weights(0, 0, -1, -1, -1)
	for _, c := range cases {
		if n := refusals(c.name); n > 0 {
			t.Errorf("%s, a failed server: %d of %d clients were refused", c.name, n, sources)
		}
	}
	for _, s := range first {
		s.Start()
	}
	weights(1, 1, 1, 1, 1)

	file(0)
	out, err := lb.LVSD("check", "-c", p.ConfigFile)
	if err != nil {
		t.Fatalf("check: %v\n%s", err, out)
	}
	lb.MustReload()
	weights(0, 0, 0, 0, 0)
	for i, c := range cases {
		warned := strings.Contains(out, fmt.Sprintf("virtual_service[%d].real_servers[0].weight: %s refuses every client", i, c.scheduler))
		if warned == c.fallback {
			t.Errorf("%s: lvsd check warns of the drain: %v\n%s", c.name, warned, out)
		}
		n := refusals(c.name)
		t.Logf("%s, a server of weight 0 in the file: %d of %d clients refused", c.name, n, sources)
		if c.fallback && n > 0 {
			t.Errorf("%s, drained in the file: %d of %d clients were refused", c.name, n, sources)
		}
	}
}
