package checks_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// Services as a whole: fallback, panic mode, slow start, flap damping, agents, guard.

// httpCheck is an HTTP check with the times of lvsdtest.QuickCheck.
const httpCheck = `{ type = "http", path = "/healthz", interval = "100ms", timeout = "2s", rise = 1, fall = 3 }`

// httpPair returns one running director with HTTP servers, and keys in its service.
func httpPair(t *testing.T, servers, weight int, keys string) (*lvsdtest.Pair, *lvsdtest.Director, []*lab.Server) {
	t.Helper()
	p := lvsdtest.NewPair(t, servers)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	var all []*lab.Server
	weights := make([]int, servers)
	for i, r := range p.Real {
		all = append(all, lab.ServeHTTP(r, ":80", r.Name))
		weights[i] = weight
	}
	p.Services = lvsdtest.Replace(t, p.WebService(httpCheck, weights...), "scheduler =", keys+"\nscheduler =") + guardKeys // the guard ignores servers that fail while its witness responds
	lb := p.LB[0]
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	return p, lb, all
}

// waitEvent waits for an event of a kind with a new state.
func waitEvent(d *lvsdtest.Director, kind, to string) {
	d.Pair.T.Helper()
	d.Pair.WaitUntil(30*time.Second, kind+" "+to+" in the history", func() bool {
		text, err := d.GetAPI("/api/v1/events")
		return err == nil && func() bool {
			for part := range strings.SplitSeq(text, "},{") {
				if strings.Contains(part, `"kind":"`+kind+`"`) && strings.Contains(part, `"to":"`+to+`"`) {
					return true
				}
			}
			return false
		}()
	})
}

// TestFallbackServesWhenAllServersFail: each server returns 503; the fallback, a page of the
// director, is served until they recover.
func TestFallbackServesWhenAllServersFail(t *testing.T) {
	p, lb, servers := httpPair(t, 2, 1, `fallback = "127.0.0.1:80"`)
	lb.WaitWeights(30*time.Second, 1, 1)
	lab.ServeHTTP(lb.Host, ":80", "sorry")
	active := func() string { return lb.Metric(`lvsd_virtual_service_fallback_active{service="web"}`) }
	from := func(who string) bool {
		status, body, err := p.Client.Get("http://" + lvsdtest.VIPPort + "/")
		return err == nil && status == 200 && strings.Contains(body, who)
	}
	if active() != "0" || !from("rs") {
		t.Fatal("the service does not work at first")
	}
	for _, s := range servers {
		s.SetHealthy(false)
	}
	lb.WaitWeight("127.0.0.1:80", 1, 30*time.Second)
	lb.WaitWeights(30*time.Second, 0, 0)
	if !from("sorry") {
		t.Errorf("a client does not get the fallback:\n%s", lb.IPVSTable())
	}
	p.WaitUntil(30*time.Second, "the metric", func() bool { return active() == "1" }) // a series may be a second old
	lb.WaitProblem("fallback 127.0.0.1:80 is serving", true)
	waitEvent(lb, "fallback", "on")
	if out, _ := lb.LVSD("status", "--socket", lb.Socket); !lvsdtest.ContainsAll(out, "DOWN, FALLBACK", "127.0.0.1:80") {
		t.Errorf("status:\n%s", out)
	}

	servers[0].SetHealthy(true)
	lb.WaitWeights(30*time.Second, 1, 0)
	lb.WaitWeight("127.0.0.1:80", -1, 30*time.Second)
	if !from("rs1") {
		t.Error("the fallback remains after the servers recovered")
	}
	p.WaitUntil(30*time.Second, "the metric", func() bool { return active() == "0" })
	waitEvent(lb, "fallback", "off")
}

// TestPanicModeIgnoresHealth: with fewer than half of the servers healthy all get clients
// again, except for a drained one.
func TestPanicModeIgnoresHealth(t *testing.T) {
	p, lb, servers := httpPair(t, 4, 3, "panic_threshold = 50")
	p.Services = lvsdtest.Replace(t, p.Services, `10.77.0.24:80", weight = 3`, `10.77.0.24:80", weight = 0`)
	p.WriteConfig()
	lb.WaitWeights(30*time.Second, 3, 3, 3)
	lb.MustReload()
	panics := func(want string) {
		t.Helper()
		p.WaitUntil(30*time.Second, "panic "+want, func() bool { return lb.Metric(`lvsd_virtual_service_panic{service="web"}`) == want })
	}
	servers[0].SetHealthy(false)
	lb.WaitWeights(30*time.Second, 0, 3, 3, 0)
	panics("0")
	servers[1].SetHealthy(false)
	servers[3].SetHealthy(false)
	waitEvent(lb, "panic", "on")
	panics("1")
	lb.WaitWeights(30*time.Second, 3, 3, 3, 0)
	lb.WaitProblem("panic mode: 1 of 3 real servers are healthy", true)
	s, err := lb.Status()
	if rs := s.Services[0].RealServers[0]; err != nil || rs.Health != "down" || !strings.Contains(rs.Why, "panic mode: treated as up") {
		t.Errorf("%+v, %v", rs, err)
	}
	servers[1].SetHealthy(true)
	lb.WaitWeights(30*time.Second, 0, 3, 3, 0)
	panics("0")
	lb.WaitProblem("panic", false)
}

// TestSlowStartRamp: the weight in the kernel rises gradually after a server recovered.
func TestSlowStartRamp(t *testing.T) {
	_, lb, servers := httpPair(t, 2, 100, `slow_start = "6s"`)
	rs := lb.Pair.Real[0].Addr().String() + ":80"
	lb.WaitWeights(20*time.Second, 100, 100) // both are new in the table
	servers[0].SetHealthy(false)
	lb.WaitWeights(30*time.Second, 0, 100)
	servers[0].SetHealthy(true)
	var seen []int
	lb.Pair.WaitUntil(30*time.Second, "weight 100", func() bool {
		w := lb.ProcWeight(rs)
		if len(seen) == 0 || seen[len(seen)-1] != w {
			seen = append(seen, w)
		}
		if w > 0 && w < 50 && len(seen) < 6 {
			if s, err := lb.Status(); err == nil && s.Services[0].RealServers[0].Health == "up" &&
				!strings.Contains(s.Services[0].RealServers[0].Why, "slow start") && lb.ProcWeight(rs) < 100 {
				t.Errorf("why: %s", s.Services[0].RealServers[0].Why)
			}
		}
		return w == 100
	})
	t.Logf("FIGURE weights of a 6 s ramp in the kernel: %v", seen)
	for i := 1; i < len(seen); i++ {
		if seen[i] < seen[i-1] {
			t.Errorf("a ramp decreases: %v", seen)
		}
	}
	if len(seen) < 5 || len(seen) > 22 {
		t.Errorf("a ramp of %d weights: %v", len(seen), seen)
	}

	// A restart of the daemon starts no ramp.
	lb.KillDaemon()
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	lb.Pair.WaitUntil(30*time.Second, "health of the server", func() bool {
		s, err := lb.Status()
		return err == nil && len(s.Services) == 1 && s.Services[0].RealServers[0].Health == "up"
	})
	if w := lb.ProcWeight(rs); w != 100 {
		t.Errorf("weight after a restart: %d", w)
	}
}

// TestFlapDampingHoldsDown: after its second failure a server is held down for 30 s after
// its checks succeed again; the other server is not affected.
func TestFlapDampingHoldsDown(t *testing.T) {
	_, lb, servers := httpPair(t, 2, 1, "flap_damping = true")
	lb.WaitWeights(30*time.Second, 1, 1)
	rs := func() (health, why string) {
		s, err := lb.Status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Services[0].RealServers[0].Health, s.Services[0].RealServers[0].Why
	}
	waitHealth := func(want string) {
		t.Helper()
		lb.Pair.WaitUntil(30*time.Second, "health "+want, func() bool { v, _ := rs(); return v == want })
	}
	servers[0].SetHealthy(false)
	lb.WaitWeights(30*time.Second, 0, 1)
	servers[0].SetHealthy(true)
	lb.WaitWeights(30*time.Second, 1, 1)
	servers[0].SetHealthy(false)
	lb.WaitWeights(30*time.Second, 0, 1)
	servers[0].SetHealthy(true)
	waitHealth("up")
	back := time.Now()
	if _, why := rs(); lb.ProcWeight(lb.Pair.Real[0].Addr().String()+":80") != 0 || !lvsdtest.ContainsAll(why, "2 recent failures", "30s") {
		t.Errorf("why: %s\n%s", why, lb.IPVSTable())
	}
	lb.WaitWeights(60*time.Second, 1, 1)
	if took := time.Since(back); took < 25*time.Second {
		t.Errorf("held down for %v", took)
	} else {
		t.Logf("FIGURE held down for %v after it recovered", took)
	}
}

// agent sends one line to each client, like the agents of HAProxy, until the test ends.
func agent(t *testing.T, h *lab.Host) *atomic.Pointer[string] {
	t.Helper()
	ln, err := h.Listen("tcp", ":9000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	line := new(atomic.Pointer[string])
	ready := "ready up 100%"
	line.Store(&ready)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, *line.Load())
			conn.Close()
		}
	}()
	return line
}

// TestAgentsWeights: an agent's report changes the weight in the kernel, but not the
// health of the server.
func TestAgentsWeights(t *testing.T) {
	p := lvsdtest.NewPair(t, 2)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	for _, r := range p.Real {
		lab.ServeHTTP(r, ":80", r.Name)
	}
	says := agent(t, p.Real[0])
	agent(t, p.Real[1])
	checks := `[` + httpCheck + `, { type = "agent", port = 9000, interval = "100ms", timeout = "2s", rise = 1, fall = 3 }]`
	p.Services = p.WebService(checks, 10, 10)
	lb := p.LB[0]
	lb.StartDaemon()
	lb.WaitState("master", 15*time.Second)
	lb.WaitWeights(30*time.Second, 10, 10)
	first := `{real_server="` + p.Real[0].Addr().String() + `:80",service="web"}`
	for _, c := range []struct {
		line     string
		want     int
		draining string
		why      string
	}{
		{"50% # busy", 5, "0", "reported by the server: 50 %"},
		{"drain", 0, "1", "reported by the server: drain"},
		{"ready 100%", 10, "0", ""},
		{"maint", 0, "1", "reported by the server: maint"},
		{"ready", 10, "0", ""},
	} {
		says.Store(&c.line)
		lb.WaitWeights(30*time.Second, c.want, 10)
		s, err := lb.Status()
		if err != nil || !strings.Contains(s.Services[0].RealServers[0].Why, c.why) || s.Services[0].RealServers[0].Health != "up" {
			t.Errorf("%s: %+v, %v", c.line, s.Services[0].RealServers[0], err)
		}
		p.WaitUntil(30*time.Second, c.line+": the metrics of a drain", func() bool { // a series may be a second old
			return lb.Metric("lvsd_real_server_draining"+first) == c.draining &&
				(lb.Metric("lvsd_real_server_drain_start_timestamp_seconds"+first) != "absent") == (c.draining == "1")
		})
	}
}

// guardKeys configures the guard with the client's host as its witness.
const guardKeys = `
[guard]
witnesses = ["10.77.0.2"]
share = 80
`

// TestGuardFreezesWhenTheUplinkIsGone: the director reaches servers and witness through
// eth0, peer and clients through eth1. Without eth0 neither a server nor the witness
// responds: the weights are frozen until the link is back. A failure of the servers alone
// does not activate the guard.
func TestGuardFreezesWhenTheUplinkIsGone(t *testing.T) {
	p := lvsdtest.NewPair(t, 3)
	p.PrepareDR()
	p.AdvertInterval = "1s"
	front := p.LAN("front", "10.78.0.0/24")
	lb := p.LB[0]
	lb.Plug(front, "10.78.0.11/24")
	for _, r := range p.Real {
		lab.ServeHTTP(r, ":80", r.Name)
	}
	p.Services = p.WebService(httpCheck, 5, 5, 5) + guardKeys
	p.EditConfig(`interface = "eth0"`, `interface = "eth1"`)
	lb.StartDaemon()
	lb.WaitWeights(15*time.Second, 5, 5, 5)
	p.WaitUntil(30*time.Second, "a witness that responds", func() bool {
		text, err := lb.GetAPI("/api/v1/status")
		return err == nil && strings.Contains(text, `"address":"10.77.0.2","answers":true`)
	})
	frozenUntil := func(limit time.Duration, what string, until func() bool) {
		t.Helper()
		p.WaitUntil(limit, what, func() bool {
			for _, r := range p.Real {
				if w := lb.ProcWeight(r.Addr().String() + ":80"); w != 5 {
					t.Fatalf("weight %d of %s, waiting for: %s\n%s", w, r.Name, what, lb.Process.Tail(30))
				}
			}
			return until()
		})
	}
	health := func(want string) func() bool {
		return func() bool {
			s, err := lb.Status()
			if err != nil {
				return false
			}
			for _, rs := range s.Services[0].RealServers {
				if rs.Health != want {
					return false
				}
			}
			return true
		}
	}
	if lb.Metric("lvsd_guard_active") != "0" {
		t.Error("the guard is active at first")
	}

	for _, fault := range []struct {
		name        string
		begin, over func()
	}{
		{"every frame is lost", lb.Silence, lb.Unsilence},
		{"the cable is out", lb.CutCable, lb.PlugCable},
	} {
		fault.begin()
		frozenUntil(30*time.Second, fault.name+": a frozen guard", func() bool { return lb.Metric("lvsd_guard_active") == "1" })
		frozenUntil(30*time.Second, fault.name+": all servers down", health("down"))
		lb.WaitProblem("guard: health is frozen", true)
		waitEvent(lb, "guard", "frozen")
		if s, err := lb.Status(); err != nil || !strings.Contains(s.Services[0].RealServers[0].Why, "guard froze health") || !s.Services[0].Up {
			t.Errorf("%s: %+v, %v", fault.name, s.Services, err)
		}
		if out, _ := lb.LVSD("status", "--socket", lb.Socket); !lvsdtest.ContainsAll(out, "GUARD frozen", "witness 10.77.0.2: DOES NOT REPLY") {
			t.Errorf("%s: status:\n%s", fault.name, out)
		}
		fault.over()
		frozenUntil(30*time.Second, fault.name+": the guard to end", func() bool { return lb.Metric("lvsd_guard_active") == "0" })
		frozenUntil(30*time.Second, fault.name+": all servers up", health("up"))
		lb.WaitProblem("guard", false)
	}

	// The servers fail, the witness does not.
	for _, r := range p.Real {
		r.Silence()
	}
	lb.WaitWeights(30*time.Second, 0, 0, 0)
	waitEvent(lb, "guard", "thawing") // the last event of the guard
	text, err := lb.GetAPI("/api/v1/events")
	if n := strings.Count(text, `"to":"frozen"`); err != nil || n != 2 {
		t.Errorf("frozen %d times, %v", n, err)
	}
}
