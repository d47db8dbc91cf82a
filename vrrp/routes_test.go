package vrrp

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lvsd/vrrp/link"
)

var (
	wayRoute = Route{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.0.0.99"), Interface: "eth0", Table: 100, Source: vip.Addr()}
	wayRule  = Rule{From: vip, Table: 100, Priority: 1000}
)

func withWay(c *Config) { c.Routes, c.Rules = []Route{wayRoute}, []Rule{wayRule} }

// Routes and rules are added after the addresses and removed before them; the master
// applies a changed list; one that fails is a fault, as for an address.
func TestRoutesMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(lan).host(lb1)
		e := h.engine(t, Options{}, withWay)
		stop := running(t, e)
		synctest.Wait()
		if a, moves := h.moved(); !a.Empty() || !slices.Equal(moves, []string{"false with 0"}) {
			t.Errorf("a backup's: %v", moves)
		}
		time.Sleep(4 * time.Second)
		a, moves := h.moved()
		if s := e.Status(); s.State != Master || a.Empty() || moves[len(moves)-1] != "true with 1" {
			t.Errorf("%v, %v", s.State, moves)
		}
		h.mu.Lock()
		h.gone = []string{"route 10.9.0.0/16"}
		h.mu.Unlock()
		h.set(func(*link.State) {})
		synctest.Wait()
		if s := e.Status(); s.State != Master || s.Restored != 1 {
			t.Errorf("%v, %d restored", s.State, s.Restored)
		}
		fewer := config(func(c *Config) { c.Rules = []Rule{wayRule} })
		e.Update(fewer)
		synctest.Wait()
		if a, _ = h.moved(); !a.Equal(link.ExtraRoutes{Routes: fewer.Routes, Rules: fewer.Rules}) {
			t.Errorf("%+v", a)
		}
		h.fail(&h.failMove, errors.New("network is unreachable"))
		h.set(func(*link.State) {})
		synctest.Wait()
		a, _ = h.moved()
		if s := e.Status(); s.State != Fault || s.Reason != ReasonAddressFailed || s.HasVIPs || !a.Empty() {
			t.Errorf("%v, %s, holding %v, %+v", s.State, s.Reason, s.HasVIPs, a)
		}
		h.fail(&h.failMove, nil)
		time.Sleep(10 * time.Second)
		a, _ = h.moved()
		if s := e.Status(); s.State != Master || a.Empty() {
			t.Errorf("%v, %+v", s.State, a)
		}
		stop()
		if a, moves = h.moved(); !a.Empty() || moves[len(moves)-1] != "false with 1" {
			t.Errorf("the addresses went first: %v", moves)
		}
	})
}

// moved is what the fake's routes and rules are, and how they came.
func (h *host) moved() (link.ExtraRoutes, []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.extraRoutes, slices.Clone(h.moves)
}

// On a real kernel: present with the master, restored when removed, removed with it,
// and those of a killed one when another master's advert arrives.
func TestKernelRoutesMove(t *testing.T) {
	s := pair(t)
	c1, c2 := config(priority(200), interval(fast), withWay), config(interval(fast), withWay)
	d1, d2 := s.director("d1", c1), s.director("d2", c2)
	has := func(host string) bool {
		return strings.Contains(ip(t, "-n", s.ns(host), "route", "show", "table", "all"), "10.9.0.0/16 via 10.0.0.99 dev eth0 table 100") &&
			strings.Contains(ip(t, "-n", s.ns(host), "rule", "show"), "1000:\tfrom 10.0.0.88 lookup 100")
	}
	none := func(host string) bool {
		return !strings.Contains(ip(t, "-n", s.ns(host), "route", "show", "table", "all"), "10.9.0.0/16") &&
			!strings.Contains(ip(t, "-n", s.ns(host), "rule", "show"), "1000:")
	}
	moved := func(to, from string) {
		t.Helper()
		eventually(t, "routes and rules on "+to+" and not on "+from, func() bool { return has(to) && none(from) })
	}
	s.holder("d1", "d2", vip)
	moved("d1", "d2")
	ip(t, "-n", s.ns("d1"), "route", "del", "10.9.0.0/16", "table", "100")
	eventually(t, "the route is put back", func() bool { return has("d1") })
	ip(t, "-n", s.ns("d1"), "rule", "del", "priority", "1000")
	eventually(t, "the rule is put back", func() bool { return has("d1") })
	eventually(t, "two are counted", func() bool { return d1.status().Restored == 2 })
	if st := d1.status(); st.State != Master {
		t.Errorf("%+v", st)
	}
	d1.end(syscall.SIGTERM)
	moved("d2", "d1")
	d1 = s.director("d1", c1)
	moved("d1", "d2")
	d1.end(syscall.SIGKILL)
	eventually(t, "takeover", func() bool { return has("d2") && has("d1") })
	c1.Preempt = false // or it is master again before the worker looks
	d1 = s.director("d1", c1)
	moved("d2", "d1")
	d2.end(syscall.SIGTERM)
	moved("d1", "d2")
	d1.end(syscall.SIGTERM)
	if !none("d1") || !none("d2") {
		t.Error("routes or rules outlive the directors")
	}
}
