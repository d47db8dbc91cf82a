// This file has the state that directors exchange and what is derived from it:
// immutable values.

package peers

import (
	"net/netip"
	"time"
)

// State is what a director reports of itself.
type State struct {
	Director string    `json:"director"`
	Version  string    `json:"version"`
	Hash     string    `json:"hash"` // of the running configuration
	At       time.Time `json:"at"`   // by its own clock
	Started  time.Time `json:"started"`
	// Problems are the first problems of its status, without those about its peers;
	// ProblemCount is the number of all.
	Problems     []string `json:"problems,omitempty"`
	ProblemCount int      `json:"problem_count"`
	// DirectorProblems is how many of them are not of services; nil: not sent, by an older
	// version.
	DirectorProblems *int `json:"director_problem_count,omitempty"`
	// HTTPListen is its http_listen.
	HTTPListen string `json:"http_listen,omitempty"`
	// WaitReason is what it waits for before it preempts a live master; empty when it is
	// ready.
	WaitReason string     `json:"waits,omitempty"`
	Instances  []Instance `json:"elections,omitempty"`
	Announces  []Announce `json:"announces,omitempty"`
	// Connections is nil when they could not be counted.
	Connections *Connections `json:"connections,omitempty"`
	Health      Health       `json:"health"`
	// Probed has a bit for each real server, in the order of the file, that its own probes
	// find up: where probes are shared, see decision.Probed.
	Probed []byte `json:"probed,omitempty"`
}

// Ready reports whether the director could take over at once.
func (s State) Ready() bool { return s.WaitReason == "" && s.Director != "" }

// Instance is one VRRP instance on a director.
type Instance struct {
	Name     string    `json:"name"`
	VRID     uint8     `json:"virtual_router_id"`
	State    string    `json:"state"` // init, backup, master, fault
	Since    time.Time `json:"since"`
	Detail   string    `json:"detail,omitempty"` // cause, as text
	Priority uint8     `json:"priority"`
	// HasVIPs: the addresses are on its interface.
	HasVIPs bool `json:"holding"`
	// Standby: it is on standby after a handover and does not preempt, until StandbyUntil or,
	// where that is zero, until the handover is ended.
	Standby      bool      `json:"held,omitempty"`
	StandbyUntil time.Time `json:"held_until,omitzero"`
}

// Announce is one announcement on a director.
type Announce struct {
	Name      string    `json:"name"`
	Announced bool      `json:"announced"` // its addresses have routes
	Serving   bool      `json:"serving"`   // announced, and it can serve
	Kept      bool      `json:"kept,omitempty"`
	Metric    uint32    `json:"metric,omitempty"`
	Since     time.Time `json:"since"`
	Why       string    `json:"why,omitempty"`
}

// Connections are the entries of a kernel's connection table, including templates,
// among the first 200,000, up to 5 s old.
type Connections struct {
	Local  int `json:"own"`    // created there
	Synced int `json:"synced"` // received from its peer
}

// Total is the number of connections that the director could continue.
func (c Connections) Total() int { return c.Local + c.Synced }

// Health is the health of all real servers as a director sees it.
type Health struct {
	// Digest is equal where all health states and weights are.
	Digest  string `json:"digest"`
	Servers int    `json:"servers"`
	Down    int    `json:"down"`
	// Services is omitted for many servers and sent on request.
	Services []ServiceHealth `json:"services,omitempty"`
}

// ServiceHealth is one virtual service as a director sees it.
type ServiceHealth struct {
	Name    string         `json:"name"`
	Up      bool           `json:"up"` // has its quorum
	Servers []ServerHealth `json:"servers,omitempty"`
}

// ServerHealth is one real server as a director sees it.
type ServerHealth struct {
	Address string `json:"a"`
	Health  string `json:"v"` // up, down, unknown
	Weight  int    `json:"w"` // desired in the kernel
	Why     string `json:"y,omitempty"`
}

// Drain is the state of a draining real server on a director.
type Drain struct {
	// Found: the server is in its configuration, or is draining in its kernel.
	Found      bool `json:"known"`
	Configured int  `json:"configured_weight"`
	Desired    int  `json:"wanted_weight"`
	// Weight in its kernel; nil where the kernel does not have the server.
	Weight     *int   `json:"weight"`
	Draining   bool   `json:"draining"`
	Active     uint32 `json:"active_connections"`
	Inactive   uint32 `json:"inactive_connections"`
	Persistent uint32 `json:"persistent_connections"`
	// Remaining are connections and templates of a server removed from the file; nil: not
	// counted.
	Remaining *int `json:"connections_left,omitempty"`
}

// Peer is another director as this one knows it.
type Peer struct {
	Name    string
	Address netip.AddrPort // of its server
	// Up: it replied within the last seconds, Since when; Error is why it did not, or why
	// it refused.
	Up    bool
	Since time.Time
	Error string
	// RequestedAt is when the request was sent whose reply State is.
	RequestedAt time.Time
	// At is when State was received; zero: never. State of an unreachable peer is the
	// last one received.
	At    time.Time
	State State
	Differences
}

// Differences are the differences between a reachable peer and this director; empty
// while it is not reachable.
type Differences struct {
	Config  bool // another configuration file
	Version bool // another version of lvsd
	// Clock is how far its clock is ahead, with an error of up to the duration of a
	// request.
	Clock time.Duration
	// Health are the first servers whose health or weight has differed for longer than
	// the checks explain; HealthCount is the number of all.
	Health      []HealthDifference
	HealthCount int
}

// HealthDifference is a real server as two directors see it.
type HealthDifference struct {
	Service, RealServer string
	Local, Peer         ServerHealth
}
