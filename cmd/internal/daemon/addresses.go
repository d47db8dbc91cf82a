// This file records the addresses, routes and rules that VRRP instances may put on
// this host, and removes what a crashed daemon left of them. It never touches what
// an instance of the running configuration may still use.

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/vrrp/link"
)

// addressRecord is the record on disk, which is written beside the loop. It always covers
// what may be on this host: a reload first adds what the next configuration may put there,
// and removes what is no longer in it when that configuration runs.
type addressRecord struct {
	disk.Writer[persist.Addresses]
	state *persist.Dir
	log   *slog.Logger

	mu      sync.Mutex
	running []persist.Instance // of the configuration that runs
}

func newAddressRecord(state *persist.Dir, log *slog.Logger) *addressRecord {
	r := &addressRecord{state: state, log: log}
	failed := false // of the writer's goroutine, which is one at a time
	r.Write = func(a persist.Addresses) error {
		err := state.SaveAddresses(a)
		switch {
		case err != nil && !failed:
			log.Error("the addresses of this director cannot be recorded", "reason", err)
		case err == nil && failed:
			log.Info("the addresses of this director are recorded again")
		}
		failed = err != nil
		return err
	}
	return r
}

// instancesOf returns what a configuration may put on this host.
func instancesOf(c *config.Config) (all []persist.Instance) {
	for _, e := range c.Instances {
		on := map[string][]netip.Prefix{}
		addresses := slices.Concat(e.Addresses, e.ExcludedAddresses)
		for _, p := range addresses {
			name := cmp.Or(e.Interfaces[p.Addr()], e.Interface)
			on[name] = append(on[name], p)
		}
		all = append(all, persist.Instance{
			Name: e.Name, Interface: e.Interface, VRID: e.VRID, VirtualMAC: e.VirtualMAC, IPv6: len(addresses) > 0 && addresses[0].Addr().Is6(),
			Addresses: on[e.Interface], Routes: e.Routes, Rules: e.Rules,
		})
		delete(on, e.Interface)
		for _, name := range slices.Sorted(maps.Keys(on)) {
			all = append(all, persist.Instance{Name: e.Name, Interface: name, Addresses: on[name]})
		}
	}
	return all
}

// cover adds what a configuration may put on this host, before it runs. It waits for the
// disk, for a limited time.
func (r *addressRecord) cover(next *config.Config) {
	r.mu.Lock()
	all := slices.Concat(r.running, instancesOf(next))
	r.mu.Unlock()
	_ = disk.Await(context.Background(), r.Save(persist.Addresses{Instances: all}), saveTimeout) // see problems
}

// prepare is the participant that replaces the record by what the next configuration may
// put on this host. A start first removes what an earlier run left and the configuration
// no longer has.
func (r *addressRecord) prepare(old, next *config.Config) (reload.Change, error) {
	return reload.Change{Commit: func() {
		all := instancesOf(next)
		r.mu.Lock()
		r.running = all
		r.mu.Unlock()
		if old == nil {
			r.sweep(all)
		}
		saved := r.Save(persist.Addresses{Instances: all})
		if old == nil { // nothing runs yet
			_ = disk.Await(context.Background(), saved, saveTimeout)
		}
	}}, nil
}

// sweep removes what the last run recorded and the configuration no longer has.
func (r *addressRecord) sweep(next []persist.Instance) {
	last, err := r.state.LoadAddresses()
	if err == nil {
		var removed []RemovedAddress
		removed, err = removeAll(noLongerConfigured(last.Instances, next))
		for _, a := range removed {
			r.log.Warn("removed an address that an earlier run left and no VRRP instance has any more", "vrrp", a.VRRP, "address", a.Address, "interface", a.Interface)
		}
	}
	if err != nil {
		r.log.Warn("an earlier run may have left addresses", "reason", err)
	}
}

// problems returns why the record is not on disk.
func (r *addressRecord) problems() []string {
	if err := r.Problem(); err != nil {
		return []string{fmt.Sprintf("the addresses of this director cannot be recorded: %v: after a crash `lvsd cleanup` uses those of the configuration file; make room in state_dir, or make it writable", err)}
	}
	return nil
}

// virtualRouter identifies a virtual router on this host.
type virtualRouter struct {
	iface string
	vrid  uint8
	v6    bool
}

func routerOf(e persist.Instance) virtualRouter {
	return virtualRouter{e.Interface, e.VRID, len(e.Addresses) > 0 && e.Addresses[0].Addr().Is6()}
}

// noLongerConfigured returns the part of the last record that the next one lacks. The
// macvlan of a virtual router that both have is left to its instance.
func noLongerConfigured(last, next []persist.Instance) (all []persist.Instance) {
	type location struct {
		iface string
		addr  netip.Addr
	}
	kept, routers := map[location]bool{}, map[virtualRouter]bool{}
	var routes []config.Route
	var rules []config.Rule
	for _, e := range next {
		routers[routerOf(e)] = true
		for _, p := range e.Addresses {
			kept[location{e.Interface, p.Addr()}] = true
		}
		routes, rules = append(routes, e.Routes...), append(rules, e.Rules...)
	}
	for _, e := range last {
		r := routerOf(e)
		e.Addresses = slices.DeleteFunc(slices.Clone(e.Addresses), func(p netip.Prefix) bool { return kept[location{e.Interface, p.Addr()}] })
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

// removeAll removes the addresses, routes and rules of instances.
func removeAll(instances []persist.Instance) (removed []RemovedAddress, err error) {
	removed = []RemovedAddress{}
	var errs []error
	for _, e := range instances {
		fail := func(err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", e.Name, err))
			}
		}
		fail(removeRoutes(e))
		if _, err := net.InterfaceByName(e.Interface); err != nil {
			continue // its addresses are gone too
		}
		families := map[link.Family][]netip.Prefix{}
		for _, p := range e.Addresses {
			families[familyOf(p)] = append(families[familyOf(p)], p)
		}
		for family, addresses := range families {
			port, err := link.Open(e.Interface, family, link.Router{VRID: e.VRID, MAC: e.VirtualMAC && e.VRID != 0})
			if err != nil {
				fail(err)
				continue
			}
			before, err := port.State(addresses, netip.Addr{}, false)
			fail(err)
			held, _, err := port.SetAddresses(addresses, nil, false)
			fail(err)
			for _, p := range before.Present {
				if !slices.Contains(held, p) {
					removed = append(removed, RemovedAddress{e.Name, e.Interface, p.Addr().String()})
				}
			}
			fail(port.Close())
		}
	}
	return removed, errors.Join(errs...)
}

// removeRoutes removes an instance's routes and rules. It works without the
// interface of the addresses, which may be gone.
func removeRoutes(e persist.Instance) error {
	var extra link.ExtraRoutes
	for _, r := range e.Routes {
		extra.Routes = append(extra.Routes, link.Route(r))
	}
	for _, r := range e.Rules {
		extra.Rules = append(extra.Rules, link.Rule(r))
	}
	if extra.Empty() {
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
	_, err = port.SetRoutes(extra, false)
	return errors.Join(err, port.Close())
}

func familyOf(p netip.Prefix) link.Family {
	if p.Addr().Is6() {
		return link.IPv6
	}
	return link.IPv4
}
