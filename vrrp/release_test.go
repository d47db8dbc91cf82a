package vrrp

import (
	"testing"
	"testing/synctest"
	"time"
)

func handover(d time.Duration) func(*Config) { return func(c *Config) { c.HandoverLimit = d } }

// quiet reports whether the last doSetAddresses silenced ARP.
func (b *bench) quiet(want bool) {
	b.t.Helper()
	if b.m.arpSilenced != want {
		b.t.Errorf("at %v: quiet is %v", b.now.Sub(b.start), b.m.arpSilenced)
	}
}

func TestYieldOnStop(t *testing.T) {
	b := master(t, handover(5*time.Second))
	stopped := b.now
	b.want(b.step(input{kind: inStop}), "send 0", "became init stop")
	b.quiet(false)
	b.deadline(b.m.Deadline(), time.Second+time.Second/16) // to resign again
	b.now = b.now.Add(300 * time.Millisecond)
	b.want(b.advert(lb2, 0)) // another director's resignation is no successor
	b.want(b.advert(lb2, 90), "hold 10.0.0.88")
	b.quiet(true)
	b.answer()
	b.want(b.advert(lb2, 90)) // it continues
	b.deadline(b.m.Deadline(), releaseDelay)
	b.want(b.run(), "hold")
	b.answer()
	if !b.m.Deadline().IsZero() || b.m.releasing() || b.now.Sub(stopped) != 300*time.Millisecond+releaseDelay {
		t.Errorf("due at %v, %v after the stop", b.m.Deadline(), b.now.Sub(stopped))
	}
}

func TestYieldWithoutASuccessor(t *testing.T) {
	b := master(t, handover(5*time.Second))
	stopped := b.now
	b.want(b.step(input{kind: inStop}), "send 0", "became init stop")
	b.want(b.run(), "send 0")
	b.want(b.run(), "hold")
	if got := b.now.Sub(stopped); got != 2*time.Second+time.Second/8 {
		t.Errorf("%v", got)
	}
	b = master(t, handover(500*time.Millisecond)) // the limit ends it before
	stopped = b.now
	b.step(input{kind: inStop})
	b.want(b.run(), "hold")
	if got := b.now.Sub(stopped); got != 500*time.Millisecond {
		t.Errorf("%v", got)
	}
	b = backup(t, handover(5*time.Second))
	b.want(b.step(input{kind: inStop}), "hold", "became init stop")
}

func TestYieldOnPreemption(t *testing.T) {
	b := master(t, handover(5*time.Second))
	b.want(b.advert(lb2, 200), "send 100", "hold 10.0.0.88", "became backup higher_priority")
	b.quiet(true)
	b.answer()
	b.now = b.now.Add(time.Second)
	b.want(b.advert(lb2, 200))
	b.want(b.run(), "hold")
	b.quiet(false)
	b.state(Backup)

	// The successor resigns during the release: this director keeps the addresses.
	b = master(t, handover(5*time.Second))
	b.advert(lb2, 200)
	b.want(b.advert(lb2, 0))
	b.want(b.run(), "send 100", "hold 10.0.0.88", "announce 10.0.0.88", "became master resigned")
	b.quiet(false)
	if b.m.releasing() {
		t.Error("a master that leaves")
	}

	// Stopped meanwhile: it finishes.
	b = master(t, handover(5*time.Second))
	b.advert(lb2, 200)
	b.want(b.step(input{kind: inStop}), "became init stop")
	b.want(b.run(), "hold")

	// The link fails: the addresses are removed.
	b = master(t, handover(5*time.Second))
	b.advert(lb2, 200)
	b.want(b.step(input{kind: inUnready, reason: ReasonLinkDown}), "hold", "became fault link_down")

	// An address that left the configuration meanwhile is removed, and for the rest ARP
	// stays silenced.
	b = master(t, handover(5*time.Second))
	b.advert(lb2, 200)
	b.want(b.step(input{kind: inUpdate, config: config(handover(5*time.Second), func(c *Config) { c.Addresses[0] = vip2 })}), "hold")
}

// A planned stop: the address is on one of the two at any time, and only one answers
// ARP for it from the successor's first advert on.
func TestHandoverWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lan{delay: time.Millisecond}
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		e1 := h1.engine(t, r1.options(), priority(200), handover(5*time.Second))
		e2 := h2.engine(t, r2.options(), handover(5*time.Second))
		stop1, stop2 := running(t, e1), running(t, e2)
		defer stop2()
		time.Sleep(6 * time.Second)
		done := make(chan struct{})
		go func() { stop1(); close(done) }()
		both, began := 0, time.Now()
		for left := false; !left; {
			select {
			case <-done:
				left = true
			default:
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if !hasVIP(h1) && !hasVIP(h2) {
				t.Fatalf("no director has the address %v after the stop", time.Since(began))
			}
			if hasVIP(h1) && hasVIP(h2) {
				both++
				h1.mu.Lock()
				if e2.Status().AdvertsSent > 1 && !h1.quiet {
					t.Errorf("two answers %v after the stop", time.Since(began))
				}
				h1.mu.Unlock()
			}
		}
		// The skew of 100, the delay of the advert, and the time to learn.
		if took := time.Since(began); took > 609375*time.Microsecond+releaseDelay+5*time.Millisecond || both < 1000 {
			t.Errorf("left after %v, both had it for %d ms", took, both)
		}
		if hasVIP(h1) || e2.Status().Reason != ReasonResigned {
			t.Errorf("%+v", e2.Status())
		}
	})
}
