package api

import (
	"net/netip"
	"time"

	"lvsd/cmd/internal/decision"
)

// Status is the state of one director, as `lvsd status --json` prints it. Fields are
// only ever added.
type Status struct {
	Version  string    `json:"version"`
	Director string    `json:"director"`
	At       time.Time `json:"at"`
	Started  time.Time `json:"started"`
	// Healthy: no fault that needs attention. Problems has each, the most urgent first, and
	// ProblemDetails the same with more.
	Healthy        bool         `json:"healthy"`
	Problems       []string     `json:"problems"`
	ProblemDetails []Problem    `json:"problem_details"`
	Config         ConfigStatus `json:"config"`
	// WaitReason is what this director waits for before it preempts a live master; empty when
	// it is ready.
	WaitReason string           `json:"waits,omitempty"`
	Peers      []PeerStatus     `json:"peers"`
	VRRP       []InstanceStatus `json:"vrrp"`
	// Announces are the announcements; Routes is the kernel's side of them, nil without any.
	Announces []AnnounceStatus `json:"announces"`
	Routes    *RoutesStatus    `json:"routes,omitempty"`
	// Guard is the guard against mass failure; nil when it is off.
	Guard    *GuardStatus    `json:"guard,omitempty"`
	Services []ServiceStatus `json:"virtual_services"`
	IPVS     IPVSStatus      `json:"ipvs"`
}

// Problem is something that needs attention.
type Problem struct {
	Severity string `json:"severity"` // Critical or Warning
	// Service is the virtual service at fault, Director the other director; both are empty
	// for a problem of this director.
	Service  string `json:"service,omitempty"`
	Director string `json:"director,omitempty"`
	Text     string `json:"text"`
	// Details are the real servers concerned, each with its cause.
	Details []string `json:"details,omitempty"`
}

// Severities of a Problem. Critical: clients notice, or would at the next failure of one
// part.
const (
	Critical = "critical"
	Warning  = "warning"
)

// ConfigStatus is the running configuration.
type ConfigStatus struct {
	File       string    `json:"file"`
	Hash       string    `json:"hash"`
	LoadedAt   time.Time `json:"loaded_at"`
	ReloadedAt time.Time `json:"reloaded_at"`
	// ReloadError is why the newest reload was rejected; empty when it succeeded.
	ReloadError string `json:"reload_error,omitempty"`
	// FromLastGood: the file was rejected at the start, and the last good copy is running.
	FromLastGood bool `json:"from_kept_copy,omitempty"`
}

// InstanceStatus is one VRRP instance on this director.
type InstanceStatus struct {
	Name           string    `json:"name"`
	Interface      string    `json:"interface"`
	VRID           uint8     `json:"virtual_router_id"`
	State          string    `json:"state"` // init, backup, master, fault
	Since          time.Time `json:"since"`
	Reason         string    `json:"reason"` // bounded code
	Detail         string    `json:"detail"` // as text
	Priority       uint8     `json:"priority"`
	Master         string    `json:"master,omitempty"` // address of the master whose adverts are received
	MasterPriority uint8     `json:"master_priority,omitempty"`
	// WaitReason is why a backup does not preempt a live master yet.
	WaitReason string `json:"waits,omitempty"`
	// Standby: this director is on standby after a handover, until StandbyUntil or, where that
	// is zero, until a command ends it.
	Standby      bool      `json:"held"`
	StandbyUntil time.Time `json:"held_until,omitzero"`
	// Tracked is what currently changes the priority.
	Tracked   []TrackedStatus `json:"tracked,omitempty"`
	Contested bool            `json:"contested"`
	Alarm     string          `json:"alarm,omitempty"` // current fault
	HasVIPs   bool            `json:"holding"`         // the addresses are on the interface
	Addresses []netip.Prefix  `json:"addresses"`
	// VirtualAddresses are the configured ones, also on a backup.
	VirtualAddresses []netip.Prefix `json:"virtual_addresses"`
	// Conflicts are other holders of the addresses.
	Conflicts []AddressConflict `json:"address_conflicts,omitempty"`
}

// AddressConflict is another holder of an address.
type AddressConflict struct {
	Address netip.Addr `json:"address"`
	Detail  string     `json:"detail"` // which one, as text
}

// TrackedStatus is something that changes an instance's priority.
type TrackedStatus struct {
	What  string `json:"what"`  // "service web", "interface eth1", …
	Delta int    `json:"delta"` // added to the priority
	Fault bool   `json:"fault"` // puts the instance in fault state
}

// ServiceStatus is one virtual service.
type ServiceStatus struct {
	Name            string             `json:"name"`
	Protocol        string             `json:"protocol"`
	Address         string             `json:"address"`          // empty for a firewall mark
	FWMark          uint32             `json:"fwmark,omitempty"` // 0 for an address
	Scheduler       string             `json:"scheduler"`
	Up              bool               `json:"up"` // has its quorum
	AvailableWeight int                `json:"weight_alive"`
	Quorum          int                `json:"quorum"`
	Panic           bool               `json:"panic"` // so few are healthy that health is ignored
	Fallback        *FallbackStatus    `json:"fallback,omitempty"`
	Counters        Counters           `json:"counters"`
	Rates           Rates              `json:"rates"`
	RealServers     []RealServerStatus `json:"real_servers"`
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
	// Active: health is frozen at its state before most servers failed at once, because
	// no witness replies.
	Active    bool            `json:"active"`
	State     string          `json:"state"` // watching, asking, frozen, thawing
	Since     time.Time       `json:"since"`
	Why       string          `json:"why,omitempty"`
	Witnesses []WitnessStatus `json:"witnesses"`
}

// WitnessStatus is one witness of the guard.
type WitnessStatus struct {
	Address   string `json:"address"`
	Answers   bool   `json:"answers"` // it replied to the newest ping
	LastProbe *Probe `json:"last_probe,omitempty"`
}

// RealServerStatus is one real server of one service.
type RealServerStatus struct {
	Address string `json:"address"`
	Forward string `json:"forward"`
	// Weight is what the kernel has; nil where the kernel has no such server.
	Weight     *int      `json:"weight"`
	Desired    int       `json:"wanted_weight"`
	Configured int       `json:"configured_weight"`
	Health     string    `json:"verdict"` // up, down, unknown
	Since      time.Time `json:"since,omitzero"`
	// UncheckedSince is since when this director cannot make one of its checks, and
	// Unchecked which and why.
	UncheckedSince time.Time `json:"unchecked_since,omitzero"`
	Unchecked      string    `json:"unchecked,omitempty"`
	Draining       bool      `json:"draining"`
	// DrainingSince is when the drain began.
	DrainingSince time.Time `json:"draining_since,omitzero"`
	// DrainUntil is when a manual drain ends by itself.
	DrainUntil time.Time        `json:"drain_until,omitzero"`
	Why        string           `json:"why"`
	Causes     []decision.Cause `json:"causes"`
	Active     uint32           `json:"active_connections"`
	Inactive   uint32           `json:"inactive_connections"`
	Persistent uint32           `json:"persistent_connections"`
	Counters   Counters         `json:"counters"`
	Rates      Rates            `json:"rates"`
	LastProbe  *Probe           `json:"last_probe,omitempty"`
	// ProbedBy is the director that probes the server, with probe_share; empty: this one.
	ProbedBy string `json:"probed_by,omitempty"`
}

// Probe is the outcome of one probe.
type Probe struct {
	At     time.Time `json:"at"`
	Check  string    `json:"check,omitempty"` // name of the check
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

// Rates are the kernel's estimates per second.
type Rates struct {
	Connections uint64 `json:"connections_per_second"`
	PacketsIn   uint64 `json:"packets_in_per_second"`
	PacketsOut  uint64 `json:"packets_out_per_second"`
	BytesIn     uint64 `json:"bytes_in_per_second"`
	BytesOut    uint64 `json:"bytes_out_per_second"`
}

// IPVSStatus compares the kernel's table with the desired one.
type IPVSStatus struct {
	Up         bool              `json:"up"`
	LastResync time.Time         `json:"last_resync"`
	Foreign    int               `json:"foreign_entries"`
	Drift      map[string]uint64 `json:"drift"` // repaired since the start, by kind
	Errors     []string          `json:"errors"`
	// Sync is the connection synchronisation as the kernel runs it; nil when
	// it is disabled and was not left running.
	Sync     *SyncStatus      `json:"sync,omitempty"`
	Draining []DrainingStatus `json:"draining"`
	// Conflicts are the objects that another program changes repeatedly.
	Conflicts []string `json:"fights"`
}

// SyncStatus is the connection synchronisation: its sender and its receiver.
type SyncStatus struct {
	Master *SyncDaemonStatus `json:"master"` // sends; nil: does not run
	Backup *SyncDaemonStatus `json:"backup"` // receives
	// Foreign: another process started the daemons, and [ipvs.sync] is off.
	Foreign bool   `json:"foreign,omitempty"`
	Error   string `json:"error,omitempty"`
}

// SyncDaemonStatus is the sender or the receiver.
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
	// Remaining are its connections and templates; nil: not counted yet.
	Remaining *int `json:"connections_left"`
}
