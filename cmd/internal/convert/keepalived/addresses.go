// Addresses of VRRP instances.

package keepalived

import (
	"fmt"
	"net/netip"
	"slices"

	"lvsd/cmd/internal/convert"
)

// vip is an address of an instance.
type vip struct {
	netip.Prefix
	device string // "" = the instance's interface
	from   convert.Origin
}

// family reads lines of addresses: those of the family of the first one, and the lines
// of the other family.
func (in *instanceReader) family(lines []*node, first []vip) (all []vip, others []*node) {
	seen := map[netip.Addr]bool{}
	for _, p := range first {
		seen[p.Addr()] = true
	}
	for _, n := range lines {
		p, ok := in.vip(n)
		switch {
		case !ok:
		case seen[p.Addr()]:
			in.note(convert.NotNeeded, n, "duplicate")
		case len(first) > 0 && first[0].Addr().Is6() != p.Addr().Is6(), len(first) == 0 && len(all) > 0 && all[0].Addr().Is6() != p.Addr().Is6():
			others = append(others, n)
		default:
			seen[p.Addr()] = true
			all = append(all, p)
		}
	}
	return all, others
}

// addressOptions are the options of an address, without dev: what lvsd does instead, and
// how many words follow.
var addressOptions = map[string]struct {
	words int
	convert.Reason
}{
	"brd":           {1, convert.Unneeded("lvsd sets no broadcast address, which a /32 does not need")},
	"scope":         {1, convert.Unsupported("lvsd sets addresses of scope global")},
	"label":         {1, convert.Unneeded("lvsd sets no labels")},
	"peer":          {1, convert.Unsupported("lvsd sets addresses without a peer")},
	"preferred_lft": {1, convert.Unsupported("lvsd sets addresses that are valid and preferred for ever: programs on the director may use them as source")},
	"-nodad":        {0, convert.Unneeded("lvsd sets IPv6 addresses without duplicate address detection")},
	"home":          {0, convert.Unsupported("lvsd sets no such flag")},
	"mngtmpaddr":    {0, convert.Unsupported("lvsd sets no such flag")},
	"autojoin":      {0, convert.Unsupported("lvsd sets no such flag")},
	"noprefixroute": {0, convert.Unneeded("lvsd adds no route for a prefix of one address")},
	"no_track":      {0, convert.Unsupported("lvsd puts an address back that another program removes")},
	"use_vmac":      {0, convert.Unsupported("lvsd has virtual_mac for all addresses of an instance")},
	"track_group":   {1, convert.Unsupported(convert.NoStatic)},
}

// vip reads a line of virtual_ipaddress.
func (in *instanceReader) vip(n *node) (vip, bool) {
	p, ok := addressOf(n.keyword())
	v := vip{Prefix: p, from: n.from}
	if !ok {
		in.note(convert.LeftOut, n, "is not an address")
		return v, false
	}
	for i := 0; i < len(n.args()); i++ {
		word := n.arg(i)
		if word == "dev" {
			i++
			if d := n.arg(i); d != in.e.Str("interface") {
				v.device = d
			}
			continue
		}
		o, known := addressOptions[word]
		if !known {
			in.note(convert.LeftOut, n, "%s is not an option of an address that keepalived.conf(5) describes", word)
			continue
		}
		in.notes.Add(o.Kind, n.from, word+": "+o.Why)
		i += o.words
	}
	return v, true
}

// addresses writes the addresses of an instance, which may have none. The first of IPv6 must
// be link-local.
func (in *instanceReader) addresses(e *convert.Table, listed, excluded []vip) {
	if len(listed) > 0 && listed[0].Addr().Is6() && !listed[0].Addr().IsLinkLocalUnicast() {
		own := slices.IndexFunc(listed, func(p vip) bool { return p.Addr().IsLinkLocalUnicast() })
		if own >= 0 {
			first := listed[own]
			listed = append([]vip{first}, slices.Delete(slices.Clone(listed), own, own+1)...)
			in.notes.Add(convert.NotNeeded, e.From, fmt.Sprintf("%s comes first now: RFC 9568 requires a link-local address there", first.Addr()))
		} else {
			// As in keepalived, so that the directors can be replaced one by one.
			e.Set("link_local_first", false, e.Entry("name").From)
			in.notes.Hint("link_local_first = false allows IPv6 instances without a link-local address, as keepalived does. Once both directors run lvsd, set link_local = \"auto\" instead, as RFC 9568 requires one.")
		}
	}
	e.Set("addresses", addressValue(listed), e.From)
	for key, all := range map[string][]vip{"addresses": listed, "excluded_addresses": excluded} {
		if len(all) == 0 {
			continue
		}
		e.Set(key, nil, all[0].from)
		for _, v := range all {
			e.Extend(key, addressValue(all), v.from)
		}
	}
}

// addressValue writes addresses, without the prefix length of single hosts: []string, or
// []any with a table for each that is on another interface.
func addressValue(all []vip) any {
	texts, mixed, elsewhere := make([]string, len(all)), make([]any, len(all)), false
	for i, p := range all {
		texts[i] = p.String()
		if p.IsSingleIP() {
			texts[i] = p.Addr().String()
		}
		mixed[i] = texts[i]
		if p.device != "" {
			elsewhere = true
			t := &convert.Table{From: p.from}
			t.Set("address", texts[i], p.from)
			t.Set("interface", p.device, p.from)
			mixed[i] = t
		}
	}
	if elsewhere {
		return mixed
	}
	return texts
}

// otherFamily adds a second instance for addresses of the other family, in one sync
// group with the first.
func (in *instanceReader) otherFamily(b *node, lines []*node) {
	e := in.e.Clone()
	e.Set("name", in.used.Unique(in.name+"-other-family", "instance"), lines[0].from)
	for _, key := range []string{"version", "excluded_addresses", "link_local_first", "authentication", "track_interfaces", "track_scripts", "track_files", "routes", "rules", "notify_master", "notify_backup", "notify_fault", "notify_stop"} {
		e.Delete(key)
	}
	all, _ := in.family(lines, nil)
	if len(all) > 0 && all[0].Addr().Is4() && in.version == 2 {
		e.Set("version", 2, b.from)
	}
	in.addresses(e, all, nil)
	how := ""
	if _, unicast := in.unicast[in.name]; unicast {
		how = ", by multicast"
	}
	in.notes.AddAbout(e.Str("name"), convert.ToDo, lines[0].from, fmt.Sprintf("an instance has addresses of one family: those of the other are in the instance %s, which moves with %s%s; keepalived does not know it, so replace both directors at once",
		e.Str("name"), in.name, how))
	if in.e.Str("sync_group") == "" {
		in.e.Set("sync_group", in.name, b.from)
	}
	e.Set("sync_group", in.e.Str("sync_group"), b.from)
	in.root.Append("vrrp", e)
}
