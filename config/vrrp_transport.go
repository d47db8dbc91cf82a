// How an instance's advertisements are sent: version, authentication, multicast or
// unicast. And the routes and rules that move with its addresses.

package config

import (
	"net/netip"
	"slices"
	"time"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/tomlpos"
	"lvsd/config/values"
)

// buildTransport reads the version of VRRP and the keys that depend on it.
func buildTransport(t *reader.Table, inst *Instance) {
	inst.Version = uint8(t.Int("version"))
	v6 := inst.v6()
	if inst.Version == 2 {
		if v6 {
			t.Errorf("version", "2 does not support IPv6 (RFC 3768): use version = 3")
		}
		// RFC 3768 §5.3.7: the advert carries whole seconds, and all must agree.
		if d := inst.AdvertInterval; d%time.Second != 0 || d == 0 {
			t.Errorf("advert_interval", "must be whole seconds with version = 2, not %s: use version = 3 for less", values.FormatDuration(d))
		}
		if t.IsSet("checksum") {
			t.Warnf("checksum", "has no effect with version = 2")
		}
	}
	if len(inst.Addresses) > 0 && v6 && inst.Version == 3 && !inst.AnyIPv6 && !inst.Addresses[0].Addr().IsLinkLocalUnicast() && t.Valid("addresses") {
		at, where := t.LocateItem("addresses", 0)
		t.ErrorAt(at, where, `%s is not link-local, and the first address of an IPv6 instance must be (RFC 9568 §5.2.9): set link_local = "auto", or put one in front, such as "fe80::%d"; link_local_first = false is for peers that have none`,
			inst.Addresses[0].Addr(), inst.VRID)
	}
	inst.Authentication = buildAuthentication(t, inst.Version)
}

// buildAuthentication reads how advertisements are authenticated.
func buildAuthentication(parent *reader.Table, version uint8) Authentication {
	t, ok := parent.Value("authentication").(*reader.Table)
	if !ok {
		return Authentication{}
	}
	t = t.For(parent.Director)
	a := Authentication{Type: t.Str("type"), KeyFile: pathValue(t, "key_file")}
	switch {
	case !t.Valid("type"):
	case a.Type == "hmac" && version == 2:
		t.Errorf("type", `"hmac" belongs to version = 3`)
	case a.Type == "hmac":
		a.Permissive = t.Str("mode") == "permissive"
		if a.Permissive {
			t.Warnf("mode", `"permissive" accepts adverts without a key: set "enforce" once every director has it`)
		}
	case a.Type == "pass" && version != 2:
		t.Errorf("type", `"pass" belongs to version = 2`)
	case t.IsSet("mode"):
		t.Errorf("mode", `belongs to type = "hmac"`)
	case a.Type == "pass":
		t.Warnf("type", "the password is sent in clear text in every advert: it protects from mistakes, not from attacks")
	}
	return a
}

// buildUnicast reads the addresses that advertisements are sent to. Without a table
// they are the addresses of all directors.
func buildUnicast(t *reader.Table, inst *Instance, directors []Director) {
	own := map[string]netip.Addr{}
	switch v := t.Value("unicast").(type) {
	case bool:
		if !v {
			return
		}
		for _, d := range directors {
			if !d.Address.IsValid() {
				t.Errorf("unicast", "true uses the addresses of the directors, and %s has none: set its address, or write { %s = \"10.0.0.12\", … }", d.Name, d.Name)
				return
			}
			own[d.Name] = d.Address
		}
	case map[string]any:
		if !unicastAddresses(t, v, directors, own) {
			return
		}
	default:
		t.Errorf("unicast", `must be true, false or a table of the directors' addresses, not %s`, schema.DescribeValue(v))
		return
	}
	if len(own) < 2 {
		t.Errorf("unicast", "needs at least two [[director]]")
		return
	}
	v6 := inst.v6()
	if !inst.first().IsValid() {
		v6 = own[t.Director].Is6()
	}
	seen := map[netip.Addr]string{}
	for _, d := range directors {
		a := own[d.Name]
		other, twice := seen[a]
		switch {
		case a.Is6() != v6:
			t.Errorf("unicast", "%s of %s is not of the family of the instance's addresses", a, d.Name)
			return
		case twice:
			t.Errorf("unicast", "%s and %s both have %s", other, d.Name, a)
			return
		}
		seen[a] = d.Name
		if d.Name == t.Director {
			inst.Source = a
		} else {
			inst.Unicast = append(inst.Unicast, a)
		}
	}
}

// buildUnicastHops reads how many routers are between the directors.
func buildUnicastHops(t *reader.Table, inst *Instance) {
	switch inst.UnicastHops = uint8(t.Int("unicast_hops")); {
	case inst.UnicastHops == 0:
	case len(inst.Unicast) == 0:
		t.Warnf("unicast_hops", "has no effect without unicast")
	case inst.Authentication.Type != "hmac":
		t.Warnf("unicast_hops", `allows hosts beyond a router to forge adverts: authenticate them with type = "hmac"`)
	}
}

// unicastAddresses reads { lb1 = "10.0.0.12", … }.
func unicastAddresses(t *reader.Table, byDirector map[string]any, directors []Director, own map[string]netip.Addr) bool {
	f, _ := t.Field("unicast")
	p := t.Path.Key("unicast")
	good := true
	for name, v := range byDirector {
		at := f.Node.Get(name)
		known := slices.ContainsFunc(directors, func(d Director) bool { return d.Name == name })
		s, isString := v.(string)
		a, problem := values.ParseIP(s)
		switch {
		case !known:
			t.ErrorAt(at.Key, p.Key(name), "no [[director]] has this name")
		case !isString:
			t.ErrorAt(at.Value, p.Key(name), "must be a string in quotes, not %s", schema.DescribeValue(v))
		case problem != "":
			t.ErrorAt(at.Value, p.Key(name), "%s", problem)
		default:
			own[name] = a
			continue
		}
		good = false
	}
	for _, d := range directors {
		if _, given := byDirector[d.Name]; !given {
			t.Errorf("unicast", "no address for director %s: add %s = \"…\"", d.Name, tomlpos.QuoteKey(d.Name))
			good = false
		}
	}
	return good
}

// buildRoutes reads routes and rules. They must be of the instance's address family.
func buildRoutes(parent *reader.Table, inst *Instance) {
	v6 := inst.v6()
	for _, t := range parent.Tables("routes") {
		t = t.For(parent.Director)
		r := Route{
			To: networkValue(t, "to", v6), Via: familyAddress(t, "via", v6), Source: familyAddress(t, "source", v6),
			Interface: interfaceValue(t, "interface", inst.Interface),
			Table:     int(t.Int("table")), Metric: int(t.Int("metric")),
		}
		if r.Source.IsValid() && !inst.holds(r.Source) {
			t.Warnf("source", "%s is not an address of the instance: unless this director has it anyway, the kernel rejects the route", r.Source)
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
			t.Errorf("table", "the rule matches every packet: set from, to, mark or interface")
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
			t.Errorf(name, `%s is not a network, such as "10.9.0.0/16" or "default"`, values.Quote(s))
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
