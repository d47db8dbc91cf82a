// This file builds the elections and holds them against each other: one VRID
// an interface, one election an address. It never knows whether an interface
// exists.
//
// PURE.
package config

import (
	"fmt"
	"net/netip"
	"time"
)

// vrid is what must be one election's on a LAN.
type vrid struct {
	iface string
	id    int64
	v6    bool // the families number theirs apart, RFC 9568 §1.4
}

// electionSet is what the elections of one director have taken so far.
type electionSet struct {
	names     map[string]Position
	vrids     map[vrid]Position
	addresses map[netip.Addr]Position
	directors map[netip.Addr]string // whose own they are
}

// buildElections makes the elections of one director.
func buildElections(root *record, director string, directors []Director, services []Service) ([]Instance, electionSet) {
	taken := electionSet{map[string]Position{}, map[vrid]Position{}, map[netip.Addr]Position{}, map[netip.Addr]string{}}
	for _, d := range directors {
		if d.Address.IsValid() {
			taken.directors[d.Address] = d.Name
		}
	}
	var all []Instance
	for _, c := range root.records("vrrp") {
		all = append(all, buildElection(c.of(director), directors, services, &taken))
	}
	oneOrder(root, director, all)
	return all, taken
}

// buildElection makes one election.
func buildElection(c *record, directors []Director, services []Service, taken *electionSet) Instance {
	e := Instance{
		Name:           c.str("name"),
		Interface:      c.str("interface"),
		VRID:           uint8(c.num("virtual_router_id")),
		Priority:       uint8(c.num("priority")),
		AdvertInterval: c.duration("advert_interval"),
		Preempt:        c.flag("preempt"),
		PreemptDelay:   c.duration("preempt_delay"),
		VirtualMAC:     c.flag("virtual_mac"),
		AnyIPv6:        !c.flag("link_local_first"),
		Checksum:       c.str("checksum"),
		Notify:         c.notify(),
		Position:       c.at,
	}
	if c.good("name") {
		c.name("election", e.Name, taken.names)
	}
	if c.good("interface") {
		if complaint := interfaceComplaint(e.Interface); complaint != "" {
			c.complain("interface", "%s", complaint)
		}
	}
	// RFC 9568 §5.2.7: the advert carries the interval in centiseconds.
	if d := e.AdvertInterval; d%(10*time.Millisecond) != 0 {
		c.complain("advert_interval", "must be whole hundredths of a second, which is what an advert carries, not %s", d)
	}
	if e.Priority == 255 && c.good("priority") {
		c.doubt("priority", "255 is for a host that owns the addresses: it takes over at once when it starts, whoever is master, and preempt does not apply (RFC 9568 §6.4.1); 254 is the highest that elects")
	}
	if e.PreemptDelay > 0 && !e.Preempt {
		c.doubt("preempt_delay", "does nothing with preempt = false")
	}
	e.Addresses = c.electionAddresses("addresses", taken)
	e.ExcludedAddresses = c.electionAddresses("excluded_addresses", taken)
	c.oneFamily(&e)
	if c.good("interface") && c.good("virtual_router_id") && interfaceComplaint(e.Interface) == "" {
		c.oneVRID(vrid{e.Interface, int64(e.VRID), len(e.Addresses) > 0 && e.Addresses[0].Addr().Is6()}, taken.vrids)
	}
	c.speech(&e)
	c.unicast(&e, directors)
	c.following(&e, services)
	c.virtualMAC(&e)
	c.along(&e)
	switch n := len(c.words("addresses")); {
	case n == 0 && c.good("addresses"):
		c.complain("addresses", "must hold at least one address")
	case n > 255: // RFC 9568 §5.2.5: a count of 8 bits
		c.complain("addresses", "must hold at most 255 addresses, which is what an advert can count, not %d: move the others to excluded_addresses", n)
	}
	return e
}

// maxFrame6 is how many addresses of IPv6 an advert can name in one frame of 1500
// octets, a proof included: what is made as a frame is not taken apart.
const maxFrame6 = 87

// virtualMAC holds virtual_mac against the rest of the election.
func (c *record) virtualMAC(e *Instance) {
	if !e.VirtualMAC {
		return
	}
	if n := len(e.Addresses); n > maxFrame6 && e.Addresses[0].Addr().Is6() {
		c.complain("virtual_mac", "an advert from it is one frame, in which %d IPv6 addresses have room, not %d: move the others to excluded_addresses", maxFrame6, n)
	}
	if len(e.Unicast) > 0 {
		c.doubt("virtual_mac", "with unicast the adverts leave from the interface's own MAC address: a switch that forgot the virtual one learns it again from the announcements, once a minute, and from answers")
	}
	if e.Priority == 255 && c.good("priority") {
		c.doubt("virtual_mac", "priority 255 is for a host that owns the addresses: on an interface that has them itself they cannot get the virtual MAC address, and the election fails")
	}
}

// oneVRID refuses a second election with the same virtual router on a LAN.
func (c *record) oneVRID(v vrid, taken map[vrid]Position) {
	at, _ := c.where("virtual_router_id")
	if first, twice := taken[v]; twice {
		c.complain("virtual_router_id", "%d is in use on %s by the election at line %d already", v.id, v.iface, first.Line)
		return
	}
	taken[v] = at
}

// electionAddresses reads a list of addresses, none of which may be in another
// election or twice in this one.
func (c *record) electionAddresses(name string, taken *electionSet) []netip.Prefix {
	var all []netip.Prefix
	for i, s := range c.words(name) {
		at, where := c.item(name, i)
		p, complaint := prefix(s)
		if complaint == "" && p.Addr().IsLoopback() {
			complaint = p.Addr().String() + " is this host's own, and cannot move"
		}
		if d, own := taken.directors[p.Addr()]; complaint == "" && own {
			complaint = fmt.Sprintf("%s is the own address of director %s, and must not move", p.Addr(), d)
		}
		first, twice := taken.addresses[p.Addr()]
		if complaint == "" && twice {
			complaint = fmt.Sprintf("%s is in an election at line %d already", p.Addr(), first.Line)
		}
		if complaint != "" {
			c.fail(at, where, "%s", complaint)
			continue
		}
		taken.addresses[p.Addr()] = at
		if p.Bits() < p.Addr().BitLen() {
			c.warn(at, where, "the prefix /%d also brings a route to %s, and may make the address a source of the director's own connections: /%d is safer",
				p.Bits(), p.Masked(), p.Addr().BitLen())
		}
		all = append(all, p)
	}
	return all
}

// oneFamily refuses addresses of two.
func (c *record) oneFamily(e *Instance) {
	for _, name := range []string{"addresses", "excluded_addresses"} {
		for i, s := range c.words(name) {
			p, complaint := prefix(s)
			if complaint == "" && len(e.Addresses) > 0 && p.Addr().Is6() != e.Addresses[0].Addr().Is6() {
				at, where := c.item(name, i)
				c.fail(at, where, "%s is not of the family of %s: an election has one, make another election of it", p.Addr(), e.Addresses[0].Addr())
			}
		}
	}
}

// samePriority warns of two directors between whom only their addresses
// decide.
// The directors' own values of preempt are compared, too: with different ones the
// priorities order only some of the takeovers.
func samePriority(root *record, directors []Director) {
	for _, c := range root.records("vrrp") {
		if !c.good("priority") {
			continue
		}
		first := map[int64]string{}
		c.onePreempt(directors)
		for _, d := range directors {
			v := c.of(d.Name)
			if !v.flag("preempt") {
				continue // whoever is master stays it: no order is a choice, too
			}
			p := v.num("priority")
			if other, same := first[p]; same {
				v.doubt("priority", "%s and %s both have %d: which of them is master depends on who was first, or on the higher address; give each its own", other, d.Name, p)
				break
			}
			first[p] = d.Name
		}
	}
}

// onePreempt explains what becomes of the addresses when only some directors
// preempt.
func (c *record) onePreempt(directors []Director) {
	for _, d := range directors[:max(len(directors)-1, 0)] {
		a := c.of(d.Name)
		for _, other := range directors[1:] {
			b := c.of(other.Name)
			if a.flag("preempt") == b.flag("preempt") {
				continue
			}
			takes, leaves := d.Name, other.Name
			if b.flag("preempt") {
				takes, leaves = leaves, takes
			}
			c.of(leaves).doubt("preempt", "only %s takes the addresses from a master of lower priority; %s never does, and takes over from silence alone: give both the same unless this is meant", takes, leaves)
			return
		}
	}
}
