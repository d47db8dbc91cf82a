// This file is what directors tell each other and what is made of it: plain,
// immutable values, which whoever receives one only reads. It never asks anybody.
//
// PURE.

package peers

import (
	"net/netip"
	"time"
)

// State is what a director says of itself.
type State struct {
	Director string    `json:"director"`
	Version  string    `json:"version"`
	Hash     string    `json:"hash"` // of the configuration that runs
	At       time.Time `json:"at"`   // by its own clock
	Started  time.Time `json:"started"`
	// Problems are the first of what its own status names, without what it says of
	// its peers; ProblemCount is how many there are.
	Problems     []string `json:"problems,omitempty"`
	ProblemCount int      `json:"problem_count"`
	// Waits is what it waits for before it preempts a live master; "" when it is
	// ready to serve.
	Waits     string     `json:"waits,omitempty"`
	Elections []Election `json:"elections,omitempty"`
	// Connections is nil when its kernel does not say.
	Connections *Connections `json:"connections,omitempty"`
	Health      Health       `json:"health"`
}

// Ready says that the director could serve at once.
func (s State) Ready() bool { return s.Waits == "" && s.Director != "" }

// Election is one election as a director stands in it.
type Election struct {
	Name     string    `json:"name"`
	VRID     uint8     `json:"virtual_router_id"`
	State    string    `json:"state"` // init, backup, master, fault
	Since    time.Time `json:"since"`
	Detail   string    `json:"detail,omitempty"` // why, for people
	Priority uint8     `json:"priority"`
	// Holding: the addresses are on its interface.
	Holding bool `json:"holding"`
	// Held: after a handover it stays away and does not preempt, until HeldUntil
	// or, where that is zero, until it is told otherwise.
	Held      bool      `json:"held,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"`
}

// Connections are the entries of a kernel's connection table, templates
// included, of the first 200,000, and up to 5 s old.
type Connections struct {
	Own    int `json:"own"`    // began there
	Synced int `json:"synced"` // came from its peer
}

// Known is how many connections that director could go on with.
func (c Connections) Known() int { return c.Own + c.Synced }

// Health is what a director thinks of all real servers.
type Health struct {
	// Digest is equal where every verdict and weight is.
	Digest  string `json:"digest"`
	Servers int    `json:"servers"`
	Down    int    `json:"down"`
	// Services is left out where there are many servers; who needs them asks.
	Services []ServiceHealth `json:"services,omitempty"`
}

// ServiceHealth is one virtual service in a director's eyes.
type ServiceHealth struct {
	Name    string         `json:"name"`
	Up      bool           `json:"up"` // has its quorum
	Servers []ServerHealth `json:"servers,omitempty"`
}

// ServerHealth is one real server in a director's eyes.
type ServerHealth struct {
	Address string `json:"a"`
	Verdict string `json:"v"` // up, down, unknown
	Weight  int    `json:"w"` // that it wants in its kernel
	Why     string `json:"y,omitempty"`
}

// Drain is how a director stands to a real server that is to be drained.
type Drain struct {
	// Known: the server is in its configuration, or drains in its kernel.
	Known      bool `json:"known"`
	Configured int  `json:"configured_weight"`
	Wanted     int  `json:"wanted_weight"`
	// Weight is what its kernel has; nil where the kernel has no such server.
	Weight     *int   `json:"weight"`
	Draining   bool   `json:"draining"`
	Active     uint32 `json:"active_connections"`
	Inactive   uint32 `json:"inactive_connections"`
	Persistent uint32 `json:"persistent_connections"`
	// Left are connections and templates of a server that left the file; nil: not
	// counted.
	Left *int `json:"connections_left,omitempty"`
}

// Peer is another director as this one knows it at present.
type Peer struct {
	Name    string
	Address netip.AddrPort // where it is asked
	// Up: it answered within the last seconds, Since when; Error is why it did not,
	// or why it refused.
	Up    bool
	Since time.Time
	Error string
	// At is when State came in, zero: never. Of a peer that is not up State is the
	// last that it said.
	At    time.Time
	State State
	Differences
}

// Differences are where a peer is not as this director is. They are of a peer
// that is up, and of no other.
type Differences struct {
	Config  bool // another configuration file
	Version bool // another version of lvsd
	// Clock is how much its clock is ahead, to about the time that it takes to ask
	// it; so much as adverts with a key still bear is no difference.
	Clock time.Duration
	// Health are the first servers on which verdict or weight differ for longer
	// than their checks explain; HealthCount how many there are.
	Health      []HealthDifference
	HealthCount int
}

// HealthDifference is a real server in the eyes of two directors.
type HealthDifference struct {
	Service, RealServer string
	Own, Peer           ServerHealth
}
