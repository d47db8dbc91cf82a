// This file builds what an election says besides its addresses: whom it speaks
// to and how that is proven. It never opens the files that are named.
//
// PURE.
package config

import (
	"net/netip"
	"slices"
	"time"
)

// speech reads the version of VRRP, and what only one of them knows.
func (c *record) speech(e *Instance) {
	e.Version = uint8(c.num("version"))
	v6 := len(e.Addresses) > 0 && e.Addresses[0].Addr().Is6()
	if e.Version == 2 {
		if v6 {
			c.complain("version", "2 knows no IPv6 (RFC 3768): use version = 3")
		}
		// RFC 3768 §5.3.7: the advert carries whole seconds, and all must agree.
		if d := e.AdvertInterval; d%time.Second != 0 || d == 0 {
			c.complain("advert_interval", "must be whole seconds with version = 2, not %s: use version = 3 for less", short(d))
		}
		if c.set("checksum") {
			c.doubt("checksum", "does nothing with version = 2")
		}
	}
	if v6 && e.Version == 3 && !e.AnyIPv6 && !e.Addresses[0].Addr().IsLinkLocalUnicast() && c.good("addresses") {
		at, where := c.item("addresses", 0)
		c.fail(at, where, `%s is not link-local, and the first address of an IPv6 election must be (RFC 9568 §5.2.9): put one in front, such as "fe80::%d"; link_local_first = false is for peers that have none`,
			e.Addresses[0].Addr(), e.VRID)
	}
	e.Authentication = c.authentication(e.Version)
}

// authentication reads how adverts are proven.
func (c *record) authentication(version uint8) Authentication {
	t, ok := c.get("authentication").(*record)
	if !ok {
		return Authentication{}
	}
	t = t.of(c.director)
	a := Authentication{Type: t.str("type"), KeyFile: t.file("key_file")}
	switch {
	case !t.good("type"):
	case a.Type == "hmac" && version == 2:
		t.complain("type", `"hmac" belongs to version = 3`)
	case a.Type == "hmac":
		a.Permissive = t.str("mode") == "permissive"
		if a.Permissive {
			t.doubt("mode", `"permissive" accepts adverts without a key: set "enforce" once every director has it`)
		}
	case a.Type == "pass" && version != 2:
		t.complain("type", `"pass" belongs to version = 2`)
	case t.set("mode"):
		t.complain("mode", `belongs to type = "hmac"`)
	case a.Type == "pass":
		t.doubt("type", "a password crosses the LAN in every advert for everybody to read: it protects from mistakes and not from attacks")
	}
	return a
}

// unicast reads whom adverts go to. Without a table they are all directors by
// their addresses.
func (c *record) unicast(e *Instance, directors []Director) {
	own := map[string]netip.Addr{}
	switch v := c.get("unicast").(type) {
	case bool:
		if !v {
			return
		}
		for _, d := range directors {
			if !d.Address.IsValid() {
				c.complain("unicast", "true takes the addresses of the directors, and %s has none: give it address = …, or write { %s = \"10.0.0.12\", … }", d.Name, d.Name)
				return
			}
			own[d.Name] = d.Address
		}
	case map[string]any:
		if !c.unicastTable(v, directors, own) {
			return
		}
	default:
		c.complain("unicast", `must be true, false or a table of the directors' addresses, not %s`, kindOf(v))
		return
	}
	if len(own) < 2 {
		c.complain("unicast", "needs two [[director]] at least")
		return
	}
	v6 := len(e.Addresses) > 0 && e.Addresses[0].Addr().Is6()
	seen := map[netip.Addr]string{}
	for _, d := range directors {
		a := own[d.Name]
		other, twice := seen[a]
		switch {
		case a.Is6() != v6:
			c.complain("unicast", "%s of %s is not of the family of the election's addresses", a, d.Name)
			return
		case twice:
			c.complain("unicast", "%s and %s both have %s", other, d.Name, a)
			return
		}
		seen[a] = d.Name
		if d.Name == c.director {
			e.Source = a
		} else {
			e.Unicast = append(e.Unicast, a)
		}
	}
}

// unicastTable reads { lb1 = "10.0.0.12", … }.
func (c *record) unicastTable(values map[string]any, directors []Director, own map[string]netip.Addr) bool {
	f, _ := c.field("unicast")
	p := c.path.key("unicast")
	good := true
	for name, v := range values {
		at := f.node.get(name)
		known := slices.ContainsFunc(directors, func(d Director) bool { return d.Name == name })
		s, isString := v.(string)
		a, complaint := ipAddress(s)
		switch {
		case !known:
			c.fail(at.key, p.key(name), "no [[director]] has this name")
		case !isString:
			c.fail(at.value, p.key(name), "must be a string in quotes, not %s", kindOf(v))
		case complaint != "":
			c.fail(at.value, p.key(name), "%s", complaint)
		default:
			own[name] = a
			continue
		}
		good = false
	}
	for _, d := range directors {
		if _, given := values[d.Name]; !given {
			c.complain("unicast", "no address for director %s: add %s = \"…\"", d.Name, written(d.Name))
			good = false
		}
	}
	return good
}
