// This file reads the routes and rules that move with an election's addresses. It
// never knows which there are on a host.
//
// PURE.
package config

import "net/netip"

// along reads routes and rules. All of them are of the election's family.
func (c *record) along(e *Instance) {
	if len(e.Addresses) == 0 {
		return // which is complained of, and there is no family
	}
	v6 := e.Addresses[0].Addr().Is6()
	for _, t := range c.records("routes") {
		t = t.of(c.director)
		r := Route{
			To: t.network("to", v6), Via: t.neighbour("via", v6), Source: t.neighbour("source", v6),
			Interface: t.device("interface", e.Interface),
			Table:     int(t.num("table")), Metric: int(t.num("metric")),
		}
		if r.Source.IsValid() && !e.holds(r.Source) {
			t.doubt("source", "%s is none of the election's addresses: unless this director has it otherwise, the kernel refuses the route", r.Source)
		}
		e.Routes = append(e.Routes, r)
	}
	for _, t := range c.records("rules") {
		t = t.of(c.director)
		r := Rule{
			From: t.network("from", v6), To: t.network("to", v6), Mark: uint32(t.num("mark")),
			Interface: t.device("interface", ""),
			Table:     int(t.num("table")), Priority: int(t.num("priority")),
		}
		if !t.set("from") && !t.set("to") && r.Mark == 0 && r.Interface == "" {
			t.complain("table", "the rule is for every packet: say which by from, to, mark or interface")
		}
		e.Rules = append(e.Rules, r)
	}
}

// holds says whether the address is one of the election's.
func (e *Instance) holds(a netip.Addr) bool {
	for _, all := range [][]netip.Prefix{e.Addresses, e.ExcludedAddresses} {
		for _, p := range all {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}

// network reads a destination or source: a prefix, a host, or "default".
func (c *record) network(name string, v6 bool) netip.Prefix {
	s := c.str(name)
	if s == "" {
		return netip.Prefix{}
	}
	if s == "default" {
		if v6 {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, hostErr := netip.ParseAddr(s)
		if hostErr != nil || a.Zone() != "" {
			c.complain(name, `%s is no network, such as "10.9.0.0/16" or "default"`, quoted(s))
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is6() != v6:
		c.complain(name, "%s is not of the family of the election's addresses", p)
	case p != p.Masked():
		c.complain(name, "%s has bits beyond its prefix length: write %s", p, p.Masked())
	}
	return p
}

// neighbour reads one address of the family, none when it is left out.
func (c *record) neighbour(name string, v6 bool) netip.Addr {
	s := c.str(name)
	if s == "" {
		return netip.Addr{}
	}
	a, complaint := ipAddress(s)
	switch {
	case complaint != "":
		c.complain(name, "%s", complaint)
		return netip.Addr{}
	case a.Is6() != v6:
		c.complain(name, "%s is not of the family of the election's addresses", a)
	}
	return a
}

// device reads an interface.
func (c *record) device(name, otherwise string) string {
	s := c.str(name)
	if s == "" {
		return otherwise
	}
	if complaint := interfaceComplaint(s); complaint != "" {
		c.complain(name, "%s", complaint)
	}
	return s
}
