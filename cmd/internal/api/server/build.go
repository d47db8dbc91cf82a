package server

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/printable"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// builder collects a status.
type builder struct {
	api.Status
	found []ranked
}

func build(v director.View, version string, started time.Time) *builder {
	s := builder{Status: api.Status{
		Version:  version,
		Director: v.Config.Director,
		At:       v.At,
		Started:  started,
		Config: api.ConfigStatus{
			File:       v.Config.File,
			Hash:       v.Config.Hash,
			LoadedAt:   v.LastReload.LastSuccess,
			ReloadedAt: v.LastReload.At,
		},
		WaitReason: v.WaitReason,
		Peers:      []api.PeerStatus{},
		VRRP:       []api.InstanceStatus{},
		Announces:  []api.AnnounceStatus{},
		Services:   []api.ServiceStatus{},
		IPVS:       buildIPVS(v),
	}}
	if v.LastReload.Err != nil {
		s.Config.ReloadError = v.LastReload.Err.Error()
	}
	switch s.Config.FromLastGood = v.LastReload.LastGood; {
	case v.LastReload.LastGood:
		s.problemOf(rankLastGood, "running the LAST GOOD CONFIGURATION (loaded %s): %s is invalid; fix it and run lvsd reload: %s",
			v.LastReload.LastSuccess.Local().Format(time.DateTime), v.Config.File, firstLine(s.Config.ReloadError))
	case v.LastReload.Err != nil:
		s.problem("the last reload was rejected, still running the previous configuration: %s", firstLine(s.Config.ReloadError))
	}
	s.addIPVSProblems(v.Kernel)
	for _, e := range v.Instances {
		s.addInstance(e, v)
	}
	s.addAnnounces(v)
	s.addGuard(v)
	for i, p := range v.Decision.Services {
		s.addService(v, v.Config.Services[i], p)
	}
	return &s
}

func (s *builder) addIPVSProblems(k ipvs.Snapshot) {
	switch {
	case !k.Valid:
		s.problemOf(rankKernel, "IPVS: the kernel's table could not be read yet: %s", k.LastError)
	case !k.Up:
		s.problemOf(rankKernel, "IPVS: the kernel does not reply: %s", k.LastError)
	}
	for _, e := range s.IPVS.Errors {
		s.problem("IPVS: %s", e)
	}
	for _, f := range s.IPVS.Conflicts {
		s.problem("IPVS: %s", f)
	}
	if k.Foreign > 0 {
		s.problem("IPVS: another process added %s to services of lvsd", printable.Count(k.Foreign, "real server"))
	}
}

func buildIPVS(v director.View) api.IPVSStatus {
	k, names := v.Kernel, map[ipvs.ServiceKey]string{}
	for _, p := range v.Decision.Services {
		names[p.Key] = p.Name
	}
	out := api.IPVSStatus{Up: k.Up, LastResync: k.At, Foreign: k.Foreign, Drift: k.Drift, Errors: []string{}, Draining: []api.DrainingStatus{}, Conflicts: []string{}}
	for _, e := range k.Errors {
		out.Errors = append(out.Errors, fmt.Sprintf("%s: %v (tried %d times since %s)", e.Op, e.Err, e.Attempts, e.Since.Format(time.RFC3339)))
	}
	for _, text := range []string{k.LedgerError, k.SettingsError, k.SyncError} {
		if text != "" {
			out.Errors = append(out.Errors, text)
		}
	}
	for _, d := range k.Draining {
		draining := api.DrainingStatus{Service: names[d.Service], RealServer: d.RealServer.String(), Since: d.Since, Deadline: d.Deadline}
		if d.Counted {
			draining.Remaining = &d.Connections
		}
		out.Draining = append(out.Draining, draining)
	}
	for _, f := range k.Conflicts {
		out.Conflicts = append(out.Conflicts, fmt.Sprintf("%s: repeatedly modified by another process (%d repairs since %s)", place(f), f.Repairs, f.Since.Format(time.RFC3339)))
	}
	if k.Sync.Master.Running || k.Sync.Backup.Running || k.SyncError != "" {
		out.Sync = &api.SyncStatus{Master: syncDaemon(k.Sync.Master), Backup: syncDaemon(k.Sync.Backup), Foreign: !k.SyncOwned && k.SyncError == "", Error: k.SyncError}
	}
	return out
}

func syncDaemon(d ipvs.SyncDaemon) *api.SyncDaemonStatus {
	if !d.Running {
		return nil
	}
	out := &api.SyncDaemonStatus{Interface: d.Interface, ID: d.ID, Port: d.Port}
	if d.Group.IsValid() {
		out.Group = d.Group.String()
	}
	return out
}

// place names the object of a conflict.
func place(f ipvs.Conflict) string {
	if f.Entry == (ipvs.Entry{}) {
		return f.What
	}
	return f.What + " " + f.Entry.String()
}

func (s *builder) addInstance(e vrrp.Status, v director.View) {
	out := api.InstanceStatus{
		Name: e.Name, Interface: e.Interface, VRID: e.VRID,
		State: string(e.State), Since: e.Since, Reason: e.Reason, Detail: e.Detail,
		Priority: e.Priority, MasterPriority: e.MasterPriority,
		Contested: e.Contested, Alarm: e.Alarm, HasVIPs: e.HasVIPs, Addresses: e.Addresses,
	}
	i := slices.IndexFunc(v.Config.Instances, func(c config.Instance) bool { return c.Name == e.Name })
	if e.State == vrrp.Backup && i >= 0 && v.Config.Instances[i].Preempt {
		if out.WaitReason = v.WaitReason; v.InstanceWaitReasons != nil {
			out.WaitReason = v.InstanceWaitReasons[e.Name]
		}
	}
	for _, h := range e.Conflicts {
		out.Conflicts = append(out.Conflicts, api.AddressConflict(h))
	}
	for _, t := range e.Tracked {
		out.Tracked = append(out.Tracked, api.TrackedStatus{What: t.Name, Delta: t.Delta, Fault: t.Fault})
	}
	if hold, held := v.Standby[e.Name]; held {
		out.Standby, out.StandbyUntil = true, hold.Until
	}
	if e.Master.IsValid() {
		out.Master = e.Master.String()
	}
	if out.Addresses == nil {
		out.Addresses = []netip.Prefix{}
	}
	out.VirtualAddresses = []netip.Prefix{}
	if i >= 0 {
		out.VirtualAddresses = append(out.VirtualAddresses, v.Config.Instances[i].Addresses...)
	}
	s.VRRP = append(s.VRRP, out)
	if e.State == vrrp.Fault {
		s.problemOf(rankInstance, "vrrp %s: fault: %s", e.Name, e.Detail)
	}
	if e.Alarm != "" {
		r := rankInstance
		if e.Contested {
			r = rankTwoMasters
		}
		s.problemOf(r, "vrrp %s: %s", e.Name, e.Alarm)
	}
}

// addGuard adds the guard. A witness that does not reply while nothing is wrong is a
// problem: without one the guard would freeze genuine failures.
func (s *builder) addGuard(v director.View) {
	if v.Config.Guard == nil {
		return
	}
	g := v.Decision.Guard
	out := &api.GuardStatus{Active: g.Active(), State: string(g.State), Since: g.Since, Why: g.Why, Witnesses: []api.WitnessStatus{}}
	if out.Active {
		s.problemOf(rankGuard, "guard: health is frozen: %s", g.Why)
	}
	for _, w := range v.Config.Guard.Witnesses {
		h := v.Health[decision.WitnessID(w)]
		answers, asked := decision.WitnessAnswers(h)
		out.Witnesses = append(out.Witnesses, api.WitnessStatus{Address: w.String(), Answers: answers, LastProbe: lastProbe(h)})
		if asked && !answers && !out.Active {
			s.problem("guard: witness %s does not reply to pings", w)
		}
	}
	s.Guard = out
}

// addService combines configuration, decision and kernel.
func (s *builder) addService(v director.View, svc config.Service, p decision.Service) {
	kernel, stats := v.Kernel.Table[p.Key], v.Kernel.Stats[p.Key]
	out := api.ServiceStatus{
		Name: p.Name, Protocol: p.Key.Protocol.String(), Address: p.Key.Address.String(), FWMark: p.Key.Mark, Scheduler: svc.Scheduler,
		Up: p.Up, AvailableWeight: p.AvailableWeight, Quorum: svc.Quorum, Counters: api.Counters(stats.Counters), Rates: api.Rates(stats.Rates),
		RealServers: []api.RealServerStatus{},
	}
	out.Panic = p.Panic
	if f := p.Fallback; f.Address.IsValid() {
		connections := stats.Destinations[f.Address]
		out.Fallback = &api.FallbackStatus{Address: f.Address.String(), Active: f.Active, Since: f.Since, Open: connections.Active, Inactive: connections.Inactive}
		if dest, ok := kernel.Destinations[f.Address]; ok {
			out.Fallback.Weight = &dest.Weight
		}
	}
	if p.Key.Mark != 0 {
		out.Protocol, out.Address = "fwmark", ""
	}
	for i, decided := range p.Servers {
		rs := svc.RealServers[i]
		h := v.Health[decided.ID]
		connections := stats.Destinations[decided.Address]
		server := api.RealServerStatus{
			Address: decided.Address.String(), Forward: rs.Forward,
			Desired: decided.Weight, Configured: decided.Configured,
			Health: decided.State.String(), Since: h.Since, UncheckedSince: decided.UncheckedSince, Unchecked: decided.UncheckedWhy,
			Draining: decided.Draining(), DrainingSince: decided.DrainingSince(), DrainUntil: decided.DrainUntil, Why: decided.Why().Text, Causes: decided.Causes,
			Active: connections.Active, Inactive: connections.Inactive, Persistent: connections.Persistent,
			Counters: api.Counters(connections.Counters), Rates: api.Rates(connections.Rates), LastProbe: lastProbe(h), ProbedBy: h.ProbedBy,
		}
		if dest, ok := kernel.Destinations[decided.Address]; ok {
			server.Weight = &dest.Weight
		}
		out.RealServers = append(out.RealServers, server)
	}
	s.addServiceProblems(out, p, v.Health)
	s.Services = append(s.Services, out)
}

// lastProbe returns the newest result of a server's checks.
func lastProbe(h checker.Health) *api.Probe {
	var newest *api.Probe
	for _, c := range h.Checks {
		r := c.Last
		if r.At.IsZero() || newest != nil && !r.At.After(newest.At) {
			continue
		}
		probe := api.NewProbe(c.Name, c.Type, r)
		newest = &probe
	}
	return newest
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
