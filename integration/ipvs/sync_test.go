// Connection synchronisation between two directors: what a client notices of a
// handover, and what of the synchronisation is repaired.

package ipvs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// syncPair is a pair of web servers whose directors tell each other their
// connections.
func syncPair(t *testing.T) *lvsdtest.Pair {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		p.EnableSync()
	})
	return p
}

// TestConnectionsSurviveAHandover holds a hundred connections open over a cut
// cable, and over a director that is told to stop. The kernel tells of a
// connection after its third packet and up to 3 s later, so each has said a line
// and some time has passed.
func TestConnectionsSurviveAHandover(t *testing.T) {
	const connections = 100
	for name, away := range map[string]func(*lvsdtest.Director){"cut cable": (*lvsdtest.Director).CutCable, "told to stop": (*lvsdtest.Director).StopDaemon} {
		t.Run(name, func(t *testing.T) {
			p := syncPair(t)
			var talks []*lab.Conversation
			for range connections {
				talks = append(talks, lab.Converse(p.Client, lvsdtest.VIPPort))
			}
			took := p.WaitUntil(20*time.Second, "the connections to be known to the backup", func() bool { return p.LB[1].ConnectionOrigins()["SYNC"] >= connections })
			t.Logf("FIGURE the backup knew all of %d connections %v after the last was made", connections, took)
			away(p.LB[0])
			took = p.LB[1].WaitState("master", 15*time.Second)
			start := time.Now()
			dead := 0
			var longest time.Duration
			for _, c := range talks {
				if err := c.Say(10 * time.Second); err != nil {
					dead++
					t.Log(err)
				}
				_, l := c.Lines()
				longest = max(longest, l)
			}
			t.Logf("FIGURE %s: takeover after %v, %d of %d connections alive, longest line %v, all within %v", name, took, connections-dead, connections, longest, time.Since(start))
			if dead > 0 {
				t.Errorf("%d of %d connections died", dead, connections)
			}
			if name != "told to stop" {
				return
			}
			// On_stop keep: what stopped goes on telling and listening.
			if out := p.LB[0].MustRun("ipvsadm", "-L", "--daemon"); !lvsdtest.ContainsAll(out, "master sync daemon", "backup sync daemon") {
				t.Errorf("the halves ended with the director:\n%s", out)
			}
		})
	}
}

// TestSyncIsKeptRunning: both halves run from the start, come back when stopped
// by hand, follow the file, and end when the file says nothing of them.
func TestSyncIsKeptRunning(t *testing.T) {
	p := syncPair(t)
	lb := p.LB[0]
	daemons := func() string { return lb.MustRun("ipvsadm", "-L", "--daemon") }
	both := func(id string) func() bool {
		return func() bool {
			return lvsdtest.ContainsAll(daemons(), "master sync daemon (mcast=eth0, syncid="+id+", maxlen=1472, group=224.0.0.81, port=8848, ttl=1)",
				"backup sync daemon (mcast=eth0, syncid="+id+", maxlen=1472, group=224.0.0.81, port=8848, ttl=1)")
		}
	}
	t.Logf("\n%s", daemons())
	p.WaitUntil(5*time.Second, "both halves", both("51"))
	if v, err := lb.Sysctl("net.ipv4.vs.sync_refresh_period"); err != nil || v != "10" {
		t.Errorf("sync_refresh_period %s, %v", v, err)
	}
	for _, half := range []string{"master", "backup"} {
		lb.MustRun("ipvsadm", "--stop-daemon", half)
		took := p.WaitUntil(5*time.Second, half+" to run again", both("51"))
		t.Logf("the %s was back after %v", half, took)
	}
	p.WaitUntil(5*time.Second, "the drift to be counted", func() bool { return lb.Metric(`lvsd_ipvs_drift_total{kind="sync"}`) == "2" })
	starts := strings.Count(lb.Process.Output(), "connection synchronisation started")
	reload := func(text string) {
		p.WriteFile("lvsd.toml", text)
		lb.MustReload()
	}
	with := func(id string) string {
		return lvsdtest.Replace(t, p.Config(), "[ipvs]", "[ipvs]\nsync = { interface = \"eth0\", id = "+id+" }")
	}
	reload(lvsdtest.Replace(t, with("51"), "weight = 1", "weight = 3"))
	if n := strings.Count(lb.Process.Output(), "connection synchronisation started"); n != starts {
		t.Errorf("%d starts for a reload that left it as it was", n-starts)
	}
	reload(with("52"))
	p.WaitUntil(5*time.Second, "another id", both("52"))
	// With another id than the peer nothing arrives.
	talk := lab.Converse(p.Client, lvsdtest.VIPPort)
	for range 5 {
		if err := talk.Say(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	// The other director says that they do: they are heard, and not taken.
	other := p.LB[1]
	p.WaitUntil(15*time.Second, "a warning on the other side", func() bool {
		s, err := other.Status()
		return err == nil && lvsdtest.ContainsAll(strings.Join(s.Problems, "\n"), "connections of 10.77.0.11 arrive with id 52 and are not taken", "id is 51 here")
	})
	if n := other.ConnectionOrigins()["SYNC"]; n != 0 {
		t.Errorf("%d connections arrived under another id", n)
	}
	if v := other.Metric("lvsd_ipvs_sync_mismatch"); v != "1" {
		t.Errorf("lvsd_ipvs_sync_mismatch %s", v)
	}
	if n := strings.Count(other.Process.Output(), "arrive with id 52"); n != 1 {
		t.Errorf("warned %d times in the log", n)
	}
	// The same identifier again: connections arrive, and the warning ends.
	reload(with("51"))
	p.WaitUntil(60*time.Second, "connections on the other side", func() bool {
		return talk.Say(5*time.Second) == nil && other.ConnectionOrigins()["SYNC"] > 0
	})
	p.WaitUntil(15*time.Second, "the end of the warning", func() bool {
		return talk.Say(5*time.Second) == nil && other.Metric("lvsd_ipvs_sync_mismatch") == "0"
	})
	if v := other.Metric("lvsd_ipvs_sync_last_message_timestamp_seconds"); v == "0" || v == "absent" {
		t.Errorf("when a message of ours was heard: %s", v)
	}
	reload(p.Config())
	if out := daemons(); strings.Contains(out, "sync daemon") {
		t.Errorf("they run on without a wish:\n%s", out)
	}
}

// TestSyncGoesElsewhere: one director sends to another port, another group or
// another network than the other one listens at. The other sees it and says what
// differs; the same again, and the warning ends.
func TestSyncGoesElsewhere(t *testing.T) {
	p := syncPair(t)
	lb, other := p.LB[0], p.LB[1]
	second := p.LAN("second", "10.79.0.0/24")
	for i, d := range p.LB {
		d.Plug(second, fmt.Sprintf("10.79.0.%d/24", 11+i))
	}
	sync := func(settings string) {
		t.Helper()
		p.WriteFile("lvsd.toml", lvsdtest.Replace(t, p.Config(), "[ipvs]", "[ipvs]\nsync = { id = 51, "+settings+" }"))
		lb.MustReload()
	}
	said := func(done func(problems string) bool) func() bool {
		return func() bool {
			// A new connection is always something to tell.
			talk := lab.Converse(p.Client, lvsdtest.VIPPort)
			defer talk.Close()
			if err := talk.Say(5 * time.Second); err != nil {
				t.Fatal(err)
			}
			s, err := other.Status()
			return err == nil && done(strings.Join(s.Problems, "\n"))
		}
	}
	quiet := func(problems string) bool { return !strings.Contains(problems, "connection synchronisation") }
	for _, c := range []struct{ settings, problem string }{
		{`interface = "eth0", port = 9000`, "connections of 10.77.0.11 go to port 9000 and are not taken, because [ipvs.sync] port is 8848 here"},
		{`interface = "eth0", group = "224.0.0.90"`, "connections of 10.77.0.11 go to the group 224.0.0.90 and are not taken, because [ipvs.sync] group is 224.0.0.81 here"},
		{`interface = "eth1"`, "connections of 10.79.0.11 come by the interface eth1 and are not taken, because [ipvs.sync] interface is eth0 here"},
	} {
		sync(c.settings)
		took := p.WaitUntil(90*time.Second, "a warning: "+c.problem, said(func(problems string) bool { return strings.Contains(problems, c.problem) }))
		t.Logf("%s: warned of after %v", c.settings, took)
		if v := other.Metric("lvsd_ipvs_sync_mismatch"); v != "1" {
			t.Errorf("%s: lvsd_ipvs_sync_mismatch %s", c.settings, v)
		}
	}
	sync(`interface = "eth0"`)
	p.WaitUntil(90*time.Second, "the end of the warning", said(quiet))
}
