// The VRRP instances, checked against each other: a virtual router ID is used once
// an interface, and an address in one instance.

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/tomlpos"
	"lvsd/config/values"
)

// vrid must be unique on a LAN.
type vrid struct {
	iface string
	id    int64
	v6    bool // the families are numbered separately, RFC 9568 §1.4
}

// instanceSet has the names, router IDs and addresses of the instances so far.
type instanceSet struct {
	names     map[string]Position
	vrids     map[vrid]Position
	addresses map[netip.Addr]Position
	directors map[netip.Addr]string // their own addresses
}

// buildInstances builds the instances of one director.
func buildInstances(root *reader.Table, director string, directors []Director, services []Service) ([]Instance, instanceSet) {
	taken := instanceSet{map[string]Position{}, map[vrid]Position{}, map[netip.Addr]Position{}, map[netip.Addr]string{}}
	for _, d := range directors {
		if d.Address.IsValid() {
			taken.directors[d.Address] = d.Name
		}
	}
	var all []Instance
	for _, t := range root.Tables("vrrp") {
		all = append(all, buildInstance(t.For(director), directors, services, &taken))
	}
	requireEqualInGroup(root, director, all)
	return all, taken
}

// buildInstance builds one instance.
func buildInstance(t *reader.Table, directors []Director, services []Service, taken *instanceSet) Instance {
	inst := Instance{
		Name:           t.Str("name"),
		Interface:      t.Str("interface"),
		VRID:           uint8(t.Int("virtual_router_id")),
		Priority:       uint8(t.Int("priority")),
		AdvertInterval: t.Duration("advert_interval"),
		Preempt:        t.Bool("preempt"),
		PreemptDelay:   t.Duration("preempt_delay"),
		StartupDelay:   t.Duration("startup_delay"),
		VirtualMAC:     t.Bool("virtual_mac"),
		AnyIPv6:        !t.Bool("link_local_first"),
		Checksum:       t.Str("checksum"),
		Notify:         notifyCommand(t, "notify"),
		StatePrograms:  statePrograms(t),
		Position:       t.Start,
	}
	if t.Valid("name") {
		claimName(t, "[[vrrp]]", inst.Name, taken.names)
	}
	if t.Valid("interface") {
		if problem := values.CheckInterface(inst.Interface); problem != "" {
			t.Errorf("interface", "%s", problem)
		}
	}
	// RFC 9568 §5.2.7: the advert carries the interval in centiseconds.
	if d := inst.AdvertInterval; d%(10*time.Millisecond) != 0 {
		t.Errorf("advert_interval", "must be a whole number of centiseconds, as in an advert, not %s", d)
	}
	if inst.Priority == 255 && t.Valid("priority") {
		t.Warnf("priority", "255 is for a host that owns the addresses: it takes over at once when it starts, regardless of the current master and of preempt (RFC 9568 §6.4.1); 254 is the highest normal priority")
	}
	if inst.PreemptDelay > 0 && !inst.Preempt {
		t.Warnf("preempt_delay", "has no effect with preempt = false")
	}
	entries := buildAddresses(t, &inst, taken)
	if t.Valid("interface") && t.Valid("virtual_router_id") && values.CheckInterface(inst.Interface) == "" {
		claimVRID(t, vrid{inst.Interface, int64(inst.VRID), inst.v6()}, taken.vrids)
	}
	buildTransport(t, &inst)
	buildUnicast(t, &inst, directors)
	buildUnicastHops(t, &inst)
	buildTracking(t, &inst, services)
	warnUntracked(t, &inst, entries)
	checkVirtualMAC(t, &inst)
	buildRoutes(t, &inst)
	return inst
}

// addressEntry is an element of a list of addresses.
type addressEntry struct {
	prefix netip.Prefix
	iface  string // "" = the instance's
	at     tomlpos.Position
	path   *reader.Path
}

// buildAddresses reads addresses, excluded_addresses and link_local, and returns their
// elements.
func buildAddresses(t *reader.Table, inst *Instance, taken *instanceSet) []addressEntry {
	entries, n := addressEntries(t, "addresses")
	excluded, _ := addressEntries(t, "excluded_addresses")
	inst.Addresses = autoLinkLocal(t, inst.VRID, entries)
	for _, e := range entries {
		if e.claim(t, inst, taken) {
			inst.Addresses = append(inst.Addresses, e.prefix)
		}
	}
	for _, e := range excluded {
		if e.claim(t, inst, taken) {
			inst.ExcludedAddresses = append(inst.ExcludedAddresses, e.prefix)
		}
	}
	all := append(slices.Clone(entries), excluded...)
	for _, e := range all {
		if first := inst.first(); first.IsValid() && e.prefix.Addr().Is6() != first.Is6() {
			t.ErrorAt(e.at, e.path, "%s is not of the family of %s: a [[vrrp]] has one family; put it into another", e.prefix.Addr(), first)
		}
	}
	if n := max(len(inst.Addresses), n); n > 255 { // RFC 9568 §5.2.5: a count of 8 bits
		t.Errorf("addresses", "must contain at most 255 addresses, the limit of an advert, not %d: move the others to excluded_addresses", n)
	}
	return all
}

// warnUntracked warns of interfaces of addresses whose loss would go unnoticed.
func warnUntracked(t *reader.Table, inst *Instance, entries []addressEntry) {
	warned := map[string]bool{}
	for _, e := range entries {
		tracked := slices.ContainsFunc(inst.TrackInterfaces, func(i TrackedInterface) bool { return i.Name == e.iface })
		if e.iface == "" || e.iface == inst.Interface || tracked || warned[e.iface] {
			continue
		}
		warned[e.iface] = true
		t.WarnAt(e.at, e.path, "a director whose %s fails keeps the addresses on it: name %[1]s in track_interfaces, best with a weight", e.iface)
	}
}

// first returns the address that decides the family of an instance; zero: it has none.
func (inst *Instance) first() netip.Addr {
	for _, all := range [2][]netip.Prefix{inst.Addresses, inst.ExcludedAddresses} {
		if len(all) > 0 {
			return all[0].Addr()
		}
	}
	return netip.Addr{}
}

// v6 reports whether the addresses are of IPv6.
func (inst *Instance) v6() bool { return inst.first().Is6() }

// addressEntries reads a list of addresses. n is how many it has, valid or not.
func addressEntries(t *reader.Table, name string) (all []addressEntry, n int) {
	elements := t.Elements(name)
	f, _ := t.Field(name)
	for i, v := range elements {
		at, where := t.LocateItem(name, i)
		e := addressEntry{at: at, path: where}
		var text string
		switch v := v.(type) {
		case string:
			text = v
		case map[string]any:
			r := t.Reader.ReadTable(v, f.Node.Item(i), schema.AddressTable, where).For(t.Director)
			text, e.iface = r.Str("address"), r.Str("interface")
			if !r.Valid("address") || !r.Valid("interface") {
				continue
			}
			if problem := values.CheckInterface(e.iface); problem != "" {
				r.Errorf("interface", "%s", problem)
				continue
			}
		default:
			t.ErrorAt(at, where, `must be an address, or a table such as { address = "10.1.0.88", interface = "eth1" }, not %s`, schema.DescribeValue(v))
			continue
		}
		p, problem := values.ParsePrefix(text)
		if problem != "" {
			t.ErrorAt(at, where, "%s", problem)
			continue
		}
		e.prefix = p
		all = append(all, e)
	}
	return all, len(elements)
}

// claim reports whether the instance may have the address, which no other instance may
// have, nor this one twice.
func (e addressEntry) claim(t *reader.Table, inst *Instance, taken *instanceSet) bool {
	p, on := e.prefix, e.iface
	if on == "" {
		on = inst.Interface
	}
	problem := ""
	if p.Addr().IsLoopback() {
		problem = p.Addr().String() + " is this host's own, and cannot move"
	}
	if d, own := taken.directors[p.Addr()]; problem == "" && own {
		problem = fmt.Sprintf("%s is the own address of director %s, and must not move", p.Addr(), d)
	}
	key := p.Addr()
	if key.Is6() && key.IsLinkLocalUnicast() {
		key = key.WithZone(on) // unique on its interface only
		if inst.Interfaces[p.Addr()] != "" || on != inst.Interface && slices.Contains(slices.Concat(inst.Addresses, inst.ExcludedAddresses), p) {
			problem = fmt.Sprintf("%s is in this [[vrrp]] on another interface: put it into a [[vrrp]] of its own", p.Addr())
		}
	}
	if first, twice := taken.addresses[key]; problem == "" && twice {
		problem = fmt.Sprintf("%s is in the [[vrrp]] at %s already", p.Addr(), t.Where(first))
	}
	if problem != "" {
		t.ErrorAt(e.at, e.path, "%s", problem)
		return false
	}
	taken.addresses[key] = e.at
	if p.Bits() < p.Addr().BitLen() {
		t.WarnAt(e.at, e.path, "the prefix /%d also brings a route to %s, and may make the address a source of the director's own connections: /%d is safer",
			p.Bits(), p.Masked(), p.Addr().BitLen())
	}
	if on != inst.Interface {
		if inst.Interfaces == nil {
			inst.Interfaces = map[netip.Addr]string{}
		}
		inst.Interfaces[p.Addr()] = on
	}
	return true
}

// autoLinkLocal returns the address of link_local = "auto": the one that stateless
// autoconfiguration makes of the virtual MAC address (RFC 4291 appendix A, RFC 9568
// §7.3), which no other virtual router on the LAN has.
func autoLinkLocal(t *reader.Table, vrid uint8, entries []addressEntry) []netip.Prefix {
	if t.Str("link_local") != "auto" || !t.Valid("link_local") || len(entries) == 0 {
		return nil
	}
	switch first := entries[0].prefix.Addr(); {
	case first.Is4():
		t.Errorf("link_local", `"auto" is for IPv6, and these addresses are of IPv4`)
		return nil
	case first.IsLinkLocalUnicast():
		t.Errorf("link_local", `"auto" puts a link-local address in front of addresses, which begin with %s: remove one`, first)
		return nil
	}
	return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 2, 0, 0x5e, 0xff, 0xfe, 0, 2, vrid}), 128)}
}

// maxFrame6 is how many addresses of IPv6 fit into an advertisement in one frame of
// 1500 octets, authentication included: frames are not fragmented.
const maxFrame6 = 87

// checkVirtualMAC checks virtual_mac against the rest of the instance.
func checkVirtualMAC(t *reader.Table, inst *Instance) {
	if !inst.VirtualMAC {
		return
	}
	if n := len(inst.Addresses); n > maxFrame6 && inst.Addresses[0].Addr().Is6() {
		t.Errorf("virtual_mac", "an advert from it is one frame, which has room for %d IPv6 addresses, not %d: move the others to excluded_addresses", maxFrame6, n)
	}
	if len(inst.Unicast) > 0 {
		t.Warnf("virtual_mac", "with unicast the adverts leave from the interface's own MAC address: a switch that forgot the virtual one relearns it from the gratuitous ARP or NA sent once a minute, and from replies")
	}
	if inst.Priority == 255 && t.Valid("priority") {
		t.Warnf("virtual_mac", "priority 255 is for a host that owns the addresses: on an interface that has them itself they cannot get the virtual MAC address, and the instance fails")
	}
}

// claimVRID refuses a second instance with the same virtual router on a LAN.
func claimVRID(t *reader.Table, v vrid, taken map[vrid]Position) {
	at, _ := t.Locate("virtual_router_id")
	if first, twice := taken[v]; twice {
		t.Errorf("virtual_router_id", "%d is in use on %s by the [[vrrp]] at %s already", v.id, v.iface, t.Where(first))
		return
	}
	taken[v] = at
}

// warnEqualPriorities warns of two directors with the same priority, between which
// their addresses decide, and of different values of preempt.
func warnEqualPriorities(root *reader.Table, directors []Director) {
	for _, t := range root.Tables("vrrp") {
		if !t.Valid("priority") {
			continue
		}
		first := map[int64]string{}
		warnMixedPreempt(t, directors)
		for _, d := range directors {
			v := t.For(d.Name)
			if !v.Bool("preempt") {
				continue // the master stays master: equal priorities may be intended
			}
			p := v.Int("priority")
			if other, same := first[p]; same {
				v.Warnf("priority", "%s and %s both have %d: which of them is master depends on which started first, or on the higher address; use different ones", other, d.Name, p)
				break
			}
			first[p] = d.Name
		}
	}
}

// warnMixedPreempt warns where only some directors preempt.
func warnMixedPreempt(t *reader.Table, directors []Director) {
	for _, d := range directors[:max(len(directors)-1, 0)] {
		a := t.For(d.Name)
		for _, other := range directors[1:] {
			b := t.For(other.Name)
			if a.Bool("preempt") == b.Bool("preempt") {
				continue
			}
			takes, leaves := d.Name, other.Name
			if b.Bool("preempt") {
				takes, leaves = leaves, takes
			}
			t.For(leaves).Warnf("preempt", "only %s preempts a master of lower priority; %s takes over only when there is no master: set the same on both unless this is intended", takes, leaves)
			return
		}
	}
}
