package vrrp

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/link"
)

// Directors of an instance without addresses elect one of them; one that has addresses
// refuses their adverts.
func TestInstanceWithoutAddresses(t *testing.T) {
	none := func(c *Config) { c.Addresses = nil }
	synctest.Test(t, func(t *testing.T) {
		var l lan
		first := l.host(lb1).engine(t, Options{}, none, priority(200))
		second := l.host(lb2).engine(t, Options{}, none)
		stop := running(t, first)
		defer running(t, second)()
		time.Sleep(10 * time.Second)
		if a, b := first.Status(), second.Status(); a.State != Master || b.State != Backup || b.Master != lb1 || a.Alarm+b.Alarm != "" {
			t.Errorf("%+v\n%+v", a, b)
		}
		stop()
		synctest.Wait()
		time.Sleep(time.Second)
		if s := second.Status(); s.State != Master || s.Reason != ReasonResigned {
			t.Errorf("%+v", s)
		}
		other := l.host(netip.MustParseAddr("10.0.0.14")).engine(t, Options{})
		defer running(t, other)()
		time.Sleep(2 * time.Second)
		if other.Status().Dropped["count"] == 0 {
			t.Errorf("%+v", other.Status())
		}
	})
}

// A reload that moves an address to another interface sets the addresses again; where
// that interface is missing the instance is in fault.
func TestAddressMovesToAnotherInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(lan).host(lb1)
		e := h.engine(t, Options{})
		defer running(t, e)()
		time.Sleep(2 * time.Minute)
		cfg := e.openedConfig
		cfg.Interfaces = map[netip.Addr]string{vip.Addr(): "eth1"}
		if NeedsRestart(e.openedConfig, cfg) {
			t.Error("it restarts")
		}
		h.mu.Lock()
		sets := h.sets
		h.mu.Unlock()
		announced := len(h.announcements())
		e.Update(cfg)
		synctest.Wait()
		h.mu.Lock()
		if h.placed[vip.Addr()] != "eth1" || h.sets != sets+1 {
			t.Errorf("placed %v, set %d times", h.placed, h.sets-sets)
		}
		h.mu.Unlock()
		if n := len(h.announcements()) - announced; n != 1 {
			t.Errorf("%d announcements", n)
		}
		h.set(func(s *link.State) { s.Missing = "eth1" })
		synctest.Wait()
		if s := e.Status(); s.State != Fault || s.Reason != ReasonNoInterface || s.Detail != "no interface eth1" {
			t.Errorf("%+v", s)
		}
	})
}
