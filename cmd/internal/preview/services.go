package preview

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/config"
	"lvsd/ipvs"
)

// builder makes a Preview from the writes to the kernel's table and the differences between
// the two configurations.
type builder struct {
	director.DryRun
	out *Preview

	ops      map[ipvs.ServiceKey][]ipvs.Op
	draining map[ipvs.Entry]ipvs.Draining
	running  map[ipvs.ServiceKey]config.Service
}

func (b *builder) services() {
	b.ops, b.draining, b.running = map[ipvs.ServiceKey][]ipvs.Op{}, map[ipvs.Entry]ipvs.Draining{}, map[ipvs.ServiceKey]config.Service{}
	for _, op := range b.Table.Ops {
		if b.isPath(op.Service.Key) {
			if op.Kind == ipvs.AddService || op.Kind == ipvs.DeleteService {
				b.out.Settings = append(b.out.Settings, Change{"path of checks with through, " + op.Service.Key.String(), present(op.Kind == ipvs.DeleteService), present(op.Kind == ipvs.AddService)})
			}
			continue
		}
		b.ops[op.Service.Key] = append(b.ops[op.Service.Key], op)
	}
	for _, d := range b.Table.Draining {
		b.draining[d.Entry] = d
	}
	if b.Running != nil {
		for _, svc := range b.Running.Services {
			b.running[decision.ServiceKey(svc)] = svc
		}
	}
	stays := map[ipvs.ServiceKey]bool{}
	for i, svc := range b.Next.Services {
		k := decision.ServiceKey(svc)
		stays[k] = true
		s := b.service(k, svc.Name)
		b.describe(&s, k, svc, b.Decided.Services[i])
		b.addChanged(s)
	}
	leaving := map[ipvs.ServiceKey]bool{}
	for k := range b.running {
		leaving[k] = true
	}
	for k := range b.ops {
		leaving[k] = true
	}
	for _, k := range slices.SortedFunc(func(yield func(ipvs.ServiceKey) bool) {
		for k := range leaving {
			if !stays[k] && !yield(k) {
				return
			}
		}
	}, ipvs.ServiceKey.Compare) {
		s := b.service(k, b.running[k].Name)
		b.leaves(&s, k)
		b.addChanged(s)
	}
}

// isPath reports whether a service is that of a mark probe, which is not shown.
func (b *builder) isPath(k ipvs.ServiceKey) bool {
	for _, c := range []*config.Config{b.Running, b.Next} {
		if c != nil && k.Mark != 0 && k.Mark-c.IPVS.ProbeMarkBase < config.ProbeMarkCount {
			return true
		}
	}
	return false
}

func present(there bool) string {
	if there {
		return "there"
	}
	return "none"
}

// addChanged adds a service to the preview if it changes.
func (b *builder) addChanged(s Service) {
	if s.Action == Edit && len(s.Changes)+len(s.RealServers)+len(s.Checks)+s.RestartedChecks == 0 && s.OldName == "" {
		return
	}
	for _, rs := range s.RealServers {
		if rs.Action == Remove {
			b.out.Ending.Active += rs.Connections.Active
			b.out.Ending.Inactive += rs.Connections.Inactive
			b.out.Ending.Persistent += rs.Connections.Persistent
		}
	}
	b.out.Services = append(b.out.Services, s)
}

func (b *builder) service(k ipvs.ServiceKey, name string) Service {
	s := Service{Name: name, Service: k.String(), Action: Edit, Changes: []Change{}, RealServers: []RealServer{},
		Checks: []CheckChange{}, Warnings: []string{}, UsableBefore: b.Table.Table[k].Usable()}
	for _, d := range b.Table.Stats[k].Destinations {
		s.Connections.add(d)
	}
	return s
}

// describe describes a service of the next configuration.
func (b *builder) describe(s *Service, k ipvs.ServiceKey, svc config.Service, decided decision.Service) {
	s.UsableAfter = b.Decided.Desired.Table[k].Usable()
	writes := map[netip.AddrPort]ipvs.Op{}
	for _, op := range b.ops[k] {
		switch op.Kind {
		case ipvs.AddService:
			s.Action = Add
			s.Changes = append(s.Changes, Change{"settings", "none", op.Service.String()})
		case ipvs.EditService:
			s.Changes = append(s.Changes, serviceChanges(op.FromService, op.Service)...)
		default:
			writes[op.Destination.Address] = op
		}
	}
	before := b.inFile(s, k, svc)
	for i, rs := range svc.RealServers {
		op, written := writes[rs.Address]
		delete(writes, rs.Address)
		was, stood := before[rs.Address]
		b.server(s, k, decided.Servers[i], op, written, was, stood)
	}
	for _, op := range b.ops[k] { // removed from the file, the fallback, foreign ones
		if _, left := writes[op.Destination.Address]; left && op.Destination.Address.IsValid() {
			b.leaving(s, k, op, svc.DrainTimeout)
		}
	}
	b.drainsWithoutWrite(s, k, writes, svc.DrainTimeout)
	b.unlisted(s, k, svc, before)
	b.checks(s, svc, before)
	if s.UsableBefore > 0 && s.UsableAfter == 0 {
		s.Warnings = append(s.Warnings, "no real server would accept new connections")
	}
	for _, e := range b.Table.Foreign {
		if e.Service == k && b.Next.IPVS.Foreign == "alarm" {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%s was added by another process and is kept ([ipvs] foreign = \"alarm\")", e.RealServer))
		}
	}
}

// server describes a real server of the next configuration.
func (b *builder) server(s *Service, k ipvs.ServiceKey, decided decision.RealServer, op ipvs.Op, written bool, was config.RealServer, stood bool) {
	out := b.realServer(k, decided.Address)
	if written {
		out.write(op)
	}
	out.InKernel, out.Weight, out.Configured = decided.InTable, decided.Weight, decided.Configured
	if out.Weight < out.Configured || !out.InKernel {
		out.Why = decided.Why().Text
	}
	_, inKernel := b.Table.Table[k].Destinations[decided.Address]
	if !written && !stood && !inKernel {
		out.Action = Add // later: one that failed or has no result is not in the table
	}
	carried := written && op.Kind == ipvs.EditDestination && out.Weight == out.Configured
	if stood && was.Weight != out.Configured && !carried {
		out.Changes = append(out.Changes, Change{"configured_weight", fmt.Sprint(was.Weight), fmt.Sprint(out.Configured)})
		if out.Action == "" {
			out.Action = Edit
		}
	}
	if out.Action != "" {
		s.RealServers = append(s.RealServers, out)
	}
}

// unlisted adds the servers that leave the file and are not in the kernel.
func (b *builder) unlisted(s *Service, k ipvs.ServiceKey, svc config.Service, before map[netip.AddrPort]config.RealServer) {
	stays := map[netip.AddrPort]bool{}
	for _, rs := range svc.RealServers {
		stays[rs.Address] = true
	}
	for _, rs := range b.running[k].RealServers {
		_, was := before[rs.Address]
		if _, inKernel := b.Table.Table[k].Destinations[rs.Address]; was && !stays[rs.Address] && !inKernel {
			out := b.realServer(k, rs.Address)
			out.Action = Remove
			s.RealServers = append(s.RealServers, out)
		}
	}
}

// inFile describes what differs between the two files of a service, except for what the
// writes to the kernel show, and returns the servers that it has now.
func (b *builder) inFile(s *Service, k ipvs.ServiceKey, svc config.Service) map[netip.AddrPort]config.RealServer {
	was, ok := b.running[k]
	if !ok {
		return nil
	}
	if was.Name != svc.Name {
		s.OldName = was.Name
	}
	s.Changes = append(s.Changes, fields("", was, svc, notOfService)...)
	before := map[netip.AddrPort]config.RealServer{}
	for _, rs := range was.RealServers {
		before[rs.Address] = rs
	}
	return before
}

// notOfService are the fields of a service that its key, the kernel's writes and its
// real servers show.
var notOfService = map[string]bool{"Name": true, "Address": true, "FWMark": true, "IPv6": true, "Protocol": true,
	"Scheduler": true, "SchedulerFlags": true, "Persistence": true, "PersistenceBits": true, "PersistenceEngine": true,
	"OnePacket": true, "Forward": true, "Tunnel": true, "FallbackForward": true, "RealServers": true, "Digest": true, "File": true}

func (b *builder) realServer(k ipvs.ServiceKey, a netip.AddrPort) RealServer {
	rs := RealServer{Address: a.String(), Changes: []Change{}}
	rs.Connections.add(b.Table.Stats[k].Destinations[a])
	return rs
}

// write describes the write of a destination.
func (rs *RealServer) write(op ipvs.Op) {
	switch op.Kind {
	case ipvs.AddDestination:
		rs.Action, rs.InKernel, rs.Weight = Add, true, op.Destination.Weight
		rs.Changes = append(rs.Changes, Change{"settings", "none", op.Destination.String()})
	case ipvs.DeleteDestination:
		rs.Action, rs.Weight = Remove, 0
		rs.Changes = append(rs.Changes, Change{"settings", op.FromDestination.String(), "none"})
	case ipvs.EditDestination:
		rs.Action, rs.InKernel, rs.Weight = Edit, true, op.Destination.Weight
		rs.Changes = append(rs.Changes, destinationChanges(op.FromDestination, op.Destination)...)
	}
}

// leaving describes the write of a destination that is not in the file.
func (b *builder) leaving(s *Service, k ipvs.ServiceKey, op ipvs.Op, timeout time.Duration) {
	rs := b.realServer(k, op.Destination.Address)
	rs.write(op)
	if d, drains := b.draining[ipvs.Entry{Service: k, RealServer: op.Destination.Address}]; drains {
		rs.Action, rs.DrainSeconds = Drain, timeout.Seconds()
		if timeout == 0 {
			rs.DrainSeconds = d.Deadline.Sub(d.Since).Seconds()
		}
	}
	s.RealServers = append(s.RealServers, rs)
}

// drainsWithoutWrite are those that have weight 0 already and begin to drain.
func (b *builder) drainsWithoutWrite(s *Service, k ipvs.ServiceKey, writes map[netip.AddrPort]ipvs.Op, timeout time.Duration) {
	for _, d := range b.Table.Draining {
		if d.Service != k {
			continue
		}
		_, written := writes[d.RealServer]
		if _, was := b.Before.Desired.Table[k].Destinations[d.RealServer]; written || !was {
			continue // shown already, or it is draining before, too
		}
		rs := b.realServer(k, d.RealServer)
		rs.Action, rs.InKernel, rs.DrainSeconds = Drain, true, max(timeout, d.Deadline.Sub(d.Since)).Seconds()
		s.RealServers = append(s.RealServers, rs)
	}
}

// leaves describes a service that is not in the next configuration.
func (b *builder) leaves(s *Service, k ipvs.ServiceKey) {
	if s.Name == "" {
		s.Name = k.String()
	}
	writes := map[netip.AddrPort]ipvs.Op{}
	for _, op := range b.ops[k] {
		if op.Kind == ipvs.DeleteService {
			s.Action = Remove
			for _, a := range addresses(op.FromService) {
				rs := b.realServer(k, a)
				rs.write(ipvs.Op{Kind: ipvs.DeleteDestination, Destination: op.FromService.Destinations[a], FromDestination: op.FromService.Destinations[a]})
				s.RealServers = append(s.RealServers, rs)
			}
			return
		}
		writes[op.Destination.Address] = op
		b.leaving(s, k, op, 0)
	}
	b.drainsWithoutWrite(s, k, writes, 0)
	if _, there := b.running[k]; there {
		s.Action = Drain
		if _, inKernel := b.Table.Table[k]; !inKernel {
			s.Action = Remove
		}
	}
}

func addresses(s ipvs.Service) []netip.AddrPort {
	var all []netip.AddrPort
	for a := range s.Destinations {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return all
}

// checks describes the changed checks of the servers that remain.
func (b *builder) checks(s *Service, svc config.Service, before map[netip.AddrPort]config.RealServer) {
	index := map[Change]int{}
	for _, rs := range svc.RealServers {
		was, stays := before[rs.Address]
		if !stays {
			continue
		}
		if b.RestartedChecks[decision.ServerID(svc, rs)] > 0 {
			s.RestartedChecks++
		}
		for _, c := range checkChanges(was.Checks, rs.Checks) {
			i, known := index[c]
			if !known {
				i = len(s.Checks)
				index[c] = i
				s.Checks = append(s.Checks, CheckChange{Change: c})
			}
			s.Checks[i].RealServers++
		}
	}
}

func checkChanges(was, is []config.Check) []Change {
	if len(was) != len(is) {
		return []Change{{"check", kinds(was), kinds(is)}}
	}
	var all []Change
	for i := range is {
		name := "check"
		if len(is) > 1 {
			name = fmt.Sprintf("check[%d]", i)
		}
		all = append(all, fields(name, was[i], is[i], nil)...)
	}
	return all
}

func kinds(checks []config.Check) string {
	var names []string
	for _, c := range checks {
		names = append(names, c.Type)
	}
	return strings.Join(names, " ")
}

// serviceChanges names what an edit changes of a service in the kernel.
func serviceChanges(from, to ipvs.Service) []Change {
	return differing(
		Change{"scheduler", from.Scheduler, to.Scheduler},
		Change{"scheduler_flags", flagNames(from), flagNames(to)},
		Change{"persistence", seconds(from.Persistence), seconds(to.Persistence)},
		Change{"persistence_netmask", bits(from), bits(to)},
		Change{"persistence_engine", orNone(from.Engine), orNone(to.Engine)},
	)
}

// destinationChanges names what an edit changes of a destination.
func destinationChanges(from, to ipvs.Destination) []Change {
	return differing(
		Change{"weight", fmt.Sprint(from.Weight), fmt.Sprint(to.Weight)},
		Change{"forward", from.Forward.String(), to.Forward.String()},
		Change{"upper_threshold", fmt.Sprint(from.UpperThreshold), fmt.Sprint(to.UpperThreshold)},
		Change{"lower_threshold", fmt.Sprint(from.LowerThreshold), fmt.Sprint(to.LowerThreshold)},
		Change{"tunnel", from.Encap.String(), to.Encap.String()},
	)
}

func differing(all ...Change) []Change {
	return slices.DeleteFunc(all, func(c Change) bool { return c.From == c.To })
}

func flagNames(s ipvs.Service) string { return orNone(strings.Join(s.Flags.Names(s.Scheduler), " ")) }

func seconds(n uint32) string { return (time.Duration(n) * time.Second).String() }

func bits(s ipvs.Service) string {
	host := 128
	if s.Key.Is4() {
		host = 32
	}
	if s.PersistenceBits == 0 {
		s.PersistenceBits = host
	}
	return fmt.Sprintf("/%d", s.PersistenceBits)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
