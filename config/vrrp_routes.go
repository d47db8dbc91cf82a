// Routes and rules that move with an instance's addresses.

package config

import (
	"net/netip"

	"lvsd/config/reader"
	"lvsd/config/values"
)

// buildRoutes reads routes and rules. They must be of the instance's address family.
func buildRoutes(parent *reader.Table, inst *Instance) {
	if len(inst.Addresses) == 0 {
		return // reported as an error
	}
	v6 := inst.Addresses[0].Addr().Is6()
	for _, t := range parent.Tables("routes") {
		t = t.For(parent.Director)
		r := Route{
			To: networkValue(t, "to", v6), Via: familyAddress(t, "via", v6), Source: familyAddress(t, "source", v6),
			Interface: interfaceValue(t, "interface", inst.Interface),
			Table:     int(t.Int("table")), Metric: int(t.Int("metric")),
		}
		if r.Source.IsValid() && !inst.holds(r.Source) {
			t.Warnf("source", "%s is none of the instance's addresses: unless this director has it otherwise, the kernel refuses the route", r.Source)
		}
		inst.Routes = append(inst.Routes, r)
	}
	for _, t := range parent.Tables("rules") {
		t = t.For(parent.Director)
		r := Rule{
			From: networkValue(t, "from", v6), To: networkValue(t, "to", v6), Mark: uint32(t.Int("mark")),
			Interface: interfaceValue(t, "interface", ""),
			Table:     int(t.Int("table")), Priority: int(t.Int("priority")),
		}
		if !t.IsSet("from") && !t.IsSet("to") && r.Mark == 0 && r.Interface == "" {
			t.Errorf("table", "the rule is for every packet: say which by from, to, mark or interface")
		}
		inst.Rules = append(inst.Rules, r)
	}
}

// holds reports whether the address is one of the instance's.
func (inst *Instance) holds(a netip.Addr) bool {
	for _, all := range [][]netip.Prefix{inst.Addresses, inst.ExcludedAddresses} {
		for _, p := range all {
			if p.Addr() == a {
				return true
			}
		}
	}
	return false
}

// networkValue reads a destination or source: a prefix, a host, or "default".
func networkValue(t *reader.Table, name string, v6 bool) netip.Prefix {
	s := t.Str(name)
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
			t.Errorf(name, `%s is no network, such as "10.9.0.0/16" or "default"`, values.Quote(s))
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is6() != v6:
		t.Errorf(name, "%s is not of the family of the instance's addresses", p)
	case p != p.Masked():
		t.Errorf(name, "%s has bits beyond its prefix length: write %s", p, p.Masked())
	}
	return p
}

// familyAddress reads one address of the family, none when it is left out.
func familyAddress(t *reader.Table, name string, v6 bool) netip.Addr {
	s := t.Str(name)
	if s == "" {
		return netip.Addr{}
	}
	a, problem := values.ParseIP(s)
	switch {
	case problem != "":
		t.Errorf(name, "%s", problem)
		return netip.Addr{}
	case a.Is6() != v6:
		t.Errorf(name, "%s is not of the family of the instance's addresses", a)
	}
	return a
}

// interfaceValue reads an interface.
func interfaceValue(t *reader.Table, name, otherwise string) string {
	s := t.Str(name)
	if s == "" {
		return otherwise
	}
	if problem := values.CheckInterface(s); problem != "" {
		t.Errorf(name, "%s", problem)
	}
	return s
}
