package vrrp

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/link"
)

// conflicts collects the address conflicts that are reported.
type conflicts struct {
	mu  sync.Mutex
	all []AddressConflict
}

func (c *conflicts) take(k AddressConflict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, k)
}

// next returns the oldest one, and removes it.
func (c *conflicts) next() (k AddressConflict, ok bool) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return k, false
	}
	k, c.all = c.all[0], c.all[1:]
	return k, true
}

// Another host announces the address of a master: the master announces it soon, at a
// bounded rate, and reports it until the other one has been silent for a while.
func TestAnotherHostWithTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := new(lan).host(lb1), &conflicts{}
		e := h.engine(t, Options{OnAddressConflict: c.take})
		defer running(t, e)()
		h.sight(link.Sighting{Address: vip.Addr(), MAC: "02:00:00:00:00:09"}) // it does not listen yet
		time.Sleep(2 * time.Minute)
		before := len(h.announcements())
		for range 100 {
			h.sight(link.Sighting{Address: vip.Addr(), MAC: "02:00:00:00:00:09"})
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		// Once after sightedDelay; for another announceGap none follows.
		if n := len(h.announcements()) - before; n != 1 {
			t.Errorf("%d announcements within a second", n)
		}
		time.Sleep(announceGap + 2*sightedDelay - time.Second) // of the bubble: beyond the second announcement
		synctest.Wait()
		if n := len(h.announcements()) - before; n != 2 {
			t.Errorf("%d announcements", n)
		}
		if k, ok := c.next(); ok {
			t.Errorf("reported at once: %+v", k)
		}
		time.Sleep(time.Second)
		h.sight(link.Sighting{Address: vip.Addr(), MAC: "02:00:00:00:00:09"})
		synctest.Wait()
		seen := time.Now()
		if k, ok := c.next(); !ok || !k.On || k.Name != "web" || k.Address != vip.Addr() || !strings.Contains(k.Detail, "02:00:00:00:00:09 on eth0") {
			t.Errorf("%+v, %v", k, ok)
		}
		if s := e.Status(); len(s.Conflicts) != 1 || !strings.Contains(s.Alarm, "address conflict: 10.0.0.88 is also used by 02:00:00:00:00:09") {
			t.Errorf("%+v: %s", s.Conflicts, s.Alarm)
		}
		time.Sleep(2 * time.Minute)
		if k, ok := c.next(); !ok || k.On || k.At.Sub(seen) < 14*time.Second || k.At.Sub(seen) > 16*time.Second || len(e.Status().Conflicts) > 0 || e.Status().Alarm != "" {
			t.Errorf("%+v, %v: %+v", k, ok, e.Status())
		}
		// One that only replies to this host costs no more than the usual ones, which
		// are more frequent meanwhile.
		before = len(h.announcements())
		for range 10 {
			h.sight(link.Sighting{Address: vip.Addr(), MAC: "02:00:00:00:00:0a", Solicited: true})
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if n := len(h.announcements()) - before; n != 1+announceRepeats+3 {
			t.Errorf("%d announcements", n)
		}
		// An address of another master is no conflict for a backup.
		l := h.lan
		l.script(lb2, advertOf(200))
		synctest.Wait()
		if s := e.Status(); s.State != Backup || len(s.Conflicts) > 0 || len(h.guarded) > 0 {
			t.Errorf("%s, %+v, listens for %v", s.State, s.Conflicts, h.guarded)
		}
	})
}

// The LAN is probed for other holders, but not before the former master has had the
// time to resign.
func TestHoldersAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(lan).host(lb1)
		e := h.engine(t, Options{})
		defer running(t, e)()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		since := e.Status().Since
		h.mu.Lock()
		defer h.mu.Unlock()
		if n := len(h.probes); n < announceRepeats+14 || n > announceRepeats+17 || h.probes[0].Sub(since) != announceGap {
			t.Errorf("asked at %v, master since %v", h.probes, since)
		}
	})
}

// Another program adds the address of a backup to the interface, or to another one: it
// stays, and is reported.
func TestAddressOfABackupOnTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := new(lan).host(lb1), &conflicts{}
		e := h.engine(t, Options{OnAddressConflict: c.take})
		stop := running(t, e)
		defer stop()
		peer := func(d time.Duration) {
			for ; d > 0; d -= 500 * time.Millisecond {
				h.lan.script(lb2, advertOf(200))
				time.Sleep(500 * time.Millisecond)
			}
		}
		peer(10 * time.Second)
		if k, ok := c.next(); ok {
			t.Errorf("%+v", k)
		}
		h.mu.Lock()
		h.addrs = append(h.addrs, vip)
		h.mu.Unlock()
		h.set(func(s *link.State) { s.Elsewhere = []link.LocalHolder{{Address: vip.Addr(), Interface: "eth1"}} })
		peer(3 * time.Second)
		for _, where := range []string{"is on eth0 by another process", "is on eth1 of this director as well"} {
			if k, ok := c.next(); !ok || !k.On || k.Detail != where {
				t.Errorf("%+v, want %q", k, where)
			}
		}
		if s := e.Status(); s.State != Backup || len(s.Conflicts) != 2 {
			t.Errorf("%+v", s)
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("the stop took %v", took)
		}
		if !hasVIP(h) {
			t.Error("an address that another program added was removed")
		}
	})
}

// An address that a reload takes from a master stays for a moment, in which another
// instance may want it.
func TestAddressThatLeavesTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(lan).host(lb1)
		two := func(c *Config) { c.Addresses = append(c.Addresses, vip2) }
		e := h.engine(t, Options{}, two)
		defer running(t, e)()
		time.Sleep(10 * time.Second)
		e.Update(config())
		time.Sleep(moveGrace - time.Millisecond)
		synctest.Wait()
		if n := len(h.holds()); n != 2 {
			t.Errorf("%d addresses at once", n)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := h.holds(); len(got) != 1 || got[0] != vip || e.Status().State != Master || e.Status().Alarm != "" {
			t.Errorf("%v, %+v", got, e.Status())
		}
	})
}
