package anycast

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// edit runs a command that edits the files of all directors, on this one.
func (d *director) edit(args ...string) string {
	d.site.t.Helper()
	return d.mustRun(append(args, "--peers", "-c", d.config, "--director", d.Name, "--socket", d.socket)...)
}

// content is a director's file.
func (d *director) content() string {
	d.site.t.Helper()
	text, err := os.ReadFile(d.config)
	if err != nil {
		d.site.t.Fatal(err)
	}
	return string(text)
}

// weight returns the kernel's weight of a real server on a director; -1: it has none.
func (s status) weight(address string) int {
	for _, svc := range s.Services {
		for _, r := range svc.RealServers {
			if r.Address == address && r.Weight != nil {
				return *r.Weight
			}
		}
	}
	return -1
}

// TestAnycastOperate: status, drain, drained, undrain, weight and handover with three
// directors.
func TestAnycastOperate(t *testing.T) {
	s := newSite(t, setting{speaker: bird, edit: func(text string) string {
		return lvsdtest.Replace(t, text, "[peers]\n", "[peers]\nedits = true\n")
	}})
	one, two, three := s.lb[0], s.lb[1], s.lb[2]
	before := one.content()
	for i, d := range s.lb {
		out, err := d.run("status", "--socket", d.socket)
		if i == 0 {
			t.Logf("lvsd status:\n%s", out)
		}
		for _, other := range s.lb {
			if err != nil || !strings.Contains(out, other.Name) {
				t.Errorf("status of %s: %v\n%s", d.Name, err, out)
			}
		}
	}

	talk, err := lab.TryConverse(s.client, net.JoinHostPort(vip, "80"), patience)
	if err != nil {
		t.Fatal(err)
	}
	// mh sends all connections of one client to one server.
	real := map[string]string{"rs1": "10.0.0.21:80", "rs2": "10.0.0.22:80"}[talk.Server]
	t.Log(one.edit("drain", "web", real))
	for _, d := range s.lb {
		d.waitStatus("to drain", func(st status) bool { return st.weight(real) == 0 })
		if d.content() != one.content() || d.content() == before {
			t.Errorf("the file of %s is\n%s", d.Name, d.content())
		}
	}
	wait := two.Start(lvsdtest.Binary(t), "drained", "web", real, "--socket", two.socket, "--timeout", "5m")
	if _, err := wait.WaitOutput(patience, "has 1 active connection"); err != nil {
		t.Errorf("%v:\n%s", err, wait.Output())
	}
	if err := talk.Say(patience); err != nil {
		t.Errorf("the connection of the drained server: %v", err)
	}
	talk.Close()
	if _, err := wait.WaitOutput(patience, "drained after"); err != nil {
		t.Errorf("%v:\n%s", err, wait.Output())
	}
	one.edit("undrain", "web", real)
	for _, d := range s.lb {
		d.waitStatus("to have the server again", func(st status) bool { return st.weight(real) == 1 })
		if d.content() != before {
			t.Errorf("the file of %s is\n%s", d.Name, d.content())
		}
	}

	// The third has another file: it is named, and not changed.
	other := before + "\n# another\n"
	if err := os.WriteFile(three.config, []byte(other), 0o644); err != nil {
		t.Fatal(err)
	}
	three.mustRun("reload", "--socket", three.socket)
	out, _ := one.run("weight", "web", real, "2", "--peers", "-c", one.config, "--director", one.Name, "--socket", one.socket)
	if !strings.Contains(out, "lb3: its file is a different configuration, ") || three.content() != other {
		t.Errorf("lvsd weight:\n%s\nthe file of lb3:\n%s", out, three.content())
	}
	for d, want := range map[*director]int{one: 2, two: 2, three: 1} {
		d.waitStatus("its weight", func(st status) bool { return st.weight(real) == want })
	}
	two.waitStatus("to see that lb3 has another file", func(st status) bool {
		return slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, "director lb3 runs another configuration") })
	})

	// Two of three may go on standby, the last one not.
	for n, d := range s.lb[:2] {
		d.mustRun("handover", "--socket", d.socket)
		s.waitHops(2 - n)
	}
	three.waitStatus("to see the others on standby", func(st status) bool { return len(st.Announces[0].Directors) == 0 })
	if out, err := three.run("handover", "--socket", three.socket); err == nil || !strings.Contains(out, "no other director serves it") {
		t.Errorf("handover of the last: %v\n%s", err, out)
	}
	if n := s.hops(); n[0] != 1 {
		t.Errorf("%d directors at the router", n[0])
	}
	// A restart, as of an upgrade, does not end it.
	one.stop()
	one.start()
	one.waitStatus("its standby after a restart", func(st status) bool {
		return st.weight(real) > 0 && !st.Announces[0].Announced && st.Announces[0].Reason == "standby"
	})
	if n := s.hops(); n[0] != 1 {
		t.Errorf("%d directors at the router after a restart on standby", n[0])
	}
	for _, d := range s.lb[:2] {
		d.mustRun("handover", "--end", "--socket", d.socket)
	}
	s.waitHops(3)
}

// TestAnycastProbeShare: with probe_share each real server is probed by one director, and
// rarely by the others; one that fails is taken out by all; when the director that probes
// it dies, another one does; and a server that only one director cannot reach is taken out
// by that one.
func TestAnycastProbeShare(t *testing.T) {
	const servers, interval = 6, 500 * time.Millisecond
	// Without routing daemons: nothing here needs them.
	s := newHosts(t, setting{servers: servers, edit: func(text string) string {
		return lvsdtest.Replace(t, text, "[peers]\n", "[peers]\nprobe_share = true\n")
	}})
	for _, d := range s.lb {
		d.start()
	}
	address := func(i int) string { return net.JoinHostPort(s.servers[i].Addr().String(), "80") }
	// prober returns the only director that probes a server; nil: none, or several.
	prober := func(all []*director, i int) (by *director) {
		n := 0
		for _, d := range all {
			st, err := d.status()
			if err != nil {
				return nil
			}
			for _, r := range st.Services[0].RealServers {
				if r.Address == address(i) && r.ProbedBy == "" {
					by, n = d, n+1
				}
			}
		}
		if n != 1 {
			return nil
		}
		return by
	}
	shared := func(all []*director) {
		t.Helper()
		s.WaitUntil(patience, "each server to be probed by one director", func() bool {
			for i := range servers {
				if prober(all, i) == nil {
					return false
				}
			}
			return true
		})
	}
	shared(s.lb)
	accepted := func() (n int) {
		for _, r := range s.servers {
			n += r.Accepted()
		}
		return n
	}
	began, before := time.Now(), accepted()
	s.WaitUntil(patience, "some rounds of probes", func() bool { return accepted() >= before+servers*20 })
	took := time.Since(began)
	all := float64(3*servers) * took.Seconds() / interval.Seconds() // without sharing
	t.Logf("%d probes in %v, %.0f without sharing", accepted()-before, took, all)
	if n := float64(accepted() - before); n > all/2 {
		t.Errorf("%.0f probes in %v, want at most half of %.0f", n, took, all)
	}

	s.servers[0].Refuse()
	for _, d := range s.lb {
		d.waitStatus("to take a server out", func(st status) bool { return st.weight(address(0)) == 0 })
	}
	s.servers[0].Start()
	for _, d := range s.lb {
		d.waitStatus("to have it again", func(st status) bool { return st.weight(address(0)) == 1 })
	}
	shared(s.lb)

	dead := prober(s.lb, 0)
	rest := slices.DeleteFunc(slices.Clone(s.lb), func(d *director) bool { return d == dead })
	out := rest[0].mustRun("why", "web", address(0), "--socket", rest[0].socket)
	if !strings.Contains(out, "probed by director "+dead.Name) {
		t.Errorf("why:\n%s", out)
	}
	dead.CutCable()
	s.servers[0].Refuse()
	for _, d := range rest {
		d.waitStatus("to take a server out though its prober is dead", func(st status) bool { return st.weight(address(0)) == 0 })
	}
	s.servers[0].Start()
	shared(rest)
	dead.PlugCable()
	shared(s.lb)

	by := prober(s.lb, 1)
	blind := s.lb[(slices.Index(s.lb, by)+1)%3]
	blind.MustRun("ip", "route", "add", "prohibit", s.servers[1].Addr().String(), "metric", "1")
	blind.waitStatus("to take out what it alone does not reach", func(st status) bool { return st.weight(address(1)) == 0 })
	if st, err := by.status(); err != nil || st.weight(address(1)) != 1 {
		t.Errorf("the director that probes it: %v, weight %d", err, st.weight(address(1)))
	}
}
