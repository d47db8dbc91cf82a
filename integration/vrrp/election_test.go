package vrrp_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"lvsd/integration/lab"
	"lvsd/integration/lvsdtest"
)

// onlyHolder checks that the VIP is on exactly this director.
func onlyHolder(p *lvsdtest.Pair, d *lvsdtest.Director) {
	p.T.Helper()
	if got := p.Holders(); !slices.Equal(got, []string{d.Name}) {
		p.T.Errorf("the VIP is on %v, want it on %s alone", got, d.Name)
	}
}

func TestElectionAndBalancing(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 3, nil)
	onlyHolder(p, p.LB[0])
	seen := map[string]int{}
	for range 30 {
		c := lab.Converse(p.Client, lvsdtest.VIPPort)
		seen[c.Server]++
		c.Close()
	}
	if seen["rs1"] != 10 || seen["rs2"] != 10 || seen["rs3"] != 10 {
		t.Errorf("30 connections by rr over three servers: %v", seen)
	}
	s, err := p.LB[0].Status()
	if err != nil || !s.Healthy || !s.Services[0].Up || s.VRRP[0].State != "master" || !s.VRRP[0].Holding || s.VRRP[0].Addresses[0] != lvsdtest.VIP+"/32" {
		t.Errorf("status of the master: %+v, %v", s, err)
	}
	s, err = p.LB[1].Status()
	if err != nil || !s.Healthy || s.VRRP[0].State != "backup" || s.VRRP[0].Holding {
		t.Errorf("status of the backup: %+v, %v", s, err)
	}
}

// TestTakeover lets the master fail in every way. The other director must take over
// the VIP and serve clients; when the first returns, it preempts and is the only
// holder.
func TestTakeover(t *testing.T) {
	for _, c := range []struct {
		name          string
		away, return_ func(*lvsdtest.Director)
		// stays: the failed director keeps the address.
		stays bool
	}{
		{"carrier lost", (*lvsdtest.Director).CutCable, (*lvsdtest.Director).PlugCable, false},
		{"silence with carrier", (*lvsdtest.Director).Silence, (*lvsdtest.Director).Unsilence, true},
		{"killed", (*lvsdtest.Director).KillDaemon, (*lvsdtest.Director).StartDaemon, true},
		{"stopped", (*lvsdtest.Director).StopDaemon, (*lvsdtest.Director).StartDaemon, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _ := lvsdtest.NewWebPair(t, 2, nil)
			outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{})
			outage.WaitSuccesses(20, 30*time.Second)
			c.away(p.LB[0])
			p.LB[1].WaitState("master", 30*time.Second)
			outage.WaitSuccesses(20, 30*time.Second)
			want := []string{"lb2"}
			if c.stays {
				want = []string{"lb1", "lb2"}
			}
			p.WaitUntil(5*time.Second, fmt.Sprintf("the VIP on %v", want), func() bool { return slices.Equal(p.Holders(), want) })
			t.Logf("away: %v", outage.Stop())

			healed := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{})
			healed.WaitSuccesses(20, 30*time.Second)
			c.return_(p.LB[0])
			p.LB[1].WaitState("backup", 30*time.Second)
			p.LB[0].WaitState("master", 30*time.Second)
			p.WaitUntil(5*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })
			healed.WaitSuccesses(20, 30*time.Second)
			t.Logf("back: %v", healed.Stop())
		})
	}
}

// TestTwoMastersConverge heals a network partition: within an advertisement interval
// of the first advertisement one director holds the VIP and has announced it.
func TestTwoMastersConverge(t *testing.T) {
	const advert = 500 * time.Millisecond
	p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) { p.AdvertInterval = advert.String() })
	p.LB[0].Silence()
	p.LB[1].WaitState("master", 30*time.Second)
	p.WaitUntil(5*time.Second, "two holders during the partition", func() bool { return len(p.Holders()) == 2 })
	capture := p.Client.Capture("eth0", func(f lab.Frame) bool {
		_, vrrp := f.VRRP()
		return vrrp || f.GratuitousARP(parseAddr(p, lvsdtest.VIP))
	})
	p.LB[0].Unsilence()
	// Both send within one interval; the other resigns at the first of them.
	took := p.WaitUntil(5*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb1"}) })
	t.Logf("one holder %v after healing (adverts every %v)", took, advert)
	now := time.Now()
	if err := p.AtMost("one holder", took, 2*advert, now.Add(-took), now); err != nil {
		t.Error(err)
	}
	p.WaitUntil(5*time.Second, "gratuitous ARP of lb1", func() bool {
		return capture.Count(func(f lab.Frame) bool {
			return f.GratuitousARP(parseAddr(p, lvsdtest.VIP)) && f.Src.String() == p.LB[0].MAC("eth0").String()
		}) > 0
	})
}

// TestOutageOfACutCable measures the outage that a client sees. The limit is the
// master down interval of RFC 9568 §6.1 (three advertisement intervals and the skew
// time) and 100 ms for the kernel's timers and the announcement.
func TestOutageOfACutCable(t *testing.T) {
	for _, advert := range []time.Duration{time.Second, 100 * time.Millisecond} {
		t.Run(advert.String(), func(t *testing.T) {
			p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) { p.AdvertInterval = advert.String() })
			outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{})
			outage.WaitSuccesses(50, 30*time.Second)
			p.LB[0].CutCable()
			p.LB[1].WaitState("master", 30*time.Second)
			outage.WaitSuccesses(50, 30*time.Second)
			report := outage.Stop()
			limit := 3*advert + (256-100)*advert/256 + 100*time.Millisecond
			t.Logf("FIGURE outage of a cut cable at %v adverts: %v (bound %v) %v", advert, report.LongestGap, limit, report)
			if err := p.AtMost("the outage that the client saw", report.LongestGap, limit, report.GapFrom, report.GapFrom.Add(report.LongestGap)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReturningDirectorWaitsForItsChecks: a director without a link sees all real
// servers down. When the link is back it has the higher priority, but preempts only
// after its own checks have succeeded.
func TestReturningDirectorWaitsForItsChecks(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) {
		p.Services = p.WebService(`{ type = "connect", interval = "2s", timeout = "1s", rise = 2, fall = 2 }`, 1)
	})
	lb1, lb2, server := p.LB[0], p.LB[1], p.Real[0].Addr().String()+":80"
	lb1.CutCable()
	lb2.WaitState("master", 30*time.Second)
	lb1.WaitWeight(server, 0, 20*time.Second)
	outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Timeout: 900 * time.Millisecond})
	outage.WaitSuccesses(20, 30*time.Second)
	lb1.PlugCable()
	lb1.WaitState("backup", 30*time.Second)
	if s, err := lb1.Status(); err != nil || s.VRRP[0].State == "backup" && s.VRRP[0].Waits == "" {
		t.Errorf("status of the returned director does not show what it waits for: %+v, %v", s.VRRP, err)
	}
	lb1.WaitState("master", 20*time.Second)
	if w := lb1.ProcWeight(server); w != 1 {
		t.Errorf("it became master with weight %d of its only server", w)
	}
	outage.WaitSuccesses(50, 30*time.Second)
	report := outage.Stop()
	t.Log(report)
	if report.Errors["connection refused"] > 0 {
		t.Errorf("clients were refused when the director returned: %v %v", report, report.Errors)
	}
	if err := p.AtMost("the outage when the director returned", report.LongestGap, time.Second, report.GapFrom, report.GapFrom.Add(report.LongestGap)); err != nil {
		t.Error(err)
	}
}

// TestAFaultBindsItsOwnInstance: a preferred director with an instance whose interface does
// not exist takes the addresses of the other instance back.
func TestAFaultBindsItsOwnInstance(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, nil)
	lb1, lb2 := p.LB[0], p.LB[1]
	lb1.StopDaemon()
	lb2.WaitState("master", 30*time.Second)
	p.EditConfig("[[virtual_service]]", `[[vrrp]]
name = "spare"
interface = { lb1 = "eth7", lb2 = "eth0" }
virtual_router_id = 99
priority = { lb1 = 200, lb2 = 100 }
addresses = ["10.77.0.199"]

[[virtual_service]]`)
	lb2.MustReload()
	lb1.StartDaemon()
	lb1.WaitState("master", 30*time.Second)
	if s, err := lb1.Status(); err != nil || s.VRRP[1].State != "fault" {
		t.Errorf("%+v, %v", s.VRRP, err)
	}
	p.WaitUntil(30*time.Second, "the addresses where they belong", func() bool {
		return lb1.Holds(lvsdtest.VIP) && lb2.Holds("10.77.0.199") && !lb2.Holds(lvsdtest.VIP)
	})
}

// TestLeftoverAddress: a killed master without a peer is restarted without an outage;
// one whose peer has taken over removes the address at the peer's first advertisement.
func TestLeftoverAddress(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		p := lvsdtest.NewPair(t, 1)
		p.PrepareDR()
		lab.ServeLines(p.Real[0], ":80", "rs1")
		p.Services = p.WebService(lvsdtest.QuickCheck, 1)
		lb := p.LB[0]
		lb.StartMaster(1)
		// A long timeout: the start of a process stalls a kernel with one
		// processor for longer than a connect usually takes.
		outage := lab.StartOutage(p.Client, lvsdtest.VIPPort, lab.OutageConfig{Timeout: 900 * time.Millisecond})
		outage.WaitSuccesses(50, 30*time.Second)
		lb.KillDaemon()
		lb.StartDaemon()
		if !lb.Holds(lvsdtest.VIP) {
			t.Error("the restarted director removed the address although there is no other master")
		}
		lb.WaitState("master", 30*time.Second)
		outage.WaitSuccesses(50, 30*time.Second)
		if report := outage.Stop(); report.Failed > 0 {
			t.Errorf("connects failed during the restart: %v", report)
		}
	})
	t.Run("taken over", func(t *testing.T) {
		p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) { p.VRRPKeys = "preempt = false" })
		p.LB[0].KillDaemon()
		p.LB[1].WaitState("master", 30*time.Second)
		// The killed director's address stays on its interface.
		p.WaitUntil(5*time.Second, "two holders", func() bool { return len(p.Holders()) == 2 })
		p.LB[0].StartDaemon()
		p.WaitUntil(5*time.Second, "one holder", func() bool { return slices.Equal(p.Holders(), []string{"lb2"}) })
		if s := p.LB[0].VRRPState(); s != "backup" {
			t.Errorf("the returning director is %s, want backup: preempt is false", s)
		}
	})
}

// TestGratuitousARP: a new master announces the address at once, as ARP request and
// as ARP reply, from its own MAC address.
func TestGratuitousARP(t *testing.T) {
	p, _ := lvsdtest.NewWebPair(t, 1, nil)
	capture := p.Client.Capture("eth0", func(f lab.Frame) bool { return f.GratuitousARP(parseAddr(p, lvsdtest.VIP)) })
	p.LB[0].CutCable()
	p.LB[1].WaitState("master", 30*time.Second)
	mac := p.LB[1].MAC("eth0").String()
	for op, name := range map[uint16]string{1: "request", 2: "reply"} {
		p.WaitUntil(5*time.Second, "the "+name+" form", func() bool {
			return capture.Count(func(f lab.Frame) bool {
				a, ok := f.ARP()
				return ok && a.Op == op && a.SenderMAC.String() == mac && a.SenderIP == a.TargetIP
			}) > 0
		})
	}
}

// TestPriorityZeroOnStop: a takeover after a planned stop does not wait for the master
// down timer, because the master sends priority 0.
func TestPriorityZeroOnStop(t *testing.T) {
	const advert = time.Second
	p, _ := lvsdtest.NewWebPair(t, 1, func(p *lvsdtest.Pair) { p.AdvertInterval = advert.String() })
	p.LB[0].Process.Terminate()
	took := p.LB[1].WaitState("master", 30*time.Second)
	t.Logf("FIGURE takeover after a planned stop at %v adverts: %v", advert, took)
	now := time.Now()
	if err := p.AtMost("the takeover after priority 0, before the master down timer,", took, 3*advert, now.Add(-took), now); err != nil {
		t.Error(err)
	}
	p.LB[0].StopDaemon() // a second signal during the handover changes nothing
	onlyHolder(p, p.LB[1])
	if got := p.LB[1].Metric(`lvsd_vrrp_transitions_total{reason="resigned",to="master",vrrp="web"}`); got != "1" {
		t.Errorf("takeovers because the master resigned: %s, want 1", got)
	}
}

// TestRefusedStarts: each of these starts fails with exit code 1, a message that names
// the remedy, and no change to the host.
func TestRefusedStarts(t *testing.T) {
	p := lvsdtest.NewPair(t, 1)
	lb := p.LB[0]
	p.Services = p.WebService(lvsdtest.QuickCheck, 1)
	good := p.Config()
	precious := p.WriteFile("precious", "precious")
	p.WriteConfigText(good)
	type refusal struct {
		name, file string
		args       []string
		want       []string
	}
	cases := []refusal{
		{"a port that is taken", good, nil, []string{"http_listen", "127.0.0.1:8112", "in use"}},
		{"a control socket that is a file", lvsdtest.Replace(t, good, lb.Socket, precious), nil, []string{"control_socket", "not a socket"}},
		{"an unknown scheduler", lvsdtest.Replace(t, good, `scheduler = "rr"`, `scheduler = "best"`), nil, []string{"virtual_service[0].scheduler", "best"}},
		{"a director that is not in the file", good, []string{"--director", "lb9"}, []string{"lb9", "lb1, lb2"}},
		{"a broken file", "[global\n", nil, []string{"lvsd.toml:1:"}},
	}
	if missing := lb.MissingScheduler(); missing != "" {
		cases = append(cases, refusal{"a scheduler that this kernel lacks", lvsdtest.Replace(t, good, `scheduler = "rr"`, `scheduler = "`+missing+`"`), nil, []string{missing}})
	} else {
		t.Log("a scheduler that this kernel lacks is not tested: it has all")
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p.WriteFile("lvsd.toml", c.file)
			before := lb.IPVSTable()
			if c.name == "a port that is taken" {
				occupied, err := lb.Listen("tcp", "127.0.0.1:"+lvsdtest.HTTPPort)
				if err != nil {
					t.Fatal(err)
				}
				defer occupied.Close()
			}
			args := append([]string{"run", "-c", p.ConfigFile, "--director", "lb1"}, c.args...)
			lvsdtest.Refused(t, lb, args, c.want)
			if after := lb.IPVSTable(); after != before {
				t.Errorf("the IPVS table was changed: %s", after)
			}
			if lb.Holds(lvsdtest.VIP) {
				t.Error("the VIP is left behind")
			}
		})
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "precious" {
		t.Errorf("the file at the path of control_socket: %q, %v", text, err)
	}
	p.WriteFile("lvsd.toml", good)
	t.Run("no rights", func(t *testing.T) {
		for path, mode := range map[string]os.FileMode{p.Dir(): 0o755, p.ConfigFile: 0o644} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		out, err := lb.Run(ctx, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
			lvsdtest.Binary(t), "check", "--host", "-c", p.ConfigFile, "--director", "lb1")
		if err == nil || !lvsdtest.ContainsAll(out, "CAP_NET_ADMIN", "root") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	// A missing interface is none of these: the election is in fault until it can run.
	p.WriteFile("lvsd.toml", lvsdtest.Replace(t, good, `interface = "eth0"`, `interface = "eth7"`))
	lb.StartDaemon()
	lb.WaitState("fault", 30*time.Second)
	p.WriteFile("lvsd.toml", good)
	lb.MustReload()
	lb.WaitState("master", 30*time.Second)
	t.Run("a second daemon", func(t *testing.T) {
		lvsdtest.Refused(t, lb, []string{"run", "-c", p.ConfigFile, "--director", "lb1"}, []string{"another lvsd"})
	})
	if s := lb.VRRPState(); s != "master" {
		t.Errorf("after a refused second daemon the first is %s", s)
	}
}
