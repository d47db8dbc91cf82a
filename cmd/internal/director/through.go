package director

// Probes that go through the kernel's forwarding: to the service's address, on
// one real server. Such a probe's socket has a firewall mark, and a service of
// that mark has this one server. The services are ours, and part of the wish
// like all others, but nobody's to see.

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"lvsd/checker/probe"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
)

// Host is what such probes need of this machine.
type Host interface {
	// Route is the address that packets to a real server leave from, and the
	// interface that they leave by.
	Route(to netip.Addr) (from netip.Addr, by string, err error)
	// AcceptLocal makes these interfaces take answers that come from an address
	// of this very host, which the service's is on a master, and restores all
	// others to what was found.
	AcceptLocal(interfaces []string) error
}

// path is one way to a real server: the same for all services that use it.
type path struct {
	server  netip.Addr
	ipv6    bool // of the service
	forward string
	tunnel  config.Tunnel
}

// Through is a path with its mark.
type Through struct {
	Mark    uint32
	From    netip.Addr // what its probes come from
	Service ipvs.Service
	by      string
}

// Throughs are the paths of a configuration.
type Throughs map[path]Through

// throughs holds those of the running configuration.
type throughs struct {
	host  Host
	log   *slog.Logger
	paths Throughs
}

func pathOf(svc config.Service, rs config.RealServer) path {
	return path{rs.Address.Addr(), svc.IPv6, rs.Forward, rs.Tunnel}
}

func probedThrough(rs config.RealServer) bool {
	return slices.ContainsFunc(rs.Checks, func(c config.Check) bool { return c.Through })
}

// prepare finds a mark and a route for each path. A path keeps its mark for as
// long as the configuration has it, so that its probes go on over a reload.
func (t *throughs) prepare(_, next *config.Config) (reload.Change, error) {
	want := Throughs{}
	var mistakes []error
	for _, svc := range next.Services {
		for _, rs := range svc.RealServers {
			if !probedThrough(rs) {
				continue
			}
			p := pathOf(svc, rs)
			if _, done := want[p]; done {
				continue
			}
			if t.host == nil {
				return reload.Change{}, nil // nobody probes here
			}
			from, by, err := t.host.Route(p.server)
			if err != nil {
				mistakes = append(mistakes, fmt.Errorf("%s:%d:%d: virtual_service %s: no probe can go through to real server %s: %w", next.File, rs.Line, rs.Col, svc.Name, p.server, err))
				continue
			}
			want[p] = Through{From: from, by: by}
		}
	}
	if err := errors.Join(mistakes...); err != nil {
		return reload.Change{}, err
	}
	want.number(next, t.paths)
	return reload.Change{Commit: func() {
		t.paths = want
		if t.host == nil {
			return
		}
		if err := t.host.AcceptLocal(want.interfaces()); err != nil {
			t.log.Error("checks with through may fail while this director is master", "reason", err)
		}
	}}, nil
}

// number gives every path its mark and its service: those of before keep
// theirs, the others get the lowest that are free, in the order of the file.
func (t Throughs) number(c *config.Config, before Throughs) {
	taken := map[uint32]bool{}
	for p := range t {
		if was, ok := before[p]; ok && was.Mark-c.IPVS.ThroughMarks < config.ThroughMarkCount {
			own := t[p]
			own.Mark = was.Mark
			t[p] = own
			taken[was.Mark] = true
		}
	}
	free := c.IPVS.ThroughMarks
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			p := pathOf(svc, rs)
			own, ok := t[p]
			if !ok || !probedThrough(rs) {
				continue
			}
			for own.Mark == 0 {
				if !taken[free] {
					own.Mark = free
				}
				free++
			}
			own.Service = throughService(own.Mark, p, rs)
			t[p] = own
		}
	}
}

func throughService(mark uint32, p path, rs config.RealServer) ipvs.Service {
	d := decision.DesiredDestination(rs)
	d.Address = netip.AddrPortFrom(rs.Address.Addr(), 0) // the probe's own port is kept
	d.Weight, d.UpperThreshold, d.LowerThreshold = 1, 0, 0
	bits := 32
	if p.ipv6 {
		bits = 128
	}
	return ipvs.Service{Key: ipvs.ServiceKey{Mark: mark, IPv6: p.ipv6}, Scheduler: "rr", PersistenceBits: bits,
		Destinations: map[netip.AddrPort]ipvs.Destination{d.Address: d}}
}

// interfaces are those whose answers the kernel would take for forgeries.
func (t Throughs) interfaces() []string {
	var all []string
	for p, own := range t {
		if !p.ipv6 && !slices.Contains(all, own.by) { // IPv6 knows no such forgeries
			all = append(all, own.by)
		}
	}
	slices.Sort(all)
	return all
}

// services are those of the paths.
func (t Throughs) services() []decision.MarkService {
	all := make([]decision.MarkService, 0, len(t))
	for p, own := range t {
		all = append(all, decision.MarkService{Service: own.Service, Name: fmt.Sprintf("probes through to %s", p.server)})
	}
	return all
}

// open says that the kernel has the path: a probe without it would go to whoever
// has the service's address.
func (t Throughs) open(svc config.Service, rs config.RealServer, kernel ipvs.Table) bool {
	own, ok := t[pathOf(svc, rs)]
	if !ok {
		return false
	}
	_, ok = kernel[own.Service.Key].Destinations[netip.AddrPortFrom(rs.Address.Addr(), 0)]
	return ok
}

// lead sends a probe of a real server through.
func (t Throughs) lead(svc config.Service, rs config.RealServer, check config.Check, probe *probe.Check) {
	own := t[pathOf(svc, rs)]
	probe.Mark, probe.MarkPath = own.Mark, true
	probe.Address = netip.AddrPortFrom(svc.Address.Addr(), check.Address.Port())
	if !probe.From.IsValid() {
		probe.From = own.From
	}
}
