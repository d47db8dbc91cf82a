package main

// What the elections put on this host's interfaces, for whoever comes after a
// crash: the record that the daemon keeps of it, and taking it off. What an
// election of the running file may still serve is never touched here.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/vrrp/link"
)

// recordAddresses is the daemon's side: before an election starts, the record says
// what it may put where. What an earlier run left, and no election of the file
// knows, goes before that.
func (d *daemon) recordAddresses(old, next *config.Config) (reload.Change, error) {
	var record persist.Addresses
	for _, e := range next.Elections {
		record.Elections = append(record.Elections, persist.Election{
			Name: e.Name, Interface: e.Interface, VRID: e.VRID, VirtualMAC: e.VirtualMAC, IPv6: e.Addresses[0].Addr().Is6(),
			Addresses: slices.Concat(e.Addresses, e.ExcludedAddresses), Routes: e.Routes, Rules: e.Rules,
		})
	}
	return reload.Change{Commit: func() {
		if old == nil {
			d.sweep(record)
		}
		if err := d.state.SaveAddresses(record); err != nil {
			d.log.Warn("a crash could leave addresses behind that lvsd cleanup does not know", "reason", err)
		}
	}}, nil
}

// sweep takes off what the last run recorded and this one does not know.
func (d *daemon) sweep(next persist.Addresses) {
	last, err := d.state.LoadAddresses()
	if err == nil {
		var removed []removedAddress
		removed, err = takeOff(unknown(last.Elections, next.Elections))
		for _, r := range removed {
			d.log.Warn("an earlier run left an address that is in no election any more: taken off", "vrrp", r.VRRP, "address", r.Address, "interface", r.Interface)
		}
	}
	if err != nil {
		d.log.Warn("an earlier run may have left addresses", "reason", err)
	}
}

// A router is a virtual router on this host.
type router struct {
	iface string
	vrid  uint8
	v6    bool
}

func routerOf(e persist.Election) router {
	return router{e.Interface, e.VRID, len(e.Addresses) > 0 && e.Addresses[0].Addr().Is6()}
}

// unknown is what is left of the elections of one record that another has not. Of
// a virtual router that both have, its election sees to the macvlan.
func unknown(last, next []persist.Election) (all []persist.Election) {
	type place struct {
		iface string
		addr  netip.Addr
	}
	held, routers := map[place]bool{}, map[router]bool{}
	var routes []config.Route
	var rules []config.Rule
	for _, e := range next {
		routers[routerOf(e)] = true
		for _, p := range e.Addresses {
			held[place{e.Interface, p.Addr()}] = true
		}
		routes, rules = append(routes, e.Routes...), append(rules, e.Rules...)
	}
	for _, e := range last {
		r := routerOf(e)
		e.Addresses = slices.DeleteFunc(slices.Clone(e.Addresses), func(p netip.Prefix) bool { return held[place{e.Interface, p.Addr()}] })
		e.Routes = slices.DeleteFunc(slices.Clone(e.Routes), func(r config.Route) bool { return slices.Contains(routes, r) })
		e.Rules = slices.DeleteFunc(slices.Clone(e.Rules), func(r config.Rule) bool { return slices.Contains(rules, r) })
		if routers[r] {
			e.VRID = 0
		}
		if len(e.Addresses) > 0 || len(e.Routes) > 0 || len(e.Rules) > 0 {
			all = append(all, e)
		}
	}
	return all
}

// takeOff takes what elections put there off their interfaces.
func takeOff(elections []persist.Election) (removed []removedAddress, err error) {
	removed = []removedAddress{}
	var errs []error
	for _, e := range elections {
		fail := func(err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", e.Name, err))
			}
		}
		fail(takeAway(e))
		if _, err := net.InterfaceByName(e.Interface); err != nil {
			continue // and the addresses with it
		}
		families := map[link.Family][]netip.Prefix{}
		for _, p := range e.Addresses {
			families[familyOf(p)] = append(families[familyOf(p)], p)
		}
		for family, ours := range families {
			port, err := link.Open(e.Interface, family, link.Router{VRID: e.VRID, MAC: e.VirtualMAC && e.VRID != 0})
			if err != nil {
				fail(err)
				continue
			}
			before, err := port.Look(ours, netip.Addr{})
			fail(err)
			held, _, err := port.Set(ours, nil, false)
			fail(err)
			for _, p := range before.Present {
				if !slices.Contains(held, p) {
					removed = append(removed, removedAddress{e.Name, e.Interface, p.Addr().String()})
				}
			}
			fail(port.Close())
		}
	}
	return removed, errors.Join(errs...)
}

// takeAway takes an election's routes and rules away. The interface of the
// addresses may be gone, and is not needed for it.
func takeAway(e persist.Election) error {
	var along link.Along
	for _, r := range e.Routes {
		along.Routes = append(along.Routes, link.Route(r))
	}
	for _, r := range e.Rules {
		along.Rules = append(along.Rules, link.Rule(r))
	}
	if along.Empty() {
		return nil
	}
	family := link.IPv4
	if e.IPv6 {
		family = link.IPv6
	}
	port, err := link.Open("lo", family, link.Router{})
	if err != nil {
		return err
	}
	_, err = port.Move(along, false)
	return errors.Join(err, port.Close())
}

func familyOf(p netip.Prefix) link.Family {
	if p.Addr().Is6() {
		return link.IPv6
	}
	return link.IPv4
}
