package vrrp

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/link"
)

func (b *bench) track(delta int, fault string) []string {
	return b.step(input{kind: inTrack, delta: delta, detail: fault})
}

func TestEffectivePriority(t *testing.T) {
	for _, tt := range []struct {
		configured uint8
		delta      int
		want       uint8
	}{{100, 0, 100}, {100, -50, 50}, {100, -100, 1}, {100, -253, 1}, {100, 154, 254}, {100, 253, 254}, {255, -253, 255}, {254, 1, 254}} {
		b := backup(t, priority(100), func(c *Config) { c.Priority = min(tt.configured, 254) })
		b.m.cfg.Priority = tt.configured
		b.track(tt.delta, "")
		if got := b.m.priority(); got != tt.want {
			t.Errorf("%d with %+d: %d, want %d", tt.configured, tt.delta, got, tt.want)
		}
	}
}

func TestTrackedWeight(t *testing.T) {
	b := master(t, priority(200))
	b.want(b.track(-120, ""))
	b.want(b.run(), "send 80")
	if b.m.snapshot().priority != 80 || b.m.snapshot().masterPriority != 80 {
		t.Errorf("%+v", b.m.snapshot())
	}
	// The peer's 100 is now the higher priority.
	b.want(b.advert(lb2, 100), "send 80", "hold", "became backup higher_priority")
	b.deadline(b.m.downAt, 3*time.Second+176*time.Second/256) // skew of 80
	b.want(b.track(0, ""))
	b.deadline(b.m.downAt, 3*time.Second+56*time.Second/256)
	b.want(b.advert(lb2, 100)) // and outranks it again
	b.want(b.run(), "send 200", "hold 10.0.0.88", "announce 10.0.0.88", "became master preempt")
}

func TestTrackedFault(t *testing.T) {
	b := master(t)
	b.want(b.track(0, "interface eth1 is down"), "send 0", "hold", "became fault tracked")
	b.answer()
	if !b.m.Deadline().IsZero() {
		t.Errorf("due at %v", b.m.Deadline())
	}
	// A change of the link does not affect it.
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}))
	b.want(b.step(input{kind: inReady, from: lb1}))
	b.state(Fault)
	b.want(b.track(0, ""), "became backup recovered")
	b.deadline(b.m.downAt, downInterval(100, time.Second))

	b = newBench(t)
	b.step(input{kind: inStart})
	b.want(b.track(0, "down")) // before the interface is known
	b.want(b.step(input{kind: inReady, from: lb1}), "hold", "became fault tracked")
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}))
	b.want(b.track(0, "")) // the link is still down
	b.state(Fault)
	b.want(b.step(input{kind: inReady, from: lb1}), "became backup link_up")

	b = master(t) // a failed action and a tracked fault: both must end
	b.want(b.fail("no"), "send 0", "hold", "became fault address_failed")
	b.want(b.track(0, "down"))
	b.want(b.run()) // the pause after the failure is over
	b.state(Fault)
	b.want(b.track(0, ""), "became backup recovered")
}

func TestGauge(t *testing.T) {
	g := riseFall{rise: 2, fall: 3}
	for i, step := range []struct{ ok, news, up bool }{
		{true, true, true}, {false, false, true}, {false, false, true}, {true, false, true},
		{false, false, true}, {false, false, true}, {false, true, false}, {true, false, false}, {false, false, false}, {true, false, false}, {true, true, true},
	} {
		if news := g.observe(step.ok); news != step.news || g.up != step.up {
			t.Errorf("result %d: news %v, up %v", i, news, g.up)
		}
	}
}

// The effect of SetTracked is in the next advert, and a fault hands over the address.
func TestSetTracked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		e1, e2 := h1.engine(t, r1.options(), priority(200)), h2.engine(t, r2.options())
		e1.SetTracked("service early", -10, false) // before it runs
		stop1, stop2 := running(t, e1), running(t, e2)
		defer stop1()
		defer stop2()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := e2.Status(); s.MasterPriority != 190 || s.Master != lb1 {
			t.Errorf("%+v", s)
		}
		e1.SetTracked("service early", 0, false)
		e1.SetTracked("service web", -150, false)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := e1.Status(); s.State != Backup || s.Priority != 50 || s.Reason != ReasonHigherPriority || !slices.Equal(s.Tracked, []Tracked{{"service web", -150, false}}) {
			t.Errorf("%+v", s)
		}
		e2.SetTracked("service web", 0, true)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := e2.Status(); s.State != Fault || s.Reason != ReasonTracked || s.Detail != "service web is down" || hasVIP(h2) {
			t.Errorf("%+v", s)
		}
		if s := e1.Status(); s.State != Master || s.Reason != ReasonResigned {
			t.Errorf("%+v", s)
		}
		e2.SetTracked("service web", 0, false)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if e2.Status().State != Master || e1.Status().State != Backup || len(e2.Status().Tracked) != 0 {
			t.Errorf("%+v", e2.Status())
		}
	})
}

func TestTrackInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options(), func(c *Config) {
			c.TrackInterfaces = []TrackedInterface{{"eth1", -30}, {"eth2", 0}}
		})
		states := map[string]chan bool{"eth1": make(chan bool), "eth2": make(chan bool), "eth3": make(chan bool)}
		e.tracking.observe = func(ctx context.Context, name string, report func(bool)) {
			for {
				select {
				case <-ctx.Done():
					return
				case up := <-states[name]:
					report(up)
				}
			}
		}
		stop := running(t, e)
		defer stop()
		states["eth1"] <- true
		states["eth2"] <- true
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := e.Status(); s.State != Master || s.Priority != 100 {
			t.Errorf("%+v", s)
		}
		states["eth1"] <- false
		synctest.Wait()
		if s := e.Status(); s.State != Master || s.Priority != 70 {
			t.Errorf("%+v", s)
		}
		states["eth2"] <- false
		synctest.Wait()
		if s := e.Status(); s.State != Fault || s.Detail != "interface eth2 is down" || s.Priority != 70 {
			t.Errorf("%+v", s)
		}
		// Another configuration: an object that stays keeps its result, one that is removed has
		// none.
		e.Update(config(func(c *Config) { c.TrackInterfaces = []TrackedInterface{{"eth1", -30}, {"eth3", 20}} }))
		synctest.Wait()
		if s := e.Status(); s.State != Backup || s.Priority != 70 || s.Reason != ReasonRecovered {
			t.Errorf("%+v", s)
		}
		states["eth3"] <- true // a positive weight counts while it is up
		synctest.Wait()
		if s := e.Status(); s.Priority != 90 {
			t.Errorf("%+v", s)
		}
	})
}

// Two instances of a group on each of two directors: both change state together, and
// they recover.
func TestSyncGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lans [2]lan // an outer and an inner one
		var hosts [2][2]*host
		var engines [2][2]*Engine
		for d := range 2 {
			groups := &Groups{}
			for i := range 2 {
				h := lans[i].host(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(12 + d)}))
				hosts[d][i] = h
				e := h.engine(t, Options{Groups: groups}, priority(uint8(200-100*d)), func(c *Config) {
					c.SyncGroup, c.Name = "both", []string{"outer", "inner"}[i]
				})
				engines[d][i] = e
				stop := running(t, e)
				defer stop()
			}
		}
		check := func(when string, first, second State) {
			t.Helper()
			time.Sleep(8 * time.Second)
			synctest.Wait()
			for d, want := range []State{first, second} {
				for i := range 2 {
					if s := engines[d][i].Status(); s.State != want {
						t.Errorf("%s: director %d, election %s is %s (%s, %s), want %s", when, d+1, s.Name, s.State, s.Reason, s.Detail, want)
					}
				}
			}
		}
		check("at first", Master, Backup)
		// The inner interface of the first fails: it must give up the outer address.
		hosts[0][1].set(func(s *link.State) { s.Carrier = false })
		check("without the inner link", Fault, Master)
		if s := engines[0][0].Status(); s.Reason != ReasonTracked || !strings.Contains(s.Detail, `sync group member "inner" is in fault (link_down)`) {
			t.Errorf("%+v", s)
		}
		hosts[0][1].set(func(s *link.State) { s.Carrier = true })
		check("with it", Master, Backup)
		// What one of them tracks affects both.
		engines[0][0].SetTracked("service web", -150, false)
		check("with a weight", Backup, Master)
		engines[0][0].SetTracked("service web", 0, false)
		check("without", Master, Backup)
		// Only adverts of one instance are lost: the other follows at once.
		hosts[1][0].set(func(s *link.State) { s.Carrier = false })
		hosts[0][0].set(func(s *link.State) { s.Carrier = false })
		check("both outer links", Fault, Fault)
		hosts[1][0].set(func(s *link.State) { s.Carrier = true })
		check("one of them", Fault, Master)
	})
}

// Programs are run on the real clock.
func TestScripts(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "up")
	var limit time.Duration
	run := func(ctx context.Context, command []string) error {
		deadline, _ := ctx.Deadline()
		limit = time.Until(deadline)
		return exec.CommandContext(ctx, command[0], command[1:]...).Run()
	}
	log := slog.New(slog.DiscardHandler)
	s := TrackedScript{Command: []string{"/bin/sh", "-c", "test -e " + flag}, Interval: 5 * time.Millisecond, Timeout: 10 * time.Second, Rise: 1, Fall: 2}
	if err := newTracking(log, run).runOnce(t.Context(), s); err == nil {
		t.Error("a failure passes")
	}
	if err := newTracking(log, nil).runOnce(t.Context(), s); err == nil || !strings.Contains(err.Error(), "cannot run programs") {
		t.Errorf("without a way to run one: %v", err)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tr := newTracking(log, run)
	if err := tr.runOnce(t.Context(), s); err != nil {
		t.Error(err)
	}
	if limit <= 0 || limit > s.Timeout {
		t.Errorf("its deadline is %v away, the timeout %v", limit, s.Timeout)
	}
	tr.configure(config(func(c *Config) { c.TrackScripts = []TrackedScript{s} }))
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a fault", func() bool { _, fault := sum(tr.all()); return fault != "" })
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "none", func() bool { _, fault := sum(tr.all()); return fault == "" })
	tr.stop()
	tr.tasks.Wait()
}
