package vrrp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A director whose link is up before the switch forwards becomes master because no
// adverts arrive. The limits of a backup apply to it then, too.
func TestLateForwarding(t *testing.T) {
	late := func(b *bench, after time.Duration) []string {
		b.step(input{kind: inUnready, reason: ReasonLinkDown})
		b.step(input{kind: inReady, from: lb1})
		b.run()
		b.state(Master)
		b.answer()
		b.now = b.now.Add(after)
		return b.advert(lb2, 90)
	}
	yields := []string{"send 0", "hold", "became backup no_preempt"}
	for name, change := range map[string]func(*Config){"no preemption": noPreempt, "delay": preemptDelay(10 * time.Second)} {
		b := backup(t, change)
		b.want(late(b, 30*time.Second), yields...)
		if b.m.master != lb2 || b.m.masterPriority != 90 {
			t.Errorf("%s: the master is %v", name, b.m.master)
		}
	}
	b := backup(t, preemptDelay(10*time.Second))
	late(b, 30*time.Second)
	for left := b.now.Add(10 * time.Second); b.now.Before(left); b.now = b.now.Add(time.Second) {
		b.advert(lb2, 90)
	}
	b.advert(lb2, 90)
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master preempt")

	stays := func(b *bench, got []string) {
		t.Helper()
		b.state(Master)
		if len(got) == 0 || got[0] != "send 100" {
			t.Errorf("%q", got)
		}
	}
	b = backup(t) // it may preempt
	stays(b, late(b, 30*time.Second))
	b = backup(t, noPreempt) // the other one started later
	stays(b, late(b, 3*time.Minute))
	b = backup(t, noPreempt) // it has received adverts, so the link worked
	b.advert(lb2, 90)
	b.run()
	b.answer()
	stays(b, b.advert(lb2, 90))
}

// Until the switch may forward, announcements are repeated sooner than each minute: the
// first ones were lost, and clients have the other director's MAC address.
func TestLateForwardingIsAnnounced(t *testing.T) {
	announced := func(b *bench, within time.Duration) (times int) {
		for end := b.now.Add(within); b.now.Before(end); {
			b.now = b.m.Deadline()
			for _, a := range b.step(input{kind: inTick}) {
				if strings.HasPrefix(a, "announce ") {
					times++
				}
			}
		}
		return times
	}
	b := backup(t)
	b.step(input{kind: inUnready, reason: ReasonLinkDown})
	b.step(input{kind: inReady, from: lb1})
	b.run()
	b.state(Master)
	b.answer()
	if n := announced(b, 50*time.Second); n < 8 {
		t.Errorf("a master that has received nobody announced %d times in the 50 s of a spanning tree", n)
	}
	announced(b, lateForwarding)
	if n := announced(b, 3*time.Minute); n > 3 {
		t.Errorf("and %d times in 3 minutes later", n)
	}
}

// The winner of a conflict must learn of it to announce the addresses: the loser
// advertises once more. A master that was just preempted is no conflict.
func TestLoserShowsItself(t *testing.T) {
	b := master(t)
	b.now = b.now.Add(20 * time.Second)
	got := b.advert(lb2, 90)
	if !b.m.snapshot().conflict || len(got) != 2 || got[1] != "announce 10.0.0.88" {
		t.Errorf("%q, conflict %v", got, b.m.snapshot().conflict)
	}
	b = backup(t, priority(200))
	b.advert(lb2, 90)
	b.run()
	b.state(Master)
	b.answer()
	b.advert(lb2, 90)
	if b.m.snapshot().conflict {
		t.Errorf("a preempted master is a conflict: %s", b.m.conflict)
	}
}

// A master that resigns beside this one may have announced the addresses.
func TestResignationOfASecondMaster(t *testing.T) {
	b := master(t)
	b.now = b.now.Add(20 * time.Second)
	b.want(b.advert(lb2, 0), "send 100", "announce 10.0.0.88")
}

func TestGroupKeepsFromTakingOver(t *testing.T) {
	expired := func(b *bench, g groupMaster) []string {
		b.now = b.m.Deadline()
		g.member, g.master, g.until = "gateway", lb2, b.now.Add(time.Second)
		return b.step(input{kind: inTick, group: []groupMaster{g}})
	}
	b := backup(t)
	b.want(expired(b, groupMaster{}))
	b.deadline(b.m.Deadline(), time.Second)
	if w := b.m.warning(); !strings.Contains(w, `sync group member "gateway" follows the master 10.0.0.13`) || !b.m.snapshot().groupWait {
		t.Errorf("%q", w)
	}
	b.run()
	b.state(Master) // gateway follows no instance any more
	if b.m.warning() != "" || b.m.snapshot().groupWait {
		t.Errorf("%q", b.m.warning())
	}
	for wins, want := range map[bool]State{true: Backup, false: Master} {
		b := backup(t, priority(200))
		b.advert(lb2, 90)
		expired(b, groupMaster{wins: wins})
		b.state(want)
	}
	b = backup(t)
	b.advert(lb2, 0) // it resigns itself, for the whole group
	expired(b, groupMaster{})
	b.state(Master)
}

// A cable that fails every few seconds must not move the addresses each time.
func TestFlappingLink(t *testing.T) {
	b := backup(t, priority(200))
	b.run()
	b.state(Master)
	b.answer()
	b.now = b.now.Add(time.Hour)
	b.advert(lb2, 0) // announcements continue
	preempts := 0
	flap := func() {
		b.step(input{kind: inUnready, reason: ReasonLinkDown})
		b.now = b.now.Add(time.Second)
		b.step(input{kind: inReady, from: lb1})
		for range 8 { // the other one is master meanwhile
			b.now = b.now.Add(time.Second)
			b.advert(lb2, 90)
			if b.m.state == Backup && !b.m.Deadline().After(b.now.Add(time.Second)) {
				b.run()
			}
		}
		if b.m.state == Master {
			preempts++
			b.answer()
		}
	}
	for range 12 {
		flap()
	}
	if preempts != 1+flapsAllowed {
		t.Errorf("it preempted %d times", preempts)
	}
	if !strings.Contains(b.m.detail, "no preemption for 10s") {
		t.Errorf("%q", b.m.detail)
	}
}

// Directors that took over at the same moment must not all resign.
func TestJointTakeover(t *testing.T) {
	b := master(t, noPreempt)
	b.now = b.now.Add(time.Millisecond)
	b.advert(lb2, 90)
	b.state(Master)
}

// With a startup delay a director that receives no other does not take over earlier, and
// one that receives a master takes part as usual from then on.
func TestStartupDelay(t *testing.T) {
	delayed := func(c *Config) { c.StartupDelay = 50 * time.Second }
	for _, change := range []func(*Config){priority(100), priority(255)} {
		b := backup(t, change, delayed)
		b.deadline(b.m.Deadline(), 50*time.Second)
		b.want(b.advert(lb2, 90)) // to be preempted, when its down timer is over
		b.deadline(b.m.Deadline(), downInterval(b.m.priority(), time.Second))
	}
	b := backup(t, delayed)
	b.step(input{kind: inUnready, reason: ReasonLinkDown})
	b.step(input{kind: inReady, from: lb1})
	b.deadline(b.m.Deadline(), 50*time.Second)
	b.advert(lb2, 0) // a master resigns
	if wait := b.m.Deadline().Sub(b.now); wait > time.Second {
		t.Errorf("it waits %v after a resignation", wait)
	}
	b = newBench(t, delayed) // addresses of an earlier run continue to be served
	b.step(input{kind: inStart, prefixes: []netip.Prefix{vip}})
	b.step(input{kind: inReady, from: lb1})
	b.deadline(b.m.Deadline(), downInterval(100, time.Second)-2*time.Second)
}
