// Connection synchronisation between two directors.

package ipvs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// syncPair returns a running pair with connection synchronisation.
func syncPair(t *testing.T) *lvsdtest.Pair {
	p, _ := lvsdtest.NewWebPair(t, 2, func(p *lvsdtest.Pair) {
		p.EnableSync()
	})
	return p
}

// TestConnectionsSurviveAHandover keeps a hundred connections open while the link of the
// master fails, and while the new master stops. The kernel synchronises a connection
// after its third packet, up to 3 s later, so each sends a line before and the test waits
// for the backup.
func TestConnectionsSurviveAHandover(t *testing.T) {
	const connections = 100
	for name, away := range map[string]func(*lvsdtest.Director){"cut cable": (*lvsdtest.Director).CutCable, "planned stop": (*lvsdtest.Director).StopDaemon} {
		t.Run(name, func(t *testing.T) {
			p := syncPair(t)
			var talks []*lab.Conversation
			for range connections {
				talks = append(talks, lab.Converse(p.Client, lvsdtest.VIPPort))
			}
			took := p.WaitUntil(20*time.Second, "the connections on the backup", func() bool { return p.LB[1].ConnectionOrigins()["SYNC"] >= connections })
			t.Logf("FIGURE all of %d connections on the backup %v after the last was opened", connections, took)
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
				t.Errorf("%d of %d connections lost", dead, connections)
			}
			if name != "planned stop" {
				return
			}
			// With on_stop = "keep" the sync daemons continue.
			if out := p.LB[0].MustRun("ipvsadm", "-L", "--daemon"); !lvsdtest.ContainsAll(out, "master sync daemon", "backup sync daemon") {
				t.Errorf("the sync daemons ended with the director:\n%s", out)
			}
		})
	}
}

// TestSyncIsKeptRunning: both sync daemons run from the start, are restarted when another
// program stops them, follow the file, and are stopped when they are no longer configured.
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
	p.WaitUntil(5*time.Second, "both sync daemons", both("51"))
	if v, err := lb.Sysctl("net.ipv4.vs.sync_refresh_period"); err != nil || v != "10" {
		t.Errorf("sync_refresh_period %s, %v", v, err)
	}
	for _, role := range []string{"master", "backup"} {
		lb.MustRun("ipvsadm", "--stop-daemon", role)
		took := p.WaitUntil(5*time.Second, role+" to run again", both("51"))
		t.Logf("the %s ran again after %v", role, took)
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
	// With another id than the peer no connection is received.
	talk := lab.Converse(p.Client, lvsdtest.VIPPort)
	for range 5 {
		if err := talk.Say(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	// The other director reports it: it receives the messages, but the kernel ignores them.
	other := p.LB[1]
	p.WaitUntil(15*time.Second, "a warning on the other director", func() bool {
		s, err := other.Status()
		return err == nil && lvsdtest.ContainsAll(strings.Join(s.Problems, "\n"), "connections of 10.77.0.11 arrive with id 52 and are ignored", "id is 51 here")
	})
	if n := other.ConnectionOrigins()["SYNC"]; n != 0 {
		t.Errorf("%d connections were accepted with another id", n)
	}
	if v := other.Metric("lvsd_ipvs_sync_mismatch"); v != "1" {
		t.Errorf("lvsd_ipvs_sync_mismatch %s", v)
	}
	warnings := func() int { return strings.Count(other.Process.Output(), "arrive with id 52") }
	p.WaitUntil(15*time.Second, "the warning in the log", func() bool { return warnings() > 0 }) // beside the status
	// With the same id again connections are received, and the warning ends.
	reload(with("51"))
	p.WaitUntil(60*time.Second, "connections on the other director", func() bool {
		return talk.Say(5*time.Second) == nil && other.ConnectionOrigins()["SYNC"] > 0
	})
	p.WaitUntil(15*time.Second, "the end of the warning", func() bool {
		return talk.Say(5*time.Second) == nil && other.Metric("lvsd_ipvs_sync_mismatch") == "0"
	})
	if n := warnings(); n != 1 {
		t.Errorf("%d warnings in the log", n)
	}
	if v := other.Metric("lvsd_ipvs_sync_last_message_timestamp_seconds"); v == "0" || v == "absent" {
		t.Errorf("time of the last message: %s", v)
	}
	reload(p.Config())
	if out := daemons(); strings.Contains(out, "sync daemon") {
		t.Errorf("still running although no longer configured:\n%s", out)
	}
}

// TestSyncMismatch: one director sends to another port, group or network than the one on
// which the other listens. The other reports the difference until they match again.
func TestSyncMismatch(t *testing.T) {
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
	problems := func(done func(problems string) bool) func() bool {
		return func() bool {
			// A new connection, so that a message is sent.
			talk := lab.Converse(p.Client, lvsdtest.VIPPort)
			defer talk.Close()
			if err := talk.Say(5 * time.Second); err != nil {
				t.Fatal(err)
			}
			s, err := other.Status()
			return err == nil && done(strings.Join(s.Problems, "\n"))
		}
	}
	none := func(problems string) bool { return !strings.Contains(problems, "connection synchronisation") }
	for _, c := range []struct{ settings, problem string }{
		{`interface = "eth0", port = 9000`, "connections of 10.77.0.11 go to port 9000 and are ignored, because [ipvs.sync] port is 8848 here"},
		{`interface = "eth0", group = "224.0.0.90"`, "connections of 10.77.0.11 go to the group 224.0.0.90 and are ignored, because [ipvs.sync] group is 224.0.0.81 here"},
		{`interface = "eth1"`, "connections of 10.79.0.11 arrive on the interface eth1 and are ignored, because [ipvs.sync] interface is eth0 here"},
	} {
		sync(c.settings)
		took := p.WaitUntil(90*time.Second, "a warning: "+c.problem, problems(func(problems string) bool { return strings.Contains(problems, c.problem) }))
		t.Logf("%s: warning after %v", c.settings, took)
		if v := other.Metric("lvsd_ipvs_sync_mismatch"); v != "1" {
			t.Errorf("%s: lvsd_ipvs_sync_mismatch %s", c.settings, v)
		}
	}
	sync(`interface = "eth0"`)
	p.WaitUntil(90*time.Second, "the end of the warning", problems(none))
}
