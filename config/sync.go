// This file builds what the directors do for each other and for themselves:
// [ipvs.sync], by which connections survive a failover, and [guard], which
// doubts a mass failure. It never sends a packet.
//
// PURE.
package config

import (
	"fmt"
	"net/netip"
	"slices"
)

// sync makes [ipvs.sync] for the record's director; nil when there is none.
func (c *record) sync(root *record) *Sync {
	t, ok := c.get("sync").(*record)
	if !ok {
		return nil
	}
	t = t.of(c.director)
	s := &Sync{
		Interface:     t.str("interface"),
		ID:            uint8(t.num("id")),
		VRRP:          t.str("vrrp"),
		Port:          uint16(t.num("port")),
		TTL:           uint8(t.num("ttl")),
		MaxLen:        int(t.num("maxlen")),
		RefreshPeriod: t.duration("refresh_period"),
	}
	if t.good("interface") {
		if complaint := interfaceComplaint(s.Interface); complaint != "" {
			t.complain("interface", "%s", complaint)
		}
	}
	t.wholeSeconds("refresh_period")
	s.VRRP = t.watched(root)
	s.Group = t.group()
	if s.MaxLen > 0 && s.MaxLen < minDatagram {
		t.complain("maxlen", "must be 0, which lets the interface's MTU decide, or %d to %d, not %d", minDatagram, maxDatagram, s.MaxLen)
	}
	s.Threshold = t.threshold()
	if !c.flag("manage_sysctls") && (t.set("threshold") || t.set("refresh_period")) {
		name := "threshold"
		if !t.set(name) {
			name = "refresh_period"
		}
		t.doubt(name, "does nothing with manage_sysctls = false: net.ipv4.vs.sync_threshold and sync_refresh_period are then yours to set")
	}
	return s
}

// watched reads the election that status and warnings refer to.
func (c *record) watched(root *record) string {
	var names []string
	for _, e := range root.records("vrrp") {
		if name := e.str("name"); name != "" {
			names = append(names, name)
		}
	}
	switch name := c.str("vrrp"); {
	case c.set("vrrp") && c.good("vrrp") && root.good("vrrp") && !slices.Contains(names, name):
		c.complain("vrrp", "no [[vrrp]] has the name %s%s", quoted(name), suggest(name, names))
		return ""
	case c.set("vrrp"):
		return name
	case len(names) > 0:
		return names[0]
	}
	return ""
}

// group reads the address that connections are sent to.
func (c *record) group() netip.Addr {
	s := c.str("group")
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil || !a.IsMulticast() || a.Is4In6():
		c.complain("group", `must be a multicast address such as "224.0.0.81", not %s`, quoted(s))
		return netip.Addr{}
	case a.Zone() != "":
		c.complain("group", "must be without a zone: interface says where")
		return netip.Addr{}
	}
	return a
}

// threshold reads the two numbers of sync_threshold as the kernel would
// (proc_do_sync_threshold, ip_vs_ctl.c).
func (c *record) threshold() [2]int {
	numbers, _ := c.get("threshold").([]int64)
	if !c.good("threshold") {
		return [2]int{}
	}
	if len(numbers) != 2 {
		c.complain("threshold", "must be two numbers, such as [3, 50], not %d", len(numbers))
		return [2]int{}
	}
	for i, n := range numbers {
		if n < 0 || n > 1<<30 {
			at, p := c.item("threshold", i)
			c.fail(at, p, "must be 0 to %d, not %d", 1<<30, n)
			return [2]int{}
		}
	}
	if numbers[1] != 0 && numbers[0] >= numbers[1] {
		c.complain("threshold", "the first number, %d, must be below the second, %d, unless that is 0", numbers[0], numbers[1])
	}
	return [2]int{int(numbers[0]), int(numbers[1])}
}

// buildGuard makes [guard]; nil without witnesses.
func buildGuard(c *record, elections electionSet) *Guard {
	g := &Guard{Share: int(c.num("share"))}
	for i, s := range c.words("witnesses") {
		a, complaint := ipAddress(s)
		at, moves := elections.addresses[a]
		switch {
		case complaint != "":
		case moves:
			complaint = fmt.Sprintf("%s is in an election, at line %d, and may be this host's: name a gateway or the peer's own address", a, at.Line)
		case a.IsLoopback():
			complaint = a.String() + " answers even when this host is cut off: name a gateway or the peer"
		case slices.Contains(g.Witnesses, a):
			complaint = a.String() + " is there twice"
		}
		if complaint != "" {
			at, p := c.item("witnesses", i)
			c.fail(at, p, "%s", complaint)
			continue
		}
		g.Witnesses = append(g.Witnesses, a)
	}
	if len(c.words("witnesses")) == 0 {
		if c.set("share") && c.good("share") && c.good("witnesses") && g.Share != defaultShare {
			c.doubt("share", "does nothing without witnesses")
		}
		return nil
	}
	return g
}
