// Package api is how the daemon is asked: the JSON of the status, the HTTP
// server that only reads, the control socket, and the client that the
// commands use. It never decides and never touches the kernel.
package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// Status is the whole state of one director, as `lvsd status --json` prints
// it. Fields are only ever added.
type Status struct {
	Version  string    `json:"version"`
	Director string    `json:"director"`
	At       time.Time `json:"at"`
	Started  time.Time `json:"started"`
	// Healthy: no fault that an engineer on call should see. Problems names
	// each.
	Healthy  bool         `json:"healthy"`
	Problems []string     `json:"problems"`
	Config   ConfigStatus `json:"config"`
	// Waits is what this director waits for before it preempts a live master; ""
	// when it is ready.
	Waits string           `json:"waits,omitempty"`
	Peers []PeerStatus     `json:"peers"`
	VRRP  []ElectionStatus `json:"vrrp"`
	// Guard is the guard against mass failure; nil when it is off.
	Guard    *GuardStatus    `json:"guard,omitempty"`
	Services []ServiceStatus `json:"virtual_services"`
	IPVS     IPVSStatus      `json:"ipvs"`
}

// ConfigStatus tells which configuration runs.
type ConfigStatus struct {
	File       string    `json:"file"`
	Hash       string    `json:"hash"`
	LoadedAt   time.Time `json:"loaded_at"`
	ReloadedAt time.Time `json:"reloaded_at"`
	// ReloadError is why the newest reload was refused; empty when it was done.
	ReloadError string `json:"reload_error,omitempty"`
	// FromKept: the file was refused at the start, and what runs is the copy of
	// what ran before.
	FromKept bool `json:"from_kept_copy,omitempty"`
}

// ElectionStatus is one election as this director sees it.
type ElectionStatus struct {
	Name           string    `json:"name"`
	Interface      string    `json:"interface"`
	VRID           uint8     `json:"virtual_router_id"`
	State          string    `json:"state"` // init, backup, master, fault
	Since          time.Time `json:"since"`
	Reason         string    `json:"reason"` // bounded code
	Detail         string    `json:"detail"` // for people
	Priority       uint8     `json:"priority"`
	Master         string    `json:"master,omitempty"` // address of the master that is heard
	MasterPriority uint8     `json:"master_priority,omitempty"`
	// Waits is why a backup does not preempt a live master yet.
	Waits string `json:"waits,omitempty"`
	// Held: after a handover this director stays away, until HeldUntil or, where
	// that is zero, until it is told otherwise.
	Held      bool      `json:"held"`
	HeldUntil time.Time `json:"held_until,omitzero"`
	// Tracked is what bends the election at present.
	Tracked   []TrackedStatus `json:"tracked,omitempty"`
	Contested bool            `json:"contested"`
	Alarm     string          `json:"alarm,omitempty"` // what is wrong at present
	Holding   bool            `json:"holding"`         // the addresses are on the interface
	Addresses []netip.Prefix  `json:"addresses"`
}

// TrackedStatus is something that bends an election.
type TrackedStatus struct {
	What  string `json:"what"`  // "service web", "interface eth1", …
	Delta int    `json:"delta"` // added to the priority
	Fault bool   `json:"fault"` // keeps this director out
}

// ServiceStatus is one virtual service.
type ServiceStatus struct {
	Name        string             `json:"name"`
	Protocol    string             `json:"protocol"`
	Address     string             `json:"address"`          // "" of a firewall mark
	FWMark      uint32             `json:"fwmark,omitempty"` // 0 of an address
	Scheduler   string             `json:"scheduler"`
	Up          bool               `json:"up"` // has its quorum
	WeightAlive int                `json:"weight_alive"`
	Quorum      int                `json:"quorum"`
	Panic       bool               `json:"panic"` // so few are healthy that health is not heeded
	Fallback    *FallbackStatus    `json:"fallback,omitempty"`
	Counters    Counters           `json:"counters"`
	Rates       Rates              `json:"rates"`
	RealServers []RealServerStatus `json:"real_servers"`
}

// FallbackStatus is the server that takes over while the quorum is lost.
type FallbackStatus struct {
	Address string    `json:"address"`
	Active  bool      `json:"active"`
	Since   time.Time `json:"since,omitzero"`
	// Weight is what the kernel has; nil where the kernel has no such server.
	Weight   *int   `json:"weight"`
	Open     uint32 `json:"active_connections"`
	Inactive uint32 `json:"inactive_connections"`
}

// GuardStatus is the guard against mass failure.
type GuardStatus struct {
	// Active: the verdicts are frozen at what they were before most servers
	// failed at once, because no witness answers.
	Active    bool            `json:"active"`
	State     string          `json:"state"` // watching, asking, frozen, thawing
	Since     time.Time       `json:"since"`
	Why       string          `json:"why,omitempty"`
	Witnesses []WitnessStatus `json:"witnesses"`
}

// WitnessStatus is one witness of the guard.
type WitnessStatus struct {
	Address   string `json:"address"`
	Answers   bool   `json:"answers"` // its newest ping was answered
	LastProbe *Probe `json:"last_probe,omitempty"`
}

// RealServerStatus is one real server of one service.
type RealServerStatus struct {
	Address string `json:"address"`
	Forward string `json:"forward"`
	// Weight is what the kernel has; nil where the kernel has no such server.
	Weight     *int      `json:"weight"`
	Wanted     int       `json:"wanted_weight"`
	Configured int       `json:"configured_weight"`
	Verdict    string    `json:"verdict"` // up, down, unknown
	Since      time.Time `json:"since,omitzero"`
	Draining   bool      `json:"draining"`
	// DrainingSince is when the drain began.
	DrainingSince time.Time `json:"draining_since,omitzero"`
	// DrainUntil is when a drain by hand ends by itself.
	DrainUntil time.Time        `json:"drain_until,omitzero"`
	Why        string           `json:"why"`
	Causes     []decision.Cause `json:"causes"`
	Active     uint32           `json:"active_connections"`
	Inactive   uint32           `json:"inactive_connections"`
	Persistent uint32           `json:"persistent_connections"`
	Counters   Counters         `json:"counters"`
	Rates      Rates            `json:"rates"`
	LastProbe  *Probe           `json:"last_probe,omitempty"`
}

// Probe is the outcome of one probe.
type Probe struct {
	At     time.Time `json:"at"`
	Type   string    `json:"type"`
	Reason string    `json:"reason"`
	Phase  string    `json:"phase,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Took   float64   `json:"took_seconds"`
}

// Counters are the kernel's, since the service or server was made. They lag
// up to 2 s, the period of the kernel's estimator.
type Counters struct {
	Connections uint64 `json:"connections"`
	PacketsIn   uint64 `json:"packets_in"`
	PacketsOut  uint64 `json:"packets_out"`
	BytesIn     uint64 `json:"bytes_in"`
	BytesOut    uint64 `json:"bytes_out"`
}

// Rates are the kernel's estimates of what goes on each second.
type Rates struct {
	Connections uint64 `json:"connections_per_second"`
	PacketsIn   uint64 `json:"packets_in_per_second"`
	PacketsOut  uint64 `json:"packets_out_per_second"`
	BytesIn     uint64 `json:"bytes_in_per_second"`
	BytesOut    uint64 `json:"bytes_out_per_second"`
}

// IPVSStatus tells how the kernel's table stands to the wanted one.
type IPVSStatus struct {
	Up         bool              `json:"up"`
	LastResync time.Time         `json:"last_resync"`
	Foreign    int               `json:"foreign_entries"`
	Drift      map[string]uint64 `json:"drift"` // repaired since the start, by kind
	Errors     []string          `json:"errors"`
	// Sync is the connection synchronisation as the kernel runs it; nil when
	// it is off and was not left running by anybody.
	Sync     *SyncStatus      `json:"sync,omitempty"`
	Draining []DrainingStatus `json:"draining"`
	// Fights are the places that another writer changes again and again.
	Fights []string `json:"fights"`
}

// SyncStatus is the connection synchronisation: its sender and its receiver.
type SyncStatus struct {
	Master *SyncDaemonStatus `json:"master"` // sends; nil: does not run
	Backup *SyncDaemonStatus `json:"backup"` // receives
	Error  string            `json:"error,omitempty"`
}

// SyncDaemonStatus is one half of the synchronisation.
type SyncDaemonStatus struct {
	Interface string `json:"interface"`
	ID        uint32 `json:"id"`
	Group     string `json:"group,omitempty"`
	Port      uint16 `json:"port"`
}

// DrainingStatus is a real server that left the file and keeps its connections
// until they end or its time is over.
type DrainingStatus struct {
	Service    string    `json:"service"`
	RealServer string    `json:"real_server"`
	Since      time.Time `json:"since"`
	Deadline   time.Time `json:"deadline"`
	// Left are its connections and templates; nil: not counted yet.
	Left *int `json:"connections_left"`
}

// Build puts a view into the status's form.
func Build(v director.View, version string, started time.Time) Status {
	s := Status{
		Version:  version,
		Director: v.Config.Director,
		At:       v.At,
		Started:  started,
		Problems: []string{},
		Config: ConfigStatus{
			File:       v.Config.File,
			Hash:       v.Config.Hash,
			LoadedAt:   v.LastReload.LastSuccess,
			ReloadedAt: v.LastReload.At,
		},
		Waits:    v.Waits,
		Peers:    []PeerStatus{},
		VRRP:     []ElectionStatus{},
		Services: []ServiceStatus{},
		IPVS:     buildIPVS(v),
	}
	if v.LastReload.Err != nil {
		s.Config.ReloadError = v.LastReload.Err.Error()
	}
	switch s.Config.FromKept = v.LastReload.Kept; {
	case v.LastReload.Kept:
		s.problem("STARTED FROM THE KEPT COPY of what ran since %s, because %s was refused; mend it, then lvsd reload: %s",
			v.LastReload.LastSuccess.Local().Format(time.DateTime), v.Config.File, firstLine(s.Config.ReloadError))
	case v.LastReload.Err != nil:
		s.problem("the last reload was refused, the configuration before it runs: %s", firstLine(s.Config.ReloadError))
	}
	s.addIPVSProblems(v.Kernel)
	for _, e := range v.Elections {
		s.addElection(e, v)
	}
	s.addGuard(v)
	for i, p := range v.Plan.Services {
		s.addService(v, v.Config.Services[i], p)
	}
	s.Healthy = len(s.Problems) == 0
	return s
}

func (s *Status) problem(format string, args ...any) {
	s.Problems = append(s.Problems, fmt.Sprintf(format, args...))
}

func (s *Status) addIPVSProblems(k ipvs.Snapshot) {
	switch {
	case !k.Valid:
		s.problem("IPVS: the kernel's table could not be read yet: %s", k.LastError)
	case !k.Up:
		s.problem("IPVS: the kernel does not answer: %s", k.LastError)
	}
	for _, e := range s.IPVS.Errors {
		s.problem("IPVS: %s", e)
	}
	for _, f := range s.IPVS.Fights {
		s.problem("IPVS: %s", f)
	}
	if k.Foreign > 0 {
		s.problem("IPVS: %d real servers in our services that somebody else added", k.Foreign)
	}
}

func buildIPVS(v director.View) IPVSStatus {
	k, names := v.Kernel, map[ipvs.ServiceKey]string{}
	for _, p := range v.Plan.Services {
		names[p.Key] = p.Name
	}
	out := IPVSStatus{Up: k.Up, LastResync: k.At, Foreign: k.Foreign, Drift: k.Drift, Errors: []string{}, Draining: []DrainingStatus{}, Fights: []string{}}
	for _, e := range k.Errors {
		out.Errors = append(out.Errors, fmt.Sprintf("%s: %v (tried %d times since %s)", e.Op, e.Err, e.Attempts, e.Since.Format(time.RFC3339)))
	}
	for _, text := range []string{k.LedgerError, k.SettingsError, k.SyncError} {
		if text != "" {
			out.Errors = append(out.Errors, text)
		}
	}
	for _, d := range k.Draining {
		draining := DrainingStatus{Service: names[d.Service], RealServer: d.RealServer.String(), Since: d.Since, Deadline: d.Deadline}
		if d.Counted {
			draining.Left = &d.Left
		}
		out.Draining = append(out.Draining, draining)
	}
	for _, f := range k.Fights {
		out.Fights = append(out.Fights, fmt.Sprintf("%s: another writer changes it again and again (%d repairs since %s)", place(f), f.Repairs, f.Since.Format(time.RFC3339)))
	}
	if k.Sync.Master.Running || k.Sync.Backup.Running || k.SyncError != "" {
		out.Sync = &SyncStatus{Master: syncDaemon(k.Sync.Master), Backup: syncDaemon(k.Sync.Backup), Error: k.SyncError}
	}
	return out
}

func syncDaemon(d ipvs.SyncDaemon) *SyncDaemonStatus {
	if !d.Running {
		return nil
	}
	out := &SyncDaemonStatus{Interface: d.Interface, ID: d.ID, Port: d.Port}
	if d.Group.IsValid() {
		out.Group = d.Group.String()
	}
	return out
}

// place names what is fought over.
func place(f ipvs.Fight) string {
	if f.Entry == (ipvs.Entry{}) {
		return f.What
	}
	return f.What + " " + f.Entry.String()
}

func (s *Status) addElection(e vrrp.Status, v director.View) {
	out := ElectionStatus{
		Name: e.Name, Interface: e.Interface, VRID: e.VRID,
		State: string(e.State), Since: e.Since, Reason: e.Reason, Detail: e.Detail,
		Priority: e.Priority, MasterPriority: e.MasterPriority,
		Contested: e.Contested, Alarm: e.Alarm, Holding: e.Holding, Addresses: e.Addresses,
	}
	if e.State == vrrp.Backup {
		if out.Waits = v.Waits; v.ElectionWaits != nil {
			out.Waits = v.ElectionWaits[e.Name]
		}
	}
	for _, t := range e.Tracked {
		out.Tracked = append(out.Tracked, TrackedStatus{t.Name, t.Delta, t.Fault})
	}
	if hold, held := v.Holds[e.Name]; held {
		out.Held, out.HeldUntil = true, hold.Until
	}
	if e.Master.IsValid() {
		out.Master = e.Master.String()
	}
	if out.Addresses == nil {
		out.Addresses = []netip.Prefix{}
	}
	s.VRRP = append(s.VRRP, out)
	if e.State == vrrp.Fault {
		s.problem("vrrp %s: fault: %s", e.Name, e.Detail)
	}
	if e.Alarm != "" {
		s.problem("vrrp %s: %s", e.Name, e.Alarm)
	}
}

// addGuard shows the guard. A witness that does not answer while nothing is
// wrong is told: without one the guard would freeze what truly failed.
func (s *Status) addGuard(v director.View) {
	if v.Config.Guard == nil {
		return
	}
	g := v.Plan.Guard
	out := &GuardStatus{Active: g.Active(), State: string(g.State), Since: g.Since, Why: g.Why, Witnesses: []WitnessStatus{}}
	if out.Active {
		s.problem("guard: the verdicts are frozen: %s", g.Why)
	}
	for _, w := range v.Config.Guard.Witnesses {
		h := v.Health[decision.WitnessID(w)]
		answers, asked := decision.WitnessAnswers(h)
		out.Witnesses = append(out.Witnesses, WitnessStatus{Address: w.String(), Answers: answers, LastProbe: lastProbe(h)})
		if asked && !answers && !out.Active {
			s.problem("guard: witness %s does not answer a ping", w)
		}
	}
	s.Guard = out
}

// addService joins what is configured, what was decided and what the kernel
// has.
func (s *Status) addService(v director.View, svc config.Service, p decision.Service) {
	kernel, stats := v.Kernel.Table[p.Key], v.Kernel.Stats[p.Key]
	out := ServiceStatus{
		Name: p.Name, Protocol: p.Key.Protocol.String(), Address: p.Key.Address.String(), FWMark: p.Key.Mark, Scheduler: svc.Scheduler,
		Up: p.Up, WeightAlive: p.AvailableWeight, Quorum: svc.Quorum, Counters: Counters(stats.Counters), Rates: Rates(stats.Rates),
		RealServers: []RealServerStatus{},
	}
	if !p.Up {
		s.problem("service %s: quorum lost, weight alive %d of %d", p.Name, p.AvailableWeight, svc.Quorum)
	}
	if out.Panic = p.Panic; p.Panic {
		s.problem("service %s: panic: %d of %d servers are healthy, so all count as up", p.Name, p.Healthy, p.Counted)
	}
	if f := p.Fallback; f.Address.IsValid() {
		if f.Active {
			s.problem("service %s: the fallback %s serves", p.Name, f.Address)
		}
		connections := stats.Destinations[f.Address]
		out.Fallback = &FallbackStatus{Address: f.Address.String(), Active: f.Active, Since: f.Since, Open: connections.Active, Inactive: connections.Inactive}
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
		server := RealServerStatus{
			Address: decided.Address.String(), Forward: rs.Forward,
			Wanted: decided.Weight, Configured: decided.Configured,
			Verdict: decided.Verdict.String(), Since: h.Since,
			Draining: decided.Draining(), DrainingSince: decided.DrainingSince(), DrainUntil: decided.DrainUntil, Why: decided.Why().Text, Causes: decided.Causes,
			Active: connections.Active, Inactive: connections.Inactive, Persistent: connections.Persistent,
			Counters: Counters(connections.Counters), Rates: Rates(connections.Rates), LastProbe: lastProbe(h),
		}
		if dest, ok := kernel.Destinations[decided.Address]; ok {
			server.Weight = &dest.Weight
		}
		if decided.Verdict == checker.Down {
			s.problem("service %s: real server %s is down: %s", p.Name, server.Address, decision.DescribeHealth(h))
		}
		out.RealServers = append(out.RealServers, server)
	}
	s.Services = append(s.Services, out)
}

// lastProbe is the newest result among a server's checks.
func lastProbe(h checker.Health) *Probe {
	var newest *Probe
	for _, c := range h.Checks {
		r := c.Last
		if r.At.IsZero() || newest != nil && !r.At.After(newest.At) {
			continue
		}
		newest = &Probe{At: r.At, Type: c.Type, Reason: string(r.Reason), Phase: r.Phase, Detail: r.Detail, Took: r.Took.Seconds()}
	}
	return newest
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
