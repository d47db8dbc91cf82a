// The VRRP instances, checked against each other: a virtual router ID is used once
// an interface, and an address in one instance.

package config

import (
	"fmt"
	"net/netip"
	"time"

	"lvsd/config/reader"
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
		t.Errorf("advert_interval", "must be whole hundredths of a second, which is what an advert carries, not %s", d)
	}
	if inst.Priority == 255 && t.Valid("priority") {
		t.Warnf("priority", "255 is for a host that owns the addresses: it takes over at once when it starts, whoever is master, and preempt does not apply (RFC 9568 §6.4.1); 254 is the highest that elects")
	}
	if inst.PreemptDelay > 0 && !inst.Preempt {
		t.Warnf("preempt_delay", "does nothing with preempt = false")
	}
	inst.Addresses = append(autoLinkLocal(t, inst.VRID), instanceAddresses(t, "addresses", taken)...)
	inst.ExcludedAddresses = instanceAddresses(t, "excluded_addresses", taken)
	requireOneFamily(t, &inst)
	if t.Valid("interface") && t.Valid("virtual_router_id") && values.CheckInterface(inst.Interface) == "" {
		claimVRID(t, vrid{inst.Interface, int64(inst.VRID), len(inst.Addresses) > 0 && inst.Addresses[0].Addr().Is6()}, taken.vrids)
	}
	buildTransport(t, &inst)
	buildUnicast(t, &inst, directors)
	buildUnicastHops(t, &inst)
	buildTracking(t, &inst, services)
	checkVirtualMAC(t, &inst)
	buildRoutes(t, &inst)
	switch n := max(len(inst.Addresses), len(t.Strings("addresses"))); {
	case len(t.Strings("addresses")) == 0 && t.Valid("addresses"):
		t.Errorf("addresses", "must hold at least one address")
	case n > 255: // RFC 9568 §5.2.5: a count of 8 bits
		t.Errorf("addresses", "must hold at most 255 addresses, which is what an advert can count, not %d: move the others to excluded_addresses", n)
	}
	return inst
}

// autoLinkLocal returns the address of link_local = "auto": the one that stateless
// autoconfiguration makes of the virtual MAC address (RFC 4291 appendix A, RFC 9568
// §7.3), which no other virtual router on the LAN has.
func autoLinkLocal(t *reader.Table, vrid uint8) []netip.Prefix {
	texts := t.Strings("addresses")
	if t.Str("link_local") != "auto" || !t.Valid("link_local") || len(texts) == 0 {
		return nil
	}
	first, problem := values.ParsePrefix(texts[0])
	switch {
	case problem != "":
		return nil
	case first.Addr().Is4():
		t.Errorf("link_local", `"auto" is for IPv6, and these addresses are of IPv4`)
		return nil
	case first.Addr().IsLinkLocalUnicast():
		t.Errorf("link_local", `"auto" puts a link-local address in front of addresses, which begin with %s: leave one out`, first.Addr())
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
		t.Errorf("virtual_mac", "an advert from it is one frame, in which %d IPv6 addresses have room, not %d: move the others to excluded_addresses", maxFrame6, n)
	}
	if len(inst.Unicast) > 0 {
		t.Warnf("virtual_mac", "with unicast the adverts leave from the interface's own MAC address: a switch that forgot the virtual one learns it again from the announcements, once a minute, and from answers")
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

// instanceAddresses reads a list of addresses, none of which may be in another
// instance or twice in this one.
func instanceAddresses(t *reader.Table, name string, taken *instanceSet) []netip.Prefix {
	var all []netip.Prefix
	for i, s := range t.Strings(name) {
		at, where := t.LocateItem(name, i)
		p, problem := values.ParsePrefix(s)
		if problem == "" && p.Addr().IsLoopback() {
			problem = p.Addr().String() + " is this host's own, and cannot move"
		}
		if d, own := taken.directors[p.Addr()]; problem == "" && own {
			problem = fmt.Sprintf("%s is the own address of director %s, and must not move", p.Addr(), d)
		}
		key := p.Addr()
		if key.Is6() && key.IsLinkLocalUnicast() {
			key = key.WithZone(t.Str("interface")) // unique on its interface only
		}
		first, twice := taken.addresses[key]
		if problem == "" && twice {
			problem = fmt.Sprintf("%s is in the [[vrrp]] at %s already", p.Addr(), t.Where(first))
		}
		if problem != "" {
			t.ErrorAt(at, where, "%s", problem)
			continue
		}
		taken.addresses[key] = at
		if p.Bits() < p.Addr().BitLen() {
			t.WarnAt(at, where, "the prefix /%d also brings a route to %s, and may make the address a source of the director's own connections: /%d is safer",
				p.Bits(), p.Masked(), p.Addr().BitLen())
		}
		all = append(all, p)
	}
	return all
}

// requireOneFamily refuses addresses of both families in one instance.
func requireOneFamily(t *reader.Table, inst *Instance) {
	for _, name := range []string{"addresses", "excluded_addresses"} {
		for i, s := range t.Strings(name) {
			p, problem := values.ParsePrefix(s)
			if problem == "" && len(inst.Addresses) > 0 && p.Addr().Is6() != inst.Addresses[0].Addr().Is6() {
				at, where := t.LocateItem(name, i)
				t.ErrorAt(at, where, "%s is not of the family of %s: a [[vrrp]] has one, put it into another", p.Addr(), inst.Addresses[0].Addr())
			}
		}
	}
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
				v.Warnf("priority", "%s and %s both have %d: which of them is master depends on who was first, or on the higher address; give each its own", other, d.Name, p)
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
			t.For(leaves).Warnf("preempt", "only %s takes the addresses from a master of lower priority; %s never does, and takes over from silence alone: give both the same unless this is meant", takes, leaves)
			return
		}
	}
}
