package vrrp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// A master that cannot hold its address must not block a peer: it resigns at once and
// tries again, but does not preempt a live peer for a while.
func TestAddressThatCannotBeAdded(t *testing.T) {
	b := backup(t)
	b.run()
	b.want(b.fail("no memory"), "send 0", "hold", "became fault address_failed")
	if p := b.m.snapshot(); p.detail != "no memory" {
		t.Errorf("reported as %q", p.detail)
	}
	b.answer()
	b.deadline(b.m.Deadline(), retryAfter)
	b.want(b.run(), "became backup retry")
	if p := b.m.snapshot(); p.detail != "no memory" {
		t.Errorf("the cause is forgotten: %q", p.detail)
	}

	// A peer of lower priority has it now, and keeps it for holdoffMin.
	first := b.now
	for b.now.Sub(first) < holdoffMin {
		b.want(b.advert(lb2, 50))
		b.deadline(b.m.Deadline(), downInterval(100, time.Second))
		b.now = b.now.Add(time.Second)
	}
	b.want(b.advert(lb2, 50)) // not followed any more
	b.run()
	b.state(Master)

	// A second failure doubles the time.
	b.fail("no memory")
	if b.m.holdoff != 2*holdoffMin {
		t.Errorf("holdoff %v after the second failure", b.m.holdoff)
	}
	for range 20 {
		b.m.fail(b.now, ReasonAddressFailed, "again")
	}
	if b.m.holdoff != holdoffMax {
		t.Errorf("holdoff %v after many", b.m.holdoff)
	}
}

// Alone it continues to try: there is no other director.
func TestAddressFailureWithoutAPeer(t *testing.T) {
	b := backup(t)
	b.run()
	b.fail("no memory")
	b.answer()
	b.run()
	b.run()
	b.state(Master)
	if got, want := b.now.Sub(b.start), 2*downInterval(100, time.Second)+retryAfter; got != want {
		t.Errorf("tried again after %v, want %v", got, want)
	}
	b.answer()
	for b.m.holdoff > 0 {
		b.run()
		if b.now.Sub(b.start) > time.Hour {
			t.Fatal("a good master is distrusted for ever")
		}
	}
}

// An owner does not wait at start, but after a failure even it does.
func TestOwnerThatFailedWaits(t *testing.T) {
	b := newBench(t, priority(255))
	b.step(input{kind: inStart})
	b.step(input{kind: inReady, from: lb1})
	b.fail("no memory")
	b.answer()
	b.want(b.run(), "became backup retry")
}

func TestFailureOfAnOlderRequestIsIgnored(t *testing.T) {
	b := backup(t)
	b.run()
	b.want(b.step(input{kind: inAddresses, addrSeq: b.m.addrSeq - 1, detail: "no memory"}))
	b.state(Master)
}

// The removal of an address that failed is retried; the peer has it already.
func TestAddressThatCannotBeRemoved(t *testing.T) {
	b := master(t)
	b.advert(lb2, 200)
	b.want(b.step(input{kind: inAddresses, prefixes: []netip.Prefix{vip}, addrSeq: b.m.addrSeq, detail: "busy"}))
	if p := b.m.snapshot(); !slices.Equal(p.present, []netip.Prefix{vip}) || p.warning != "addresses: busy" {
		t.Errorf("%+v", p)
	}
	b.deadline(b.m.Deadline(), retryAfter)
	b.want(b.run(), "hold")
	b.answer()
	if p := b.m.snapshot(); len(p.present) != 0 || p.warning != "" {
		t.Errorf("%+v", p)
	}
	b.deadline(b.m.Deadline(), downInterval(100, time.Second)-retryAfter)

	// The interface's own address is the owner's, and stays.
	b = newBench(t, priority(255))
	b.step(input{kind: inStart})
	b.step(input{kind: inReady, from: lb1})
	b.step(input{kind: inUnready, reason: ReasonLinkDown})
	b.step(input{kind: inAddresses, prefixes: []netip.Prefix{vip}, addrSeq: b.m.addrSeq, detail: "stays"})
	if !b.m.Deadline().IsZero() || b.m.snapshot().warning != "" {
		t.Error("it is fought for")
	}
}

func TestAddressPutBackIsAnnounced(t *testing.T) {
	b := master(t)
	b.m.announceLast = b.now.Add(-time.Hour)
	b.want(b.step(input{kind: inAddresses, prefixes: []netip.Prefix{vip}, addrSeq: b.m.addrSeq, restored: true}), "announce 10.0.0.88")
}

// A master whose adverts cannot be sent resigns as soon as it receives another one,
// whatever its priority; alone it stays master.
func TestMasterThatCannotSend(t *testing.T) {
	b := master(t)
	for range sendFailureLimit - 1 {
		b.step(input{kind: inSent, detail: "not permitted"})
	}
	b.want(b.advert(lb2, 50), "send 100")
	b.state(Master)
	b.step(input{kind: inSent, detail: "not permitted"})
	b.state(Master)
	if a := b.m.snapshot().warning; a != "contested: 10.0.0.13 is also master, with priority 50; the last advert could not be sent: not permitted" {
		t.Errorf("alarm %q", a)
	}
	b.want(b.advert(lb2, 50), "send 0", "hold", "became fault send_failed")
	b.answer()
	b.want(b.run(), "became backup retry")
	if a := b.m.snapshot().warning; a != "" {
		t.Errorf("a backup sends nothing, and says %q", a)
	}
	b.advert(lb2, 50)
	b.deadline(b.m.downAt, downInterval(100, time.Second)) // followed

	b = master(t)
	for range sendFailureLimit {
		b.step(input{kind: inSent, detail: "not permitted"})
	}
	b.step(input{kind: inSent})
	b.want(b.advert(lb2, 50), "send 100")
}

func TestUpdateOfAMaster(t *testing.T) {
	b := master(t)
	b.now = b.now.Add(300 * time.Millisecond)
	b.want(b.step(input{kind: inUpdate, config: config(priority(50))}))
	b.deadline(b.m.advertAt, 700*time.Millisecond)
	if p := b.m.snapshot(); p.priority != 50 || p.masterPriority != 50 {
		t.Errorf("%+v", p)
	}
	b.want(b.run(), "send 50")

	// An interval counts from now when that is earlier than what was planned.
	b.want(b.step(input{kind: inUpdate, config: config(interval(90 * time.Millisecond))}))
	b.deadline(b.m.advertAt, 90*time.Millisecond)
	b.want(b.step(input{kind: inUpdate, config: config(interval(30 * time.Second))}))
	b.deadline(b.m.advertAt, 90*time.Millisecond)
	b.want(b.run(), "send 100")
	b.deadline(b.m.advertAt, 30*time.Second)
}

func TestUpdateOfAMastersAddresses(t *testing.T) {
	addresses := func(p ...netip.Prefix) input {
		return input{kind: inUpdate, config: config(func(c *Config) { c.Addresses = p })}
	}
	b := master(t)
	b.want(b.step(addresses(vip)))
	b.want(b.step(addresses(vip, vip2)), "hold 10.0.0.88 10.0.0.89", "announce 10.0.0.89")
	b.deadline(b.m.announceAt, announceGap)
	b.answer()
	b.want(b.step(addresses(vip2, vip))) // another order is no change
	b.want(b.step(addresses(vip2)), "hold 10.0.0.89")
	b.want(b.step(addresses(vip)), "hold 10.0.0.88", "announce 10.0.0.88")
	b.want(b.fail("no memory"), "send 0", "hold", "became fault address_failed")
	b.step(addresses(vip2))
	if b.m.holdoff != 0 {
		t.Error("a corrected file is still distrusted")
	}
}

func TestUpdateOfABackup(t *testing.T) {
	b := backup(t)
	b.at(time.Second).advert(lb2, 200)
	b.at(2 * time.Second)
	b.want(b.step(input{kind: inUpdate, config: config(priority(200))}))
	b.deadline(b.m.Deadline(), downInterval(200, time.Second)-time.Second)

	// The interval of a known master continues to apply; without one it is our own.
	b.step(input{kind: inUpdate, config: config(interval(5 * time.Second))})
	if b.m.active != time.Second {
		t.Errorf("active interval %v", b.m.active)
	}
	b = backup(t)
	b.at(time.Second).step(input{kind: inUpdate, config: config(interval(5 * time.Second))})
	b.deadline(b.m.Deadline(), downInterval(100, 5*time.Second)-time.Second)

	// After a resignation the skew of the new priority counts.
	b = backup(t)
	b.advert(lb2, 0)
	b.step(input{kind: inUpdate, config: config(priority(254))})
	b.deadline(b.m.Deadline(), skew(254, time.Second))

	// Preemption that is turned on.
	b = backup(t, noPreempt)
	b.at(time.Second).advert(lb2, 50)
	b.step(input{kind: inUpdate, config: config()})
	b.at(2*time.Second).advert(lb2, 50)
	b.deadline(b.m.Deadline(), downInterval(100, time.Second)-time.Second)
}
