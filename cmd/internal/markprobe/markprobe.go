package markprobe

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
	// Route returns the address that packets to a real server leave from, and the
	// interface that they leave by.
	Route(to netip.Addr) (from netip.Addr, iface string, err error)
	// AcceptLocal makes these interfaces accept replies whose source is an address
	// of this host, as the service's is on a master, and restores the settings of
	// all others.
	AcceptLocal(interfaces []string) error
}

// route identifies a path: all services that reach a server in the same way share
// one.
type route struct {
	server  netip.Addr
	ipv6    bool // of the service
	forward string
	tunnel  config.Tunnel
}

func routeOf(svc config.Service, rs config.RealServer) route {
	return route{rs.Address.Addr(), svc.IPv6, rs.Forward, rs.Tunnel}
}

// MarkPath is a path to one real server.
type MarkPath struct {
	Mark    uint32
	From    netip.Addr // source address of its probes
	Service ipvs.Service
	iface   string // that packets to the server leave by
}

// Paths are the paths of a configuration.
type Paths map[route]MarkPath

// Set holds the paths of the running configuration. One goroutine uses it.
type Set struct {
	host  Host // nil: no probe uses a mark here
	log   *slog.Logger
	paths Paths
}

// New makes an empty Set.
func New(host Host, log *slog.Logger) *Set { return &Set{host: host, log: log} }

// Paths returns the paths that are in use. They must not be changed.
func (s *Set) Paths() Paths { return s.paths }

// Uses reports whether a real server has checks through a mark.
func Uses(rs config.RealServer) bool {
	return slices.ContainsFunc(rs.Checks, func(c config.Check) bool { return c.Through })
}

// Prepare finds a mark and a route for each path, and refuses the configuration when
// a server has no route. A path keeps its mark for as long as the configuration has
// it, so that its probes continue over a reload.
func (s *Set) Prepare(_, next *config.Config) (reload.Change, error) {
	want, err := s.find(next)
	if want == nil || err != nil {
		return reload.Change{}, err
	}
	return reload.Change{Commit: func() {
		s.paths = want
		if s.host == nil {
			return
		}
		if err := s.host.AcceptLocal(want.interfaces()); err != nil {
			s.log.Error("checks with through may fail while this director is master", "reason", err)
		}
	}}, nil
}

// DryRun returns the paths that the configuration would have; the present ones where
// it would be refused.
func (s *Set) DryRun(next *config.Config) Paths {
	if want, err := s.find(next); want != nil && err == nil {
		return want
	}
	return s.paths
}

// find returns the paths of a configuration; nil where there is no host to use them.
func (s *Set) find(next *config.Config) (Paths, error) {
	want := Paths{}
	var errs []error
	for _, svc := range next.Services {
		for _, rs := range svc.RealServers {
			if !Uses(rs) {
				continue
			}
			r := routeOf(svc, rs)
			if _, done := want[r]; done {
				continue
			}
			if s.host == nil {
				return nil, nil
			}
			from, iface, err := s.host.Route(r.server)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d:%d: virtual_service %s: real server %s cannot be checked through the kernel: %w", next.File, rs.Line, rs.Col, svc.Name, r.server, err))
				continue
			}
			want[r] = MarkPath{From: from, iface: iface}
		}
	}
	want.number(next, s.paths)
	return want, errors.Join(errs...)
}

// number gives every path its mark and its service: paths of before keep their mark,
// the others get the lowest that are free, in the order of the file.
func (p Paths) number(c *config.Config, before Paths) {
	taken := map[uint32]bool{}
	for r, path := range p {
		if was, ok := before[r]; ok && was.Mark-c.IPVS.ProbeMarkBase < config.ProbeMarkCount {
			path.Mark = was.Mark
			p[r] = path
			taken[was.Mark] = true
		}
	}
	free := c.IPVS.ProbeMarkBase
	for _, svc := range c.Services {
		for _, rs := range svc.RealServers {
			r := routeOf(svc, rs)
			path, ok := p[r]
			if !ok || !Uses(rs) {
				continue
			}
			for path.Mark == 0 {
				if !taken[free] {
					path.Mark = free
				}
				free++
			}
			path.Service = markService(path.Mark, r, rs)
			p[r] = path
		}
	}
}

func markService(mark uint32, r route, rs config.RealServer) ipvs.Service {
	d := decision.DesiredDestination(rs)
	d.Address = netip.AddrPortFrom(rs.Address.Addr(), 0) // the probe's own port is kept
	d.Weight, d.UpperThreshold, d.LowerThreshold = 1, 0, 0
	bits := 32
	if r.ipv6 {
		bits = 128
	}
	return ipvs.Service{Key: ipvs.ServiceKey{Mark: mark, IPv6: r.ipv6}, Scheduler: "rr", PersistenceBits: bits,
		Destinations: map[netip.AddrPort]ipvs.Destination{d.Address: d}}
}

// interfaces are those on which the kernel would drop the replies as martians; IPv6
// has no such check.
func (p Paths) interfaces() []string {
	var all []string
	for r, path := range p {
		if !r.ipv6 && !slices.Contains(all, path.iface) {
			all = append(all, path.iface)
		}
	}
	slices.Sort(all)
	return all
}

// Services returns the services of the paths, for the desired table.
func (p Paths) Services() []decision.MarkService {
	all := make([]decision.MarkService, 0, len(p))
	for r, path := range p {
		all = append(all, decision.MarkService{Service: path.Service, Name: fmt.Sprintf("probes of %s through the kernel", r.server)})
	}
	return all
}

// Installed reports whether the kernel has a real server's path: a probe without it
// would go to whichever host has the service's address.
func (p Paths) Installed(svc config.Service, rs config.RealServer, kernel ipvs.Table) bool {
	path, ok := p[routeOf(svc, rs)]
	if !ok {
		return false
	}
	_, ok = kernel[path.Service.Key].Destinations[netip.AddrPortFrom(rs.Address.Addr(), 0)]
	return ok
}

// Apply makes a check of a real server use its path.
func (p Paths) Apply(svc config.Service, rs config.RealServer, check config.Check, to *probe.Check) {
	path := p[routeOf(svc, rs)]
	to.Mark, to.MarkPath = path.Mark, true
	to.Address = netip.AddrPortFrom(svc.Address.Addr(), check.Address.Port())
	if !to.From.IsValid() {
		to.From = path.From
	}
}
