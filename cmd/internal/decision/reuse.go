package decision

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"lvsd/checker"
	"lvsd/config"
	"lvsd/ipvs"
)

// reusableServers reports whether a service's decision depends only on its text in the file
// and on the health of its servers, not on the time or the kernel. A cause that depends on
// more must be named here, or use wakeAt.
func reusableServers(svc config.Service, servers []*evaluation) bool {
	if svc.FlapDamping || svc.Digest == "" {
		return false
	}
	return !slices.ContainsFunc(servers, func(s *evaluation) bool {
		return s.state == checker.Unknown || s.frozen
	})
}

// reuse returns the decision before for a service, where deciding again would give the
// same: of ten thousand servers a reload or a failure concerns few.
func (d *decider) reuse(svc config.Service) (ipvs.Service, Service, bool) {
	before := d.services[svc.Name]
	if d.Before != nil && d.keepTemplates != d.Before.Desired.KeepTemplates && svc.Persistence > 0 {
		return ipvs.Service{}, Service{}, false
	}
	if before == nil || !before.reusable || svc.Digest != before.digest || len(d.guard.frozen) > 0 || len(d.Before.Guard.frozen) > 0 {
		return ipvs.Service{}, Service{}, false
	}
	if !sameHealthMap(d.Health, d.Before.health) {
		for i := range before.Servers {
			id := before.Servers[i].ID
			if !sameHealth(d.Health[id], d.Before.health[id]) {
				return ipvs.Service{}, Service{}, false
			}
		}
	}
	return d.Before.Desired.Table[before.Key], *before, true
}

// sameHealthMap reports whether two maps are the same one: health is not changed once it is
// published.
func sameHealthMap(a, b map[checker.ID]checker.Health) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

// sameHealth compares what decisions read of it.
func sameHealth(a, b checker.Health) bool {
	return a.State == b.State && a.Since.Equal(b.Since) && a.Cause == b.Cause && a.Detail == b.Detail &&
		a.Weight == b.Weight && a.Maint == b.Maint && a.Drain == b.Drain &&
		a.UncheckedSince.Equal(b.UncheckedSince) && a.UncheckedWhy == b.UncheckedWhy
}

// Lookup returns a function that finds a server of the service; most are at the same place
// as before.
func (p *Service) Lookup() func(i int, a netip.AddrPort) *RealServer {
	if p == nil {
		return func(int, netip.AddrPort) *RealServer { return nil }
	}
	var all map[netip.AddrPort]*RealServer
	return func(i int, a netip.AddrPort) *RealServer {
		if i < len(p.Servers) && p.Servers[i].Address == a {
			return &p.Servers[i]
		}
		if all == nil {
			all = make(map[netip.AddrPort]*RealServer, len(p.Servers))
			for j := range p.Servers {
				all[p.Servers[j].Address] = &p.Servers[j]
			}
		}
		return all[a]
	}
}

// SameDesired compares two desired states in full.
func SameDesired(a, b ipvs.Desired) bool {
	tables := maps.EqualFunc(a.Table, b.Table, func(s, t ipvs.Service) bool {
		return maps.Equal(s.Destinations, t.Destinations) && sameButMaps(&s, &t)
	})
	return tables && maps.Equal(a.Names, b.Names) && maps.Equal(a.Drain, b.Drain) && maps.Equal(a.NoDrain, b.NoDrain) && maps.Equal(a.Prime, b.Prime) && sameRest(a, b)
}

func sameButMaps(s, t *ipvs.Service) bool {
	x, y := *s, *t
	x.Destinations, y.Destinations = nil, nil
	return reflect.DeepEqual(x, y)
}

// sameRest compares everything except the maps, whatever fields there are.
func sameRest(a, b ipvs.Desired) bool {
	a.Table, a.Names, a.Drain, a.NoDrain, a.Prime = nil, nil, nil, nil, nil
	b.Table, b.Names, b.Drain, b.NoDrain, b.Prime = nil, nil, nil, nil, nil
	return reflect.DeepEqual(a, b)
}
