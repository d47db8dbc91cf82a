package anycast

import (
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
)

// outage measures a client that connects all the time. A connection that waits for a busy
// machine is no failure.
func (s *site) outage() *lab.Outage {
	s.t.Helper()
	o := lab.StartOutage(s.client, vipPort, lab.OutageConfig{Ask: lab.AskLine, Every: 20 * time.Millisecond, Timeout: 5 * time.Second, For: 5 * time.Minute})
	o.WaitSuccesses(20, patience)
	return o
}

// TestAnycastPlanned: a handover, its end, a stop and a start. The router follows, and no
// client's connection fails.
func TestAnycastPlanned(t *testing.T) {
	for _, speak := range speakers {
		t.Run(speak.name, func(t *testing.T) {
			s := newSite(t, speak)
			for _, d := range s.lb {
				d.waitStatus("to know both others", func(st status) bool { return len(st.Announces[0].Directors) == 2 && st.Announces[0].Serving })
			}
			o := s.outage()
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
			if left := s.lb[1].MustRun("ip", "route", "show", "table", "all", "proto", "113"); strings.TrimSpace(left) != "" {
				t.Errorf("a stop leaves %s", left)
			}
			s.lb[1].start()
			s.waitHops(3)
			o.WaitSuccesses(50, patience)
			if r := o.Stop(); r.Failed > 0 {
				t.Errorf("%s", r)
			}
		})
	}
}

// TestAnycastCrash: a killed lvsd leaves its route, and the kernel goes on forwarding; a
// start goes on with it, a cleanup withdraws it; a route that another process removes is
// restored.
func TestAnycastCrash(t *testing.T) {
	s := newSite(t, speakers[0])
	d := s.lb[0]
	o := s.outage()
	d.lvsd.Kill()
	<-d.lvsd.Done()
	if routes := d.routed(); !strings.Contains(routes, vip) {
		t.Errorf("a crash withdraws: %q", routes)
	}
	d.start()
	d.waitStatus("to serve again", func(st status) bool { return st.Announces[0].Serving })
	if n := s.hops(); n != 3 {
		t.Errorf("%d directors at the router after a crash and a start", n)
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
	o.WaitSuccesses(50, patience)
	if r := o.Stop(); r.Failed > 0 {
		t.Errorf("%s", r)
	}
}

// TestAnycastHealth: a director that alone loses its real servers withdraws; when all lose
// them none does, and all serve again when the servers are back.
func TestAnycastHealth(t *testing.T) {
	s := newSite(t, speakers[0])
	lonely := s.lb[0]
	// Its checks' connections are lost, and nothing else: what it forwards has other sources.
	for _, a := range []string{"10.0.0.21", "10.0.0.22"} {
		lonely.MustRun("ip", "route", "add", "prohibit", a, "metric", "1")
	}
	lonely.waitStatus("to withdraw", func(st status) bool {
		return !st.Announces[0].Announced && st.Announces[0].Reason == "quorum"
	})
	s.waitHops(2)
	for _, a := range []string{"10.0.0.21", "10.0.0.22"} {
		lonely.MustRun("ip", "route", "del", "prohibit", a, "metric", "1")
	}
	s.waitHops(3)

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
	o := s.outage()
	if r := o.Stop(); r.Failed > 0 {
		t.Errorf("%s", r)
	}
}
