package vrrp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func held(c *Config) { c.Standby = true }

func (b *bench) handOver() []string { return b.step(input{kind: inHandOver}) }

// On request a master resigns, continues to serve until its successor's advert arrives,
// and is a backup from then on.
func TestHandOver(t *testing.T) {
	b := master(t, priority(200), handover(5*time.Second))
	b.step(input{kind: inUpdate, config: config(priority(200), handover(5*time.Second), held)})
	b.want(b.handOver(), "send 0", "became backup handover")
	b.quiet(false)
	b.now = b.now.Add(600 * time.Millisecond)
	b.want(b.advert(lb2, 100), "hold 10.0.0.88")
	b.quiet(true)
	b.answer()
	b.want(b.handOver()) // a backup has no addresses to hand over
	for range 2 {
		b.now = b.now.Add(time.Second)
		b.step(input{kind: inTick})
		b.advert(lb2, 100) // of a lower priority, and not preempted
	}
	b.state(Backup)
	if len(b.m.want) > 0 || b.m.releasing() {
		t.Errorf("the addresses %v are still wanted", b.m.want)
	}
	b.want(b.run(), "send 1", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")
	b.answer()

	// No longer on standby, it preempts as configured.
	b = backup(t, priority(200), held)
	b.want(b.advert(lb2, 100))
	b.step(input{kind: inUpdate, config: config(priority(200))})
	b.want(b.advert(lb2, 100))
	b.want(b.run(), "send 200", "hold 10.0.0.88", "announce 10.0.0.88", "became master preempt")
}

// No director takes the addresses: they stay, and this director is master again.
func TestHandOverWithoutSuccessor(t *testing.T) {
	b := master(t, priority(200), handover(5*time.Second), held)
	began := b.now
	b.want(b.handOver(), "send 0", "became backup handover")
	b.want(b.run(), "send 0") // the peer may have missed the first
	b.want(b.run(), "send 1", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")
	if got := b.now.Sub(began); got != downInterval(1, time.Second) {
		t.Errorf("master again after %v", got)
	}
	if b.m.releasing() {
		t.Error("a master that leaves")
	}
	// With a shorter limit the addresses are removed first.
	b = master(t, handover(time.Second), held)
	b.handOver()
	b.want(b.run(), "hold")
	// And with none at once.
	b = master(t, held)
	b.want(b.handOver(), "send 0", "hold", "became backup handover")
}

// An owner on standby takes part like others.
func TestHeldOwner(t *testing.T) {
	b := backup(t, priority(255), held)
	b.want(b.advert(lb2, 100))
	b.want(b.run(), "send 1", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")
}

// Directors that start together: the one on standby comes last, also where it was the
// first to start, and takes over alone. Where it did, another one takes over from it.
func TestJointStartInStandby(t *testing.T) {
	for _, p := range []uint8{200, 255} {
		standby := backup(t, priority(p), held)
		for _, other := range []*bench{backup(t, priority(100)), backup(t, priority(1), noPreempt)} {
			if last := other.m.Deadline().Add(5 * time.Second); !last.Before(standby.m.Deadline()) {
				t.Errorf("the other is master %v later", last.Sub(standby.m.Deadline()))
			}
		}
		standby.want(standby.run(), "send 1", "hold 10.0.0.88", "announce 10.0.0.88", "became master silence")
		standby.answer()
		if s := standby.m.snapshot(); s.priority != 1 || s.masterPriority != 1 {
			t.Errorf("it shows the priorities %d and %d", s.priority, s.masterPriority)
		}
		standby.want(standby.advert(lb2, 2), "send 1", "hold", "became backup higher_priority")
		standby.answer()

		standby.run() // alone again
		standby.step(input{kind: inUpdate, config: config(priority(p))})
		if standby.state(Master); standby.m.priority() != p {
			t.Errorf("priority %d after the end of the standby", standby.m.priority())
		}
	}
	// Before a handover the priority stays: the peer is not to preempt.
	b := master(t, priority(200))
	b.step(input{kind: inUpdate, config: config(priority(200), held)})
	if b.m.priority() != 200 {
		t.Errorf("priority %d before the handover", b.m.priority())
	}
}

// The instances of a sync group move together, without a gap: the one that only follows
// also keeps its address until its successor's advert arrives.
func TestHandOverOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lans := [2]lan{{delay: time.Millisecond}, {delay: time.Millisecond}}
		var hosts [2][2]*host
		var engines [2][2]*Engine
		configs := [2]Config{}
		for d := range 2 {
			groups := &Groups{}
			for i := range 2 {
				h := lans[i].host(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(12 + d)}))
				e := h.engine(t, Options{Groups: groups}, priority(uint8(200-100*d)), handover(5*time.Second), func(c *Config) {
					c.SyncGroup, c.Name = "both", []string{"outer", "inner"}[i]
					configs[i] = *c
				})
				hosts[d][i], engines[d][i] = h, e
				stop := running(t, e)
				defer stop()
			}
		}
		time.Sleep(8 * time.Second)
		for i := range 2 {
			c := configs[i]
			c.Priority, c.Standby = 200, true
			engines[0][i].Update(c)
		}
		engines[0][0].HandOver() // of one: the other follows
		for range 3000 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			for i := range 2 {
				if !hasVIP(hosts[0][i]) && !hasVIP(hosts[1][i]) {
					t.Fatalf("no director has the address of %s", configs[i].Name)
				}
			}
		}
		for i := range 2 {
			a, b := engines[0][i].Status(), engines[1][i].Status()
			if a.State != Backup || hasVIP(hosts[0][i]) || b.State != Master || !hasVIP(hosts[1][i]) {
				t.Errorf("%s: %s (%s) and %s (%s)", configs[i].Name, a.State, a.Reason, b.State, b.Reason)
			}
		}
	})
}
