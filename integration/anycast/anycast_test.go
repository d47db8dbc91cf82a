package anycast

import (
	"net"
	"path/filepath"
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
		o := lab.StartOutage(s.client, net.JoinHostPort(v, "80"), lab.OutageConfig{Ask: lab.AskLine, Every: 50 * time.Millisecond, Timeout: 5 * time.Second, For: 5 * time.Minute})
		o.WaitSuccesses(20, patience)
		all = append(all, o)
	}
	return all
}

// none ends the measurement and requires that nothing failed.
func (all outages) none(t *testing.T) {
	t.Helper()
	for _, o := range all {
		o.WaitSuccesses(20, patience)
		r := o.Stop()
		t.Logf("%s", r)
		if r.Failed > 0 {
			t.Errorf("connections failed: %s", r)
		}
	}
}

// TestAnycastPlanned: the rolling upgrade of the guide, a handover, a stop, a start and the
// end of the handover, on one director after the other; then a stop without a handover. The
// router follows, no client's connection fails, and none breaks.
func TestAnycastPlanned(t *testing.T) {
	for _, how := range []setting{
		{name: "bird-dr", speaker: bird, six: true, rolling: 2},
		{name: "bird-tun", speaker: bird, six: true, tun: true, rolling: 1},
		{name: "frr", speaker: frr, rolling: 1},
	} {
		t.Run(how.name, func(t *testing.T) { rollingUpgrade(t, how) })
	}
}

func rollingUpgrade(t *testing.T, how setting) {
	s := newSite(t, how)
	if how.speaker.name == "frr" {
		s.waitBFD()
	}
	o, c := s.outages(), s.connect(30)
	for _, d := range s.lb[len(s.lb)-how.rolling:] {
		if out := d.mustRun("handover", "--socket", d.socket); !strings.Contains(out, "anycast: withdrawn after") {
			t.Errorf("handover: %s", out)
		}
		if routes := d.routed(); strings.Contains(routes, vip) {
			t.Errorf("after the handover: %s", routes)
		}
		t.Logf("the router follows a handover after %v", s.waitHops(2))
		d.stop()
		d.start()
		d.mustRun("handover", "--end", "--socket", d.socket)
		s.waitHops(3)
	}
	s.lb[1].lvsd.Terminate()
	s.waitHops(2)
	s.lb[1].stop()
	s.lb[1].start()
	s.waitHops(3)
	o.none(t)
	c.unbroken("after a handover, a stop and a start")
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

// TestAnycastFaults: faults of one director and of all, one after the other at one site,
// whose start takes as long as most of them.
func TestAnycastFaults(t *testing.T) { faults(t, bird) }

// TestAnycastConnectionsFRR is TestAnycastFaults with FRR. `make test-oncall` runs it.
func TestAnycastConnectionsFRR(t *testing.T) { faults(t, frr) }

func faults(t *testing.T, with speaker) {
	s := newSite(t, setting{speaker: with, watched: true, edit: func(text string) string {
		return text + "\n[guard]\nwitnesses = [\"" + witness + "\"]\n"
	}})
	s.waitMEDs("100", "100", "100")
	route := s.watchRoute()
	for _, fault := range []struct {
		name  string
		check func(*testing.T, *site, *routeWatch)
	}{
		{"one director loses its servers", oneLosesItsServers},
		{"all directors lose them", allLoseTheirServers},
		{"one director is isolated, then all", isolated},
		{"the routing daemon ends on a director", daemonEnds},
		{"zebra ends on a director", zebraEnds},
		{"lvsd is killed", lvsdIsKilled},
	} {
		t.Log(fault.name)
		fault.check(t, s, route)
	}
}

// witness is whom the guard against mass failure asks: the client.
const witness = "198.51.100.2"

// block loses the connections of a director's checks.
func (d *director) block() { d.site.t.Helper(); d.blocked("add", "prohibit") }

func (d *director) unblock() { d.site.t.Helper(); d.blocked("del", "prohibit") }

// blocked adds or deletes routes of a kind to the servers, and to others.
func (d *director) blocked(verb, kind string, others ...string) {
	d.site.t.Helper()
	for _, r := range d.site.servers {
		others = append(others, r.Addr().String())
	}
	for _, to := range others {
		d.MustRun("ip", "route", verb, kind, to, "metric", "1")
	}
}

// oneLosesItsServers: a director that alone loses its real servers withdraws, and the router
// follows within a second.
func oneLosesItsServers(t *testing.T, s *site, route *routeWatch) {
	d := s.lb[0]
	d.block()
	d.waitStatus("to withdraw", func(st status) bool {
		return !st.Announces[0].Announced && st.Announces[0].Reason == "quorum"
	})
	s.waitHops(2)
	s.followed(t, route, d, "quorum")
	d.unblock()
	s.waitHops(3)
}

// followed requires that the router uses two directors within a second of the last event of a
// kind on one.
func (s *site) followed(t *testing.T, route *routeWatch, d *director, kind string) {
	t.Helper()
	all := d.events(kind)
	if len(all) == 0 {
		t.Fatalf("no event of kind %s", kind)
	}
	at := all[len(all)-1].At
	two := route.first(2, at)
	t.Logf("the router follows an event of kind %s after %v", kind, two.Sub(at))
	if err := s.AtMost("withdrawal after an event of kind "+kind, two.Sub(at), time.Second, at, two); err != nil || two.IsZero() {
		t.Error(err, two)
	}
}

// allLoseTheirServers: at no time no director announces, in the end all do, with the metric of
// draining ones, which the router gets; and all serve again when the servers are back.
func allLoseTheirServers(t *testing.T, s *site, route *routeWatch) {
	shared := time.Now()
	for _, r := range s.servers {
		r.Refuse()
	}
	for _, d := range s.lb {
		d.waitStatus("to keep its route", func(st status) bool { return st.Announces[0].Kept && st.Announces[0].Metric == 4000 })
	}
	s.waitHops(3)
	s.waitMEDs("4000", "4000", "4000")
	for _, r := range s.servers {
		r.Start()
	}
	for _, d := range s.lb {
		d.waitStatus("to serve again", func(st status) bool { return st.Announces[0].Serving })
	}
	s.waitHops(3)
	s.waitMEDs("100", "100", "100")
	s.neverNone(t, route, shared)
}

// isolated: the guard against mass failure finds a director isolated that reaches neither its
// servers nor its witness: it withdraws, and the router follows within a second. When all are,
// none withdraws for good, and at no time all do.
func isolated(t *testing.T, s *site, route *routeWatch) {
	d := s.lb[0]
	d.blocked("add", "unreachable", witness)
	d.waitStatus("to withdraw", func(st status) bool {
		return !st.Announces[0].Announced && st.Announces[0].Reason == "guard"
	})
	s.waitHops(2)
	s.followed(t, route, d, "guard")
	d.blocked("del", "unreachable", witness)
	s.waitHops(3)
	shared := time.Now()
	for _, d := range s.lb {
		d.blocked("add", "unreachable", witness)
	}
	for _, d := range s.lb {
		d.waitStatus("to keep its route", func(st status) bool { return st.Announces[0].Kept && st.Announces[0].Reason == "guard" })
	}
	s.waitHops(3)
	for _, d := range s.lb {
		d.blocked("del", "unreachable", witness)
	}
	for _, d := range s.lb {
		d.waitStatus("to serve again", func(st status) bool { return st.Announces[0].Serving })
	}
	s.waitHops(3)
	s.neverNone(t, route, shared)
}

// neverNone requires that at any time since a cause that all directors share one announced, by
// their events and at the router.
func (s *site) neverNone(t *testing.T, route *routeWatch, shared time.Time) {
	t.Helper()
	none, events := s.unannounced(shared)
	gap, from := route.gap(shared)
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
}

// daemonEnds: while BIRD or FRR's bgpd is gone on a director the router uses the others: no client's
// connection fails, and none breaks. The director reports it, and does not count as one that
// serves: when the others lose their servers they keep their routes. It serves again when
// it is back.
func daemonEnds(t *testing.T, s *site, _ *routeWatch) {
	o, c, d := s.outages(), s.connect(30), s.lb[0]
	d.speaker.Kill()
	<-d.speaker.Done()
	s.waitHops(2)
	c.unbroken("after the daemon ended")
	o.none(t)
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
	for _, other := range s.lb[1:] {
		other.block()
	}
	for _, other := range s.lb[1:] {
		other.waitStatus("to keep its route", func(st status) bool { return st.Announces[0].Kept })
	}
	for _, other := range s.lb[1:] {
		other.unblock()
	}
	for _, other := range s.lb[1:] {
		other.waitStatus("to serve", func(st status) bool { return st.Announces[0].Serving })
	}
	o = s.outages()
	d.startSpeaker()
	t.Logf("the router uses the director again after %v", s.waitHops(3))
	c.unbroken("after the daemon started again")
	o.none(t)
	d.waitStatus("to serve", func(st status) bool { return st.Announces[0].Serving })
}

// zebraEnds: a director whose bgpd runs without zebra does not count as one that serves, since
// no router would learn of a withdrawal. It serves again when both were restarted.
func zebraEnds(t *testing.T, s *site, _ *routeWatch) {
	d := s.lb[0]
	if s.setting.speaker.name != "frr" {
		return
	}
	d.MustRun("sh", "-c", "kill -9 $(cat "+filepath.Join(s.vtyDir(d.Host), "zebra.pid")+")")
	d.waitStatus("to report that zebra is gone", func(st status) bool {
		a := st.Announces[0]
		return a.Announced && !a.Serving && a.RoutingDaemon != nil && !*a.RoutingDaemon
	})
	d.speaker.Kill()
	<-d.speaker.Done()
	s.waitHops(2)
	d.startSpeaker()
	s.waitHops(3)
	d.waitStatus("to serve", func(st status) bool { return st.Announces[0].Serving })
}

// lvsdIsKilled: its route stays, and the kernel continues to forward; a start adopts it, a cleanup
// withdraws it; a route that another process removes is restored.
func lvsdIsKilled(t *testing.T, s *site, _ *routeWatch) {
	d, o := s.lb[0], s.outages()
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
