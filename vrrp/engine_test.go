package vrrp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/link"
)

// recorder collects events of one instance.
type recorder struct {
	mu     sync.Mutex
	events []Event
	start  time.Time
}

func (r *recorder) take(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) last(t *testing.T) (State, string, time.Duration) {
	t.Helper()
	all := r.all()
	if len(all) == 0 {
		t.Fatal("nothing happened")
	}
	e := all[len(all)-1]
	return e.To, e.Reason, e.At.Sub(r.start)
}

// running starts an instance and returns a function that ends it and waits for its end.
func running(t *testing.T, e *Engine) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func (r *recorder) options() Options {
	r.start = time.Now()
	return Options{OnEvent: r.take}
}

func hasVIP(h *host) bool { return slices.Contains(h.holds(), vip) }

// A master sends adverts for 5 s and stops; the backup takes over exactly after 5 s of
// adverts, 3 intervals of 1 s and a skew of 156/256 s.
func TestTakeoverInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		var lag []time.Duration
		o := r.options()
		o.ObserveLag = func(d time.Duration) { lag = append(lag, d) }
		e := h.engine(t, o)
		stop := running(t, e)
		for range 6 {
			synctest.Wait()
			l.script(lb2, advertOf(200))
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		state, reason, at := r.last(t)
		if want := 8609375 * time.Microsecond; state != Master || reason != ReasonSilence || at != want {
			t.Errorf("%v by %v at %v, want master by silence at %v", state, reason, at, want)
		}
		if !hasVIP(h) {
			t.Error("master without the address")
		}
		s := e.Status()
		if s.AdvertsReceived != 6 || s.Checksums["rfc5798"] != 6 || !s.LastAdvert.Equal(r.start.Add(5*time.Second)) {
			t.Errorf("%+v", s)
		}
		if s.Transitions[Transition{Master, ReasonSilence}] != 1 || s.Transitions[Transition{Backup, ReasonStart}] != 1 {
			t.Errorf("transitions %v", s.Transitions)
		}
		stop()
		if hasVIP(h) {
			t.Error("the address outlives the election")
		}
		if s := e.Status(); s.State != Init || s.HasVIPs {
			t.Errorf("%+v", s)
		}
		if len(lag) == 0 || slices.Max(lag) != 0 {
			t.Errorf("lag %v", lag)
		}
	})
}

func TestPairElectsPreemptsAndHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lan{delay: time.Millisecond}
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		e2 := h2.engine(t, r2.options(), priority(100))
		stop2 := running(t, e2)
		defer stop2()
		time.Sleep(5 * time.Second)
		if !hasVIP(h2) {
			t.Fatal("no director has the address")
		}

		// The one with the higher priority starts later and preempts after its own down
		// interval.
		e1 := h1.engine(t, r1.options(), priority(200))
		stop1 := running(t, e1)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if state, reason, at := r1.last(t); state != Master || reason != ReasonPreempt || at != downInterval(200, time.Second) {
			t.Errorf("%v by %v at %v", state, reason, at)
		}
		if state, reason, _ := r2.last(t); state != Backup || reason != ReasonHigherPriority {
			t.Errorf("%v by %v", state, reason)
		}
		if !hasVIP(h1) || hasVIP(h2) {
			t.Error("the address is not on exactly one")
		}
		if s := e2.Status(); s.Master != lb1 || s.MasterPriority != 200 {
			t.Errorf("%+v", s)
		}

		// It resigns: the other needs its skew and the delay of the packet.
		left := time.Now()
		stop1()
		time.Sleep(time.Second)
		synctest.Wait()
		state, reason, at := r2.last(t)
		if took := r2.start.Add(at).Sub(left); state != Master || reason != ReasonResigned || took != skew(100, time.Second)+l.delay {
			t.Errorf("%v by %v after %v", state, reason, took)
		}
		if hasVIP(h1) || !hasVIP(h2) {
			t.Error("the address is not on exactly one")
		}
	})
}

func TestLinkLossIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		stop := running(t, h.engine(t, r.options()))
		defer stop()
		time.Sleep(5 * time.Second)
		for _, tt := range []struct {
			name    string
			fail    func(*link.State)
			reason  string
			restore func(*link.State)
		}{
			{"carrier", func(s *link.State) { s.Carrier = false }, ReasonLinkDown, func(s *link.State) { s.Carrier = true }},
			{"set down", func(s *link.State) { s.AdminUp, s.Carrier = false, false }, ReasonLinkDown, func(s *link.State) { s.AdminUp, s.Carrier = true, true }},
			{"address", func(s *link.State) { s.Primary = netip.Addr{} }, ReasonNoAddress, func(s *link.State) { s.Primary = lb2 }},
			{"deleted", func(s *link.State) { *s = link.State{} }, ReasonNoInterface, func(s *link.State) {
				*s = link.State{Exists: true, Index: 7, AdminUp: true, Carrier: true, Primary: lb1}
			}},
		} {
			h.set(tt.fail)
			if tt.reason == ReasonNoAddress {
				time.Sleep(addressGrace)
			}
			synctest.Wait()
			if state, reason, _ := r.last(t); state != Fault || reason != tt.reason {
				t.Errorf("%s: %v by %v", tt.name, state, reason)
			}
			if hasVIP(h) {
				t.Errorf("%s: the address is still held", tt.name)
			}
			time.Sleep(time.Minute)
			h.set(tt.restore)
			synctest.Wait()
			if state, reason, _ := r.last(t); state != Backup || reason != ReasonLinkUp {
				t.Errorf("%s: %v by %v when it was back", tt.name, state, reason)
			}
			began := time.Now()
			time.Sleep(5 * time.Second)
			if state, _, at := r.last(t); state != Master || r.start.Add(at).Sub(began) != downInterval(100, time.Second) {
				t.Errorf("%s: %v at %v", tt.name, state, r.start.Add(at).Sub(began))
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		// The first, for another source, back after the interface: and each closed.
		if n := len(h.conns); n != 3 {
			t.Errorf("%d sockets were opened, want 3", n)
		}
	})
}

// A message about the link was lost: the poll finds it.
func TestLostLinkMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		stop := running(t, h.engine(t, r.options()))
		defer stop()
		time.Sleep(4 * time.Second)
		h.mu.Lock()
		h.state.Carrier = false
		h.mu.Unlock()
		time.Sleep(pollInterval)
		synctest.Wait()
		if state, _, _ := r.last(t); state != Fault {
			t.Errorf("%v", state)
		}
	})
}

// Deleted and created again so fast that its absence was not noticed: the old socket is
// bound to the deleted interface.
func TestInterfaceIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options())
		stop := running(t, e)
		defer stop()
		time.Sleep(5 * time.Second)
		h.set(func(s *link.State) { s.Index = 9 })
		h.take(vip)
		synctest.Wait()
		h.mu.Lock()
		n := len(h.conns)
		h.mu.Unlock()
		if n != 2 || !hasVIP(h) || e.Status().State != Master {
			t.Errorf("%d sockets, held: %v, %v", n, hasVIP(h), e.Status().State)
		}
		l.script(lb2, advertOf(200))
		synctest.Wait()
		if e.Status().State != Backup {
			t.Error("deaf")
		}
	})
}

// The kernel is slow to add an address. Adverts continue, and requests that were
// replaced meanwhile are never carried out.
func TestSlowKernelDelaysNoAdvert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		h.slow = make(chan struct{})
		e := h.engine(t, r.options())
		stop := running(t, e)
		time.Sleep(downInterval(100, time.Second) + 10*time.Second + 500*time.Millisecond)
		synctest.Wait()
		if s := e.Status(); s.AdvertsSent != 11 || s.HasVIPs || s.Announcements != 0 {
			t.Errorf("%d adverts, holding %v, %d announcements", s.AdvertsSent, s.HasVIPs, s.Announcements)
		}
		close(h.slow)
		synctest.Wait()
		if s := e.Status(); !s.HasVIPs || s.Announcements != 2 {
			t.Errorf("holding %v, %d announcements", s.HasVIPs, s.Announcements)
		}
		stop()
	})
}

func TestAnnouncementsRepeatAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options())
		stop := running(t, e)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		var at []time.Duration
		for _, a := range h.announcements() {
			at = append(at, a.at.Sub(r.start)-downInterval(100, time.Second))
		}
		want := []time.Duration{0, announceGap, 2 * announceGap, 3 * announceGap, 4 * announceGap, 4*announceGap + lateRefresh}
		if !slices.Equal(at, want) {
			t.Errorf("announced at %v, want %v", at, want)
		}
		l.script(lb2, advertOf(200))
		time.Sleep(2 * time.Second)
		if n := len(h.announcements()); n != len(want) {
			t.Errorf("%d announcements, some after mastership", n)
		}
		stop()
	})
}

// The address of a killed run is served without a gap until this director's own
// takeover.
func TestLeftoverAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		h.addrs = []netip.Prefix{vip}
		e := h.engine(t, r.options())
		stop := running(t, e)
		synctest.Wait()
		if s := e.Status(); s.State != Backup || !s.HasVIPs {
			t.Errorf("%v, holding %v", s.State, s.HasVIPs)
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			if !hasVIP(h) {
				t.Fatal("there was a gap")
			}
		}
		if s := e.Status(); s.State != Master {
			t.Errorf("%v", s.State)
		}
		stop()

		h.addrs = []netip.Prefix{vip}
		e = h.engine(t, r.options())
		stop = running(t, e)
		defer stop()
		synctest.Wait()
		l.script(lb2, advertOf(1))
		synctest.Wait()
		if hasVIP(h) || e.Status().HasVIPs {
			t.Error("kept although there is a master")
		}
	})
}

func TestAddressFailureIsVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		h.failAdd = errors.New("no memory")
		e := h.engine(t, r.options())
		stop := running(t, e)
		defer stop()
		time.Sleep(downInterval(100, time.Second))
		synctest.Wait()
		if s := e.Status(); s.State != Fault || s.Reason != ReasonAddressFailed || s.Detail != "no memory" {
			t.Errorf("%+v", s)
		}
		if n := len(h.announcements()); n != 0 {
			t.Errorf("%d announcements of an address that is not there", n)
		}
		h.fail(&h.failAdd, nil)
		time.Sleep(retryAfter + downInterval(100, time.Second))
		synctest.Wait()
		if s := e.Status(); s.State != Master || !s.HasVIPs || s.Alarm != "" {
			t.Errorf("%+v", s)
		}
	})
}

func TestAddressTakenAwayIsPutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		o := r.options()
		var mu sync.Mutex
		var calls []Restored
		o.OnRestored = func(r Restored) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, r)
		}
		e := h.engine(t, o)
		stop := running(t, e)
		defer stop()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		before := len(h.announcements())
		h.take(vip)
		synctest.Wait()
		if !hasVIP(h) || len(h.announcements()) != before+1 {
			t.Error("not put back and announced")
		}
		for range 5 {
			time.Sleep(time.Second)
			h.take(vip)
			synctest.Wait()
		}
		mu.Lock()
		restored := slices.Clone(calls)
		mu.Unlock()
		if !hasVIP(h) || len(restored) != 1 || len(restored[0].Addresses) != 1 || restored[0].Addresses[0] != vip {
			t.Errorf("reported at once: %+v", restored)
		}
		time.Sleep(2 * logEvery)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if restored = calls; len(restored) != 2 || e.Status().Restored != 6 {
			t.Errorf("reported: %+v, counted %d", restored, e.Status().Restored)
		}
	})
}

func TestSendFailureIsVisibleAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options())
		stop := running(t, e)
		defer stop()
		time.Sleep(5 * time.Second)
		h.fail(&h.failSend, errors.New("not permitted"))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if s := e.Status(); s.State != Master || s.Alarm != "the last advert could not be sent: not permitted" {
			t.Errorf("%v, %q", s.State, s.Alarm)
		}
		l.script(lb2, advertOf(1))
		synctest.Wait()
		if s := e.Status(); s.State != Fault || s.Reason != ReasonSendFailed || hasVIP(h) {
			t.Errorf("%+v", s)
		}
	})
}

func TestSocketThatDoesNotOpenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options())
		stop := running(t, e)
		defer stop()
		time.Sleep(5 * time.Second)
		h.fail(&h.failDial, errors.New("too many open files"))
		h.mu.Lock()
		close(h.conns[0].in) // reading fails from now on
		h.mu.Unlock()
		synctest.Wait()
		if s := e.Status(); s.State != Fault || s.Reason != ReasonSocket || s.Detail != "too many open files" {
			t.Errorf("%+v", s)
		}
		h.fail(&h.failDial, nil)
		time.Sleep(redialDelay)
		synctest.Wait()
		if s := e.Status(); s.State != Backup || s.Reason != ReasonLinkUp {
			t.Errorf("%+v", s)
		}
		h.fail(&h.failLook, errors.New("netlink is busy")) // not knowing changes nothing
		time.Sleep(2 * pollInterval)
		if s := e.Status(); s.State != Master {
			t.Errorf("%+v", s)
		}
	})
}

func TestOwnAdvertIsNotAPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		e := h.engine(t, r.options())
		stop := running(t, e)
		defer stop()
		time.Sleep(5 * time.Second)
		l.script(lb1, advertOf(200))
		synctest.Wait()
		if s := e.Status(); s.State != Master || s.Dropped["own"] != 1 {
			t.Errorf("%v, %v", s.State, s.Dropped)
		}
	})
}

func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h1, h2 := l.host(lb1), l.host(lb2)
		r1, r2 := &recorder{}, &recorder{}
		woken := make(chan struct{}, 100)
		o := r1.options()
		o.Wake = func() { woken <- struct{}{} }
		e1, e2 := h1.engine(t, o, priority(200)), h2.engine(t, r2.options())
		defer running(t, e1)()
		defer running(t, e2)()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for len(woken) > 0 {
			<-woken
		}

		// Lowered below the peer's: the peer preempts.
		c := config(priority(50))
		e1.Update(c)
		synctest.Wait()
		if s := e1.Status(); s.Priority != 50 || len(woken) == 0 {
			t.Errorf("priority %d, woken %d times", s.Priority, len(woken))
		}
		time.Sleep(5 * time.Second)
		if !hasVIP(h2) || hasVIP(h1) {
			t.Error("the better one does not hold the address")
		}
		c.Priority, c.Addresses = 201, []netip.Prefix{vip, vip2}
		e1.Update(c)
		time.Sleep(5 * time.Second)
		if got := h1.holds(); !slices.Equal(got, []netip.Prefix{vip, vip2}) {
			t.Errorf("holds %v", got)
		}
		if s := e2.Status(); s.Mismatched == 0 || s.Alarm == "" {
			t.Errorf("%+v", s)
		}
		// An impossible configuration is refused as a whole.
		c.AdvertInterval = time.Millisecond
		c.Priority = 10
		e1.Update(c)
		synctest.Wait()
		if s := e1.Status(); s.Priority != 201 {
			t.Errorf("priority %d", s.Priority)
		}
		c.Interface, c.VRID = "other", 9
		if !NeedsRestart(config(), c) || NeedsRestart(config(), config(priority(1), noPreempt)) {
			t.Error("NeedsRestart is wrong")
		}
	})
}

// Stopped before it had begun, or while the kernel hangs: it ends.
func TestStopAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h := l.host(lb1)
		running(t, h.engine(t, Options{}))()
		if !h.closed {
			t.Error("the sockets are left open")
		}
		h = l.host(lb2)
		h.addrs = []netip.Prefix{vip}
		running(t, h.engine(t, Options{}))()
		if hasVIP(h) {
			t.Error("a leftover address outlives a clean end")
		}
		h = l.host(lb2)
		e := h.engine(t, Options{})
		if err := e.Close(); err != nil || !h.closed {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestStopWhileTheKernelHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h := l.host(lb1)
		h.slow = make(chan struct{})
		stop := running(t, h.engine(t, Options{}))
		time.Sleep(5 * time.Second)
		time.AfterFunc(time.Minute, func() { close(h.slow) }) // the kernel replies again
		stop()
	})
}

// An advert that is in the queue when the timer is handled takes precedence.
func TestTimerLooksIntoTheInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		o := r.options()
		var e *Engine
		o.ObserveLag = func(time.Duration) {
			e.adverts <- rxAdvert{at: time.Now(), from: lb2, advert: advertOf(200)}
		}
		e = h.engine(t, o)
		stop := running(t, e)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := e.Status(); s.State != Backup || s.Transitions[Transition{Master, ReasonSilence}] != 0 {
			t.Errorf("%v, %v", s.State, s.Transitions)
		}
		stop()
	})
}

// An address that a network manager removes for a moment is no fault, and the virtual
// addresses that were removed with it are restored at once.
func TestAddressFlushedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		stop := running(t, h.engine(t, r.options()))
		defer stop()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		n := len(r.all())
		for range 3 {
			h.set(func(s *link.State) { s.Primary = netip.Addr{} })
			h.take(vip)
			synctest.Wait()
			if !hasVIP(h) {
				t.Error("the virtual address was not restored")
			}
			time.Sleep(300 * time.Millisecond)
			h.set(func(s *link.State) { s.Primary = lb1 })
			time.Sleep(addressGrace)
		}
		synctest.Wait()
		if all := r.all(); len(all) != n {
			t.Errorf("%v", all[n:])
		}
	})
}

// Neighbours learn a new hardware address of the interface at once.
func TestHardwareAddressChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lan
		h, r := l.host(lb1), &recorder{}
		h.set(func(s *link.State) { s.MAC = "02:00:00:00:00:01" })
		stop := running(t, h.engine(t, r.options()))
		defer stop()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		n := len(h.announcements())
		h.set(func(s *link.State) { s.MAC = "02:00:00:00:00:02" })
		synctest.Wait()
		if got := len(h.announcements()); got != n+1 {
			t.Errorf("%d announcements, want %d", got, n+1)
		}
		time.Sleep(5 * announceGap)
		synctest.Wait()
		if got := len(h.announcements()); got != n+1+announceRepeats {
			t.Errorf("%d announcements, want %d", got, n+1+announceRepeats)
		}
	})
}
