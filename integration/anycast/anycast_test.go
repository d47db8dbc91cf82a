package anycast

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// outages measure a client of each address that connects all the time. A connection that
// waits for a busy machine is no failure.
type outages []*lab.Outage

func (s *site) outages() (all outages) {
	s.t.Helper()
	for _, v := range s.vips() {
		o := lab.StartOutage(s.client, net.JoinHostPort(v, "80"), lab.OutageConfig{Ask: lab.AskLine, Every: 20 * time.Millisecond, Timeout: 5 * time.Second, For: 5 * time.Minute})
		o.WaitSuccesses(20, patience)
		all = append(all, o)
	}
	return all
}

// none ends the measurement and requires that nothing failed.
func (all outages) none(t *testing.T) {
	t.Helper()
	for _, o := range all {
		o.WaitSuccesses(o.Successes()+20, patience)
		r := o.Stop()
		t.Logf("%s", r)
		if r.Failed > 0 {
			t.Errorf("connections failed: %s", r)
		}
	}
}

// TestAnycastPlanned: a handover, its end, a stop and a start. The router follows, no
// client's connection fails, and none breaks.
func TestAnycastPlanned(t *testing.T) {
	for _, how := range []setting{
		{name: "bird-dr", speaker: bird, six: true},
		{name: "bird-tun", speaker: bird, six: true, tun: true},
		{name: "frr", speaker: frr},
	} {
		t.Run(how.name, func(t *testing.T) {
			s := newSite(t, how)
			o, c := s.outages(), s.connect(30)
			out := s.lb[2].mustRun("handover", "--socket", s.lb[2].socket)
			if !strings.Contains(out, "anycast: withdrawn after") {
				t.Errorf("handover: %s", out)
			}
			if routes := s.lb[2].routed(); strings.Contains(routes, vip) {
				t.Errorf("after the handover: %s", routes)
			}
			t.Logf("the router follows a handover after %v", s.waitHops(2))
			s.lb[2].mustRun("handover", "--end", "--socket", s.lb[2].socket)
			s.waitHops(3)

			s.lb[1].lvsd.Terminate()
			s.waitHops(2)
			<-s.lb[1].lvsd.Done()
			if code := s.lb[1].lvsd.ExitCode(); code != 0 {
				t.Errorf("exit code %d:\n%s", code, s.lb[1].lvsd.Tail(20))
			}
			for _, family := range []string{"-4", "-6"} {
				if left := s.lb[1].MustRun("ip", family, "route", "show", "table", "all", "proto", "113"); strings.TrimSpace(left) != "" {
					t.Errorf("a stop leaves %s", left)
				}
			}
			s.lb[1].start()
			s.waitHops(3)
			o.none(t)
			c.unbroken("after a handover, a stop and a start")
		})
	}
}

// stop ends lvsd on a director, which leaves nothing.
func (d *director) stop() {
	t := d.site.t
	t.Helper()
	d.lvsd.Terminate()
	<-d.lvsd.Done()
	if code := d.lvsd.ExitCode(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, d.lvsd.Tail(20))
	}
	for _, family := range []string{"-4", "-6"} {
		if left := d.MustRun("ip", family, "route", "show", "table", "all", "proto", "113"); strings.TrimSpace(left) != "" {
			t.Errorf("a stop leaves %s", left)
		}
	}
}

// TestAnycastDaemonRestarts: while BIRD restarts on a director the router uses the others. No
// client's connection fails, and none breaks.
func TestAnycastDaemonRestarts(t *testing.T) {
	s := newSite(t, setting{speaker: bird})
	o, c, d := s.outages(), s.connect(30), s.lb[0]
	d.speaker.Kill()
	<-d.speaker.Done()
	s.waitHops(2)
	c.unbroken("after BIRD ended")
	d.startSpeaker()
	t.Logf("the router uses the director again after %v", s.waitHops(3))
	c.unbroken("after BIRD started again")
	o.none(t)
}

// TestAnycastCrash: a killed lvsd leaves its route, and the kernel continues to forward;
// a start adopts it, a cleanup withdraws it; a route that another process removes is
// restored.
func TestAnycastCrash(t *testing.T) {
	s := newSite(t, setting{speaker: bird})
	d := s.lb[0]
	o := s.outages()
	d.lvsd.Kill()
	<-d.lvsd.Done()
	if routes := d.routed(); !strings.Contains(routes, vip) {
		t.Errorf("a crash withdraws: %q", routes)
	}
	d.start()
	d.waitStatus("to serve again", func(st status) bool { return st.Announces[0].Serving })
	if n := s.hops(); n[0] != 3 {
		t.Errorf("%v directors at the router after a crash and a start", n)
	}
	d.MustRun("ip", "route", "del", vip, "table", table)
	d.waitStatus("to restore the route", func(st status) bool {
		return st.Routes.Repairs == 1 && st.Announces[0].Addresses[0].Routed
	})
	s.waitHops(3)
	d.lvsd.Kill()
	<-d.lvsd.Done()
	if out := d.mustRun("cleanup", "--state-dir", s.Path(d.Name+".state")); !strings.Contains(out, "withdrew "+vip) {
		t.Errorf("cleanup: %s", out)
	}
	s.waitHops(2)
	o.none(t)
}

// TestAnycastHealth: a director that alone loses its real servers withdraws, and the router
// follows within a second; when all lose them, at least one announces at any time, in the
// end all do, and all serve again when the servers are back.
func TestAnycastHealth(t *testing.T) {
	s := newSite(t, setting{speaker: bird})
	lonely, route := s.lb[0], s.watchRoute()
	// Its checks' connections are lost, and nothing else: what it forwards has other sources.
	for _, a := range []string{"10.0.0.21", "10.0.0.22"} {
		lonely.MustRun("ip", "route", "add", "prohibit", a, "metric", "1")
	}
	lonely.waitStatus("to withdraw", func(st status) bool {
		return !st.Announces[0].Announced && st.Announces[0].Reason == "quorum"
	})
	s.waitHops(2)
	lost := lonely.events("quorum")
	at := lost[len(lost)-1].At
	two := route.first(2, at)
	t.Logf("the router follows a lost quorum after %v", two.Sub(at))
	if err := s.AtMost("withdrawal for a lost quorum", two.Sub(at), time.Second, at, two); err != nil {
		t.Error(err)
	}
	for _, a := range []string{"10.0.0.21", "10.0.0.22"} {
		lonely.MustRun("ip", "route", "del", "prohibit", a, "metric", "1")
	}
	s.waitHops(3)

	shared := time.Now()
	for _, r := range s.servers {
		r.Refuse()
	}
	for _, d := range s.lb {
		d.waitStatus("to keep its route", func(st status) bool { return st.Announces[0].Kept && st.Announces[0].Metric == 4000 })
	}
	s.waitHops(3)
	for _, r := range s.servers {
		r.Start()
	}
	for _, d := range s.lb {
		d.waitStatus("to serve again", func(st status) bool { return st.Announces[0].Serving })
	}
	s.waitHops(3)
	none, events := s.unannounced(shared)
	gap, from := route.gap()
	t.Logf("no director announced for %v, the router had no route for %v", none, gap)
	if err := s.AtMost("the time without a route", gap, 500*time.Millisecond, from, from.Add(gap)); err != nil {
		t.Error(err)
	}
	if none > 0 || t.Failed() {
		t.Errorf("for %v no director announced:", none)
		for _, e := range events {
			t.Logf("%s %s %s: %s", e.At.Format(time.StampMilli), e.Director, e.To, e.Reason)
		}
	}
	s.outages().none(t)
}

// TestAnycastDaemonGone: a director whose routing daemon ends reports that, and does not
// count as one that serves: when the others lose their servers they keep their routes. It
// serves again when the daemon is back.
func TestAnycastDaemonGone(t *testing.T) {
	s := newSite(t, setting{speaker: bird, watched: true})
	d := s.lb[0]
	d.speaker.Kill()
	<-d.speaker.Done()
	s.waitHops(2)
	d.waitStatus("to report that the daemon is gone", func(st status) bool {
		a := st.Announces[0]
		return a.Announced && !a.Serving && a.RoutingDaemon != nil && !*a.RoutingDaemon &&
			slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "the routing daemon (BIRD or FRR) is not running") })
	})
	if e := d.events("announce"); e[len(e)-1].To != "unheard" {
		t.Errorf("%+v", e)
	}
	if out := d.mustRun("why", "anycast", "--socket", d.socket); !strings.Contains(out, "does not run") {
		t.Errorf("why: %s", out)
	}
	for _, o := range s.lb[1:] {
		for _, a := range []string{"10.0.0.21", "10.0.0.22"} {
			o.MustRun("ip", "route", "add", "prohibit", a, "metric", "1")
		}
	}
	for _, o := range s.lb[1:] {
		o.waitStatus("to keep its route", func(st status) bool { return st.Announces[0].Kept })
	}
	for _, o := range s.lb[1:] {
		for _, a := range []string{"10.0.0.21", "10.0.0.22"} {
			o.MustRun("ip", "route", "del", "prohibit", a, "metric", "1")
		}
	}
	d.startSpeaker()
	s.waitHops(3)
	for _, o := range s.lb {
		o.waitStatus("to serve", func(st status) bool { return st.Announces[0].Serving })
	}
}
