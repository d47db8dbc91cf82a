package anycast

import (
	"slices"
	"strings"
	"testing"

	"lvsd/integration/lvsdtest"
)

// routes are all of lvsd's routes on a director.
func (d *director) routes() string {
	return d.MustRun("ip", "route", "show", "table", "all", "proto", "113")
}

// TestAnycastRoutes: routes that another process removes are restored, a reload makes all
// changes or none, and a cleanup after a crash leaves nothing of lvsd's and all of others'.
func TestAnycastRoutes(t *testing.T) {
	// Without routing daemons: nothing here needs them.
	s := newHosts(t, setting{edit: func(text string) string {
		return lvsdtest.Replace(t, text, "[[announce]]\n", "[[announce]]\nhold_start = \"0s\"\n")
	}})
	d := s.lb[0]
	d.start()
	serves := func(what string, addresses ...string) {
		t.Helper()
		d.waitStatus(what, func(st status) bool {
			a := st.Announces[0]
			ok := a.Serving && len(a.Addresses) == len(addresses)
			for i := 0; ok && i < len(addresses); i++ {
				ok = a.Addresses[i].Address == addresses[i] && a.Addresses[i].Accepted && a.Addresses[i].Routed
			}
			return ok
		})
	}
	serves("to serve", vip)
	before := d.routes()
	for i, in := range []string{table, "local"} {
		d.MustRun("ip", "route", "del", vip, "table", in, "proto", "113")
		d.waitStatus("to restore the route in table "+in, func(st status) bool {
			return st.Routes.Repairs == i+1 && st.Announces[0].Addresses[0].Routed && st.Announces[0].Addresses[0].Accepted
		})
		if now := d.routes(); now != before {
			t.Errorf("restored\n%sbefore\n%s", now, before)
		}
	}

	// A file with another address, metric and weight, while something is in the way.
	text := d.content()
	const second = "192.0.2.81"
	changed := lvsdtest.Replace(t, text, `"`+vip+`"]`, `"`+vip+`", "`+second+"\"]\nmetric = { serving = 200, draining = 5000 }")
	changed = lvsdtest.Replace(t, changed, `"10.0.0.21:80"`, `"10.0.0.21:80", weight = 7`)
	s.WriteFile(d.Name+".toml", changed)
	for _, obstacle := range [][]string{
		{"address", second + "/32", "dev", "eth0"},
		{"route", second, "dev", "eth0", "table", table},
	} {
		change := func(verb string) { d.MustRun(append([]string{"ip", obstacle[0], verb}, obstacle[1:]...)...) }
		change("add")
		if out, err := d.run("reload", "--socket", d.socket); err == nil || !strings.Contains(out, second) {
			t.Errorf("reload with the %s of another process: %v\n%s", obstacle[0], err, out)
		}
		st, err := d.status()
		if err != nil || len(st.Announces[0].Addresses) != 1 || st.weight("10.0.0.21:80") != 1 {
			t.Errorf("a refused reload: %v, %+v", err, st)
		}
		if now := d.routes(); now != before {
			t.Errorf("a refused reload makes of the routes\n%s", now)
		}
		change("del")
	}
	d.mustRun("reload", "--socket", d.socket)
	serves("to serve both addresses", vip, second)
	d.waitStatus("the changed weight", func(st status) bool { return st.weight("10.0.0.21:80") == 7 })
	for _, a := range []string{vip, second} {
		if routes := d.routed(); !strings.Contains(routes, a+" dev lo proto 113 scope link metric 200") {
			t.Errorf("after a reload:\n%s", routes)
		}
	}

	// Another table and the first address only.
	s.WriteFile(d.Name+".toml", lvsdtest.Replace(t, text, "[[announce]]\n", "[[announce]]\ntable = 113\n"))
	d.mustRun("reload", "--socket", d.socket)
	s.WaitUntil(patience, "the route in the other table only", func() bool {
		all := d.routes()
		return strings.Contains(all, vip+" dev lo table 113 scope link metric 100") && !strings.Contains(all, "table "+table) && !strings.Contains(all, second)
	})

	// A route of another process stays, whatever happens.
	foreign := []string{"192.0.2.99", "dev", "eth0", "table", "113"}
	d.MustRun(append([]string{"ip", "route", "add"}, foreign...)...)
	d.waitStatus("to report the route of another process", func(st status) bool {
		return slices.ContainsFunc(st.Problems, func(p string) bool {
			return strings.Contains(p, "another process has 1 route") && strings.Contains(p, foreign[0])
		})
	})
	d.lvsd.Kill()
	<-d.lvsd.Done()
	d.mustRun("cleanup", "--state-dir", s.Path(d.Name+".state"))
	if left := strings.TrimSpace(d.routes()); left != "" {
		t.Errorf("a cleanup leaves %s", left)
	}
	d.start()
	serves("to serve after a crash and a cleanup", vip)
	d.stop()
	if left := d.MustRun("ip", "route", "show", "table", "113"); !strings.Contains(left, foreign[0]) {
		t.Errorf("the route of another process is gone: %q", left)
	}
}
