package decision

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/config"
)

// start is when the directors of these tests have started.
var announceStart = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// announcer is a director with one announcement, "any", of the services one and two.
type announcer struct {
	t      *testing.T
	in     AnnounceInputs
	config config.Announce
	next   time.Time
}

func newAnnouncer(t *testing.T, change func(*config.Announce)) *announcer {
	a := &announcer{t: t, config: config.Announce{Name: "any", Services: []string{"one", "two"}, Serving: 100, Draining: 4000, HoldStart: 5 * time.Second}}
	if change != nil {
		change(&a.config)
	}
	a.in = AnnounceInputs{Now: announceStart, Config: &config.Config{Announces: []config.Announce{a.config}}, Synced: true,
		Services: []Service{{Name: "one", Up: true}, {Name: "two", Up: true}}}
	return a
}

// step decides after a time, and expects a state: its reason, with + announced, ! kept, -
// not.
func (a *announcer) step(after time.Duration, want string) Announcement {
	a.t.Helper()
	a.in.Now = a.in.Now.Add(after)
	all, next := Announcements(a.in)
	if len(all) != 1 {
		a.t.Fatalf("%+v", all)
	}
	got := all[0]
	sign := "-"
	if got.Announced {
		sign = "+"
	}
	if got.Kept {
		sign = "!"
	}
	if sign+string(got.Reason) != want {
		a.t.Errorf("after %v: %s%s (%s), want %s", a.in.Now.Sub(announceStart), sign, got.Reason, got.Why, want)
	}
	metric := map[string]uint32{"+": a.config.Serving, "!": a.config.Draining, "-": 0}[sign]
	if got.Metric != metric {
		a.t.Errorf("metric %d of %s, want %d", got.Metric, want, metric)
	}
	if got.Serving != (want == "+serving" || want == "!standby") {
		a.t.Errorf("serving %v of %s", got.Serving, want)
	}
	a.in.Before, a.next = all, next
	return got
}

// serving is an announcer that has started.
func servingAnnouncer(t *testing.T, change func(*config.Announce)) *announcer {
	a := newAnnouncer(t, change)
	a.step(0, "-start")
	a.step(5*time.Second, "+serving")
	return a
}

// quorum sets which services have their quorum.
func (a *announcer) quorum(one, two bool) {
	a.in.Services = []Service{{Name: "one", Up: one}, {Name: "two", Up: two}}
}

// peer sets what a peer replies to a request that was sent now.
func (a *announcer) peer(name string, announced, serving bool) {
	a.peerReplies(name, PeerAnnounce{Announced: announced, Serving: serving})
}

func (a *announcer) peerReplies(name string, reply PeerAnnounce) {
	p := Peer{Name: name, Up: true, RequestedAt: a.in.Now.Add(time.Millisecond), Announces: map[string]PeerAnnounce{"any": reply}}
	for i := range a.in.Peers {
		if a.in.Peers[i].Name == name {
			a.in.Peers[i] = p
			return
		}
	}
	a.in.Peers = append(a.in.Peers, p)
}

// silence makes a peer unreachable.
func (a *announcer) silence(name string) {
	for i := range a.in.Peers {
		if a.in.Peers[i].Name == name {
			a.in.Peers[i].Up, a.in.Peers[i].Unreachable = false, true
		}
	}
}

// TestAnnounceStart: nothing is announced before the first results, hold_start and the
// kernel's table.
func TestAnnounceStart(t *testing.T) {
	a := newAnnouncer(t, nil)
	a.in.Waits, a.in.Synced = "waiting for the checks of 2 real servers", false
	if got := a.step(0, "-start"); got.Why != a.in.Waits {
		t.Errorf("%q", got.Why)
	}
	a.in.Waits = ""
	a.step(time.Second, "-start")
	if want := announceStart.Add(6 * time.Second); !a.next.Equal(want) {
		t.Errorf("next %v, want %v", a.next, want)
	}
	if got := a.step(5*time.Second, "-start"); !strings.Contains(got.Why, "IPVS table") || a.next.IsZero() {
		t.Errorf("%q, next %v", got.Why, a.next)
	}
	a.in.Synced = true
	since := a.step(time.Second, "+serving").Since
	// Later results of new servers, or a table that is being written, change nothing.
	a.in.Waits, a.in.Synced = "waiting for the checks of 1 real server", false
	if again := a.step(time.Second, "+serving"); !again.Since.Equal(since) {
		t.Errorf("since %v, then %v", since, again.Since)
	}
	if !a.next.IsZero() {
		t.Errorf("next %v", a.next)
	}
}

// TestAnnounceStartWithoutQuorum: a director that never served announces nothing alone.
func TestAnnounceStartWithoutQuorum(t *testing.T) {
	a := newAnnouncer(t, nil)
	a.quorum(false, false)
	a.step(0, "-start")
	a.step(5*time.Second, "-quorum")
	a.quorum(true, false)
	a.step(time.Second, "+serving")
}

// TestAnnounceSyncHold: with connection sync a director that starts waits until it knows
// most of the connections of those that announce, at most sync_hold; one that starts alone,
// or continues after a crash, does not wait.
func TestAnnounceSyncHold(t *testing.T) {
	for _, c := range []struct {
		name                  string
		announced             bool // by the peer
		peer, own             int
		adopted, without, let bool
		unasked               bool // the peer has not replied yet
		why                   string
	}{
		{name: "too few", announced: true, peer: 100, own: 94},
		{name: "own are not known", announced: true, peer: 100, own: -1},
		{name: "enough", announced: true, peer: 100, own: 95, let: true},
		{name: "the peer's are not known", announced: true, peer: -1, own: 3, why: "those of lb2 are not counted, 55s of sync_hold left"},
		{name: "the peer has not replied yet", announced: true, peer: 100, own: 100, unasked: true, why: "lb2 has not replied yet, 55s of sync_hold left"},
		{name: "nobody announces", peer: 100, let: true},
		{name: "without sync", announced: true, peer: 100, without: true, let: true},
		{name: "after a crash", announced: true, peer: 100, adopted: true, let: true},
	} {
		a := newAnnouncer(t, func(e *config.Announce) { e.SyncHold = time.Minute })
		if !c.without {
			a.in.Config.IPVS.Sync = &config.Sync{}
		}
		if c.adopted {
			a.in.Before = []Announcement{Adopted(a.config, 100, announceStart)}
		}
		a.in.Connections = c.own
		a.peer("lb2", c.announced, c.announced)
		a.in.Peers[0].Connections, a.in.Peers[0].Up = c.peer, !c.unasked
		if a.in.Waits = "checks"; c.adopted {
			a.step(0, "+start")
		} else {
			a.step(0, "-start")
		}
		a.in.Waits = ""
		if c.let {
			if !c.adopted {
				a.step(0, "-start")
			}
			a.step(5*time.Second, "+serving")
			continue
		}
		a.step(0, "-start")
		why := cmp.Or(c.why, "of the 100 of lb2 synchronised, 55s of sync_hold left")
		if got := a.step(5*time.Second, "-start"); !strings.Contains(got.Why, why) || a.next.IsZero() {
			t.Errorf("%s: %q, next %v", c.name, got.Why, a.next)
		}
		a.step(54*time.Second, "-start")
		a.step(time.Second, "+serving")
	}
}

// TestAnnounceAdopted: what a crashed run left announced stays until the results are there,
// and is then decided at once.
func TestAnnounceAdopted(t *testing.T) {
	for _, up := range []bool{true, false} {
		a := newAnnouncer(t, nil)
		a.in.Before = []Announcement{Adopted(a.config, 100, announceStart)}
		a.in.Waits, a.in.Synced = "waits for the checks", false
		a.step(time.Second, "+start")
		a.quorum(up, up)
		a.step(time.Second, "+start")
		a.in.Waits, a.in.Synced = "", true
		a.step(time.Millisecond, map[bool]string{true: "+serving", false: "-quorum"}[up])
	}
}

// TestAnnounceQuorum: any, all, and a return.
func TestAnnounceQuorum(t *testing.T) {
	any := servingAnnouncer(t, nil)
	any.quorum(true, false)
	any.step(0, "+serving")
	any.quorum(false, false)
	if got := any.step(0, "-quorum"); got.Why != "quorum lost: one, two" {
		t.Errorf("%q", got.Why)
	}
	any.quorum(false, true)
	any.step(time.Second, "+serving") // without hold_start
	all := servingAnnouncer(t, func(c *config.Announce) { c.All = true })
	all.quorum(true, false)
	if got := all.step(0, "-quorum"); got.Why != "quorum lost: two" {
		t.Errorf("%q", got.Why)
	}
}

// TestAnnounceOneFails: a director whose servers failed for it alone withdraws as soon as
// another one has replied, after that, that it serves.
func TestAnnounceOneFails(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", true, true)
	a.peer("lb3", true, true)
	a.in.Now = a.in.Now.Add(time.Second)
	a.quorum(false, false)
	if got := a.step(0, "+quorum"); got.Serving || a.next.IsZero() {
		t.Errorf("%+v, next %v: what the peers said before counts", got, a.next)
	}
	a.peer("lb3", true, true)
	if got := a.step(10*time.Millisecond, "-quorum"); !strings.Contains(got.Why, "lb3 is serving") {
		t.Errorf("%q", got.Why)
	}
	a.step(time.Minute, "-quorum")
}

// TestAnnounceReturn: a director that withdrew returns when it has been able to serve for
// hold_start, at once when no other one serves.
func TestAnnounceReturn(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", true, true)
	fail := func() {
		t.Helper()
		a.in.Now = a.in.Now.Add(time.Second)
		a.quorum(false, false)
		a.step(0, "+quorum")
		a.peer("lb2", true, true)
		a.step(time.Millisecond, "-quorum")
	}
	fail()
	a.quorum(true, true)
	if got := a.step(time.Second, "-quorum"); !strings.Contains(got.Why, "can serve again") || !a.next.Equal(a.in.Now.Add(5*time.Second)) {
		t.Errorf("%q, next %v", got.Why, a.next)
	}
	a.quorum(false, false) // it flaps: the time begins again
	a.step(4*time.Second, "-quorum")
	a.quorum(true, true)
	a.step(time.Second, "-quorum")
	a.step(4*time.Second, "-quorum")
	a.step(time.Second, "+serving")
	fail()
	a.quorum(true, true)
	a.step(time.Second, "-quorum")
	a.silence("lb2")
	a.step(time.Second, "+serving")
}

// TestAnnounceAllFail: directors that fail one after another, for a shared cause, withdraw
// except for the last, and then all take the addresses with the draining metric: a health
// check that fails everywhere says nothing about any director.
func TestAnnounceAllFail(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", true, true)
	a.in.Now = a.in.Now.Add(time.Second)
	a.quorum(false, false)
	a.step(0, "+quorum")
	a.peer("lb2", true, false) // it failed too, and asks in turn
	a.step(time.Millisecond, "!quorum")
	a.peer("lb2", true, false)
	a.step(time.Minute, "!quorum")
	// The other one recovers: this one waits, so that not all load is on the first.
	a.peer("lb2", true, true)
	a.step(time.Second, "!quorum")
	a.peer("lb2", true, true)
	a.step(4*time.Second, "!quorum")
	a.peer("lb2", true, true)
	a.step(time.Second, "-quorum")

	withdrew := servingAnnouncer(t, nil)
	withdrew.peer("lb2", true, true)
	withdrew.in.Now = withdrew.in.Now.Add(time.Second)
	withdrew.quorum(false, false)
	withdrew.step(0, "+quorum")
	withdrew.peer("lb2", true, true)
	withdrew.step(time.Millisecond, "-quorum")
	withdrew.peer("lb2", true, false)
	withdrew.step(time.Second, "!quorum")
}

// TestAnnounceNeverBothWithdraw plays all orders in which two directors fail and ask each
// other: at any time one of them is announced.
func TestAnnounceNeverBothWithdraw(t *testing.T) {
	const steps = 6
	for order := range 1 << steps {
		one, two := servingAnnouncer(t, nil), servingAnnouncer(t, nil)
		each := []*announcer{one, two}
		look := func(a *announcer) Announcement { return a.in.Before[0] }
		for _, a := range each {
			a.peer("other", true, true)
		}
		for i := range steps {
			now := announceStart.Add(time.Minute + time.Duration(i)*time.Millisecond)
			a, b := one, two
			if order>>i&1 == 1 {
				a, b = two, one
			}
			// It fails, or asks the other one, which replies what is true now, and decides.
			a.in.Now = now
			if !look(a).Lost.IsZero() {
				a.peer("other", look(b).Announced, look(b).Serving)
			}
			a.quorum(false, false)
			all, _ := Announcements(a.in)
			a.in.Before = all
			if !look(one).Announced && !look(two).Announced {
				t.Fatalf("order %06b: both withdrew at step %d: %s; %s", order, i, look(one).Why, look(two).Why)
			}
		}
	}
}

// TestAnnounceNeverAllWithdraw lets three directors fail, recover and ask each other in many
// orders, with replies that arrive late: at any time one of them is announced.
func TestAnnounceNeverAllWithdraw(t *testing.T) {
	const directors, steps = 3, 60
	withdrawn := 0
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 0))
		var each [directors]*announcer
		names := [directors]string{"lb1", "lb2", "lb3"}
		late := [directors][directors]*Peer{} // the reply of one to the other, on its way
		for i := range each {
			each[i] = servingAnnouncer(t, nil)
			for j, name := range names {
				if j != i {
					each[i].peer(name, true, true)
				}
			}
		}
		for step := range steps {
			i := random.IntN(directors)
			a, j := each[i], (i+1+random.IntN(directors-1))%directors
			now := announceStart.Add(time.Minute + time.Duration(step)*time.Second)
			switch random.IntN(5) {
			case 0:
				a.quorum(random.IntN(3) == 0, false)
			case 1, 2: // it asks another one, which replies
				b := each[j].in.Before[0]
				late[i][j] = &Peer{Name: names[j], Up: true, RequestedAt: now, Announces: map[string]PeerAnnounce{"any": {Announced: b.Announced, Serving: b.Serving, Kept: b.Kept}}}
			default:
				if p := late[i][j]; p != nil {
					a.in.Peers[slices.IndexFunc(a.in.Peers, func(q Peer) bool { return q.Name == p.Name })] = *p
				}
			}
			a.in.Now = now
			a.in.Before, _ = Announcements(a.in)
			n := 0
			for _, d := range each {
				if d.in.Before[0].Announced {
					n++
				}
			}
			withdrawn += directors - n
			if n == 0 {
				t.Fatalf("seed %d: all withdrew at step %d: %s; %s; %s", seed, step, each[0].in.Before[0].Why, each[1].in.Before[0].Why, each[2].in.Before[0].Why)
			}
		}
	}
	if withdrawn == 0 {
		t.Error("no director ever withdrew")
	}
}

// TestAnnounceAlone: without a peer that replies, a lost quorum withdraws; a fallback keeps
// the addresses; fault = true asks no peer.
func TestAnnounceAlone(t *testing.T) {
	silent := servingAnnouncer(t, nil)
	silent.peer("lb2", true, true)
	silent.silence("lb2")
	silent.in.Now = silent.in.Now.Add(time.Second)
	silent.quorum(false, false)
	silent.step(0, "-quorum")

	fallback := servingAnnouncer(t, nil)
	fallback.in.Services = []Service{{Name: "one", Fallback: Fallback{Active: true}}, {Name: "two", Fallback: Fallback{Active: true}}}
	fallback.step(0, "!quorum")
	fallback.in.Services[1].Fallback.Active = false
	fallback.step(0, "-quorum")

	fault := servingAnnouncer(t, func(c *config.Announce) { c.Fault = true })
	fault.peer("lb2", true, false)
	fault.in.Now = fault.in.Now.Add(time.Second)
	fault.quorum(false, false)
	fault.step(0, "-quorum")
}

// TestAnnounceGuard: a frozen health withdraws where another director serves or none
// replies, and not where all are frozen.
func TestAnnounceGuard(t *testing.T) {
	frozen := Guard{State: GuardFrozen, Why: "no witness replies"}
	alone := servingAnnouncer(t, nil)
	alone.in.Guard = frozen
	alone.step(0, "-guard")
	alone.in.Guard = Guard{State: GuardWatching}
	alone.step(0, "+serving")

	all := servingAnnouncer(t, nil)
	all.in.Guard = frozen
	all.step(0, "-guard")
	all.peer("lb2", true, false)
	all.step(time.Second, "!guard")
}

// TestAnnounceStandby: a director on standby withdraws, over restarts too, and announces
// while no other director serves.
func TestAnnounceStandby(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", true, true)
	a.in.Standby = map[string]bool{"any": true}
	a.step(0, "-standby")
	a.silence("lb2")
	a.step(time.Second, "!standby")
	a.peer("lb2", true, true)
	a.step(time.Second, "-standby")
	a.in.Standby = nil
	a.step(time.Second, "+serving")

	again := newAnnouncer(t, nil)
	again.in.Standby = map[string]bool{"any": true}
	again.in.Before = []Announcement{Adopted(again.config, 100, announceStart)}
	again.in.Waits = "waits for the checks"
	again.step(0, "-start")
	again.in.Waits = ""
	again.in.Peers = []Peer{{Name: "lb2"}} // not asked yet
	again.step(0, "-start")
	again.step(5*time.Second, "-standby")

	without := servingAnnouncer(t, nil)
	without.in.Standby = map[string]bool{"any": true}
	without.step(0, "-standby")
}

// TestAnnounceStandbyServes: a director on standby serves while the others announce and
// cannot serve: they lost their servers, or their routing daemon.
func TestAnnounceStandbyServes(t *testing.T) {
	for _, kept := range []bool{true, false} {
		a := servingAnnouncer(t, nil)
		a.peer("lb2", true, true)
		a.in.Standby = map[string]bool{"any": true}
		a.step(0, "-standby")
		cannot := PeerAnnounce{Announced: true, Kept: kept}
		a.peerReplies("lb2", cannot)
		a.step(time.Second, "-standby") // it may continue after a crash
		if want := a.in.Now.Add(5 * time.Second); !a.next.Equal(want) {
			t.Errorf("next %v, want %v", a.next, want)
		}
		a.peer("lb2", true, true)
		a.step(time.Second, "-standby")
		a.peerReplies("lb2", cannot)
		a.step(time.Second, "-standby")
		a.step(4*time.Second, "-standby")
		a.step(time.Second, "!standby")
		a.peer("lb2", true, true)
		a.step(time.Minute, "-standby")
	}
}

// TestAnnounceStandbyFails: a director that serves on standby, for want of others, is the last
// one: when it fails too it keeps its routes. With --force it withdraws anyway.
func TestAnnounceStandbyFails(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", false, false)
	a.in.Standby = map[string]bool{"any": true}
	a.step(0, "!standby")
	a.in.Now = a.in.Now.Add(time.Second)
	a.quorum(false, false)
	a.step(0, "!quorum")
	a.peer("lb2", true, false)
	a.step(time.Second, "!quorum")
	a.quorum(true, true)
	a.step(time.Second, "!standby")

	forced := servingAnnouncer(t, nil)
	forced.quorum(false, false)
	forced.peer("lb2", true, false)
	forced.step(time.Second, "+quorum")
	forced.peer("lb2", true, false)
	forced.step(time.Second, "!quorum")
	forced.in.Standby = map[string]bool{"any": true}
	forced.step(time.Second, "-standby")
}

// TestAnnounceServedByStandby: a director that lost its servers withdraws as soon as one on
// standby serves, also when it has kept its routes until then.
func TestAnnounceServedByStandby(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", false, false)
	a.in.Now = a.in.Now.Add(time.Second)
	a.quorum(false, false)
	a.step(0, "+quorum")
	a.peer("lb2", false, false)
	a.step(time.Millisecond, "!quorum")
	a.peerReplies("lb2", PeerAnnounce{Announced: true, Kept: true, Serving: true})
	a.step(5*time.Second, "-quorum")
}

// TestAnnounceBothOnStandby: two directors on standby that take their addresses back at the
// same time do not both withdraw for each other.
func TestAnnounceBothOnStandby(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.peer("lb2", false, false)
	a.in.Standby = map[string]bool{"any": true}
	a.step(0, "!standby")
	a.peerReplies("lb2", PeerAnnounce{Announced: true, Kept: true, Serving: true})
	a.step(time.Second, "!standby")
	a.silence("lb2")
	a.step(time.Second, "!standby")

	second := servingAnnouncer(t, nil)
	second.peerReplies("lb2", PeerAnnounce{Announced: true, Kept: true, Serving: true})
	second.in.Standby = map[string]bool{"any": true}
	second.step(0, "-standby")
}

// TestAnnounceIPVS: a kernel that does not report its table for long.
func TestAnnounceIPVS(t *testing.T) {
	a := servingAnnouncer(t, nil)
	a.in.IPVSFault = "the kernel's IPVS table was last read 31s ago"
	a.step(0, "-ipvs")
	a.in.IPVSFault = ""
	a.step(0, "+serving")
}

// TestAnnounceDaemonGone: a director whose routing daemon is gone keeps its route, and others
// do not count on it.
func TestAnnounceDaemonGone(t *testing.T) {
	a := servingAnnouncer(t, nil)
	for _, gone := range []bool{true, false} {
		a.in.DaemonGone = map[string]bool{"any": gone}
		all, _ := Announcements(a.in)
		got := all[0]
		if !got.Announced || got.Metric != a.config.Serving || got.Reason != AnnounceServing || got.Serving == gone || strings.Contains(got.Why, "routing daemon") != gone {
			t.Errorf("gone %v: %+v", gone, got)
		}
	}
}
