// This file has the announcements.

package api

import "time"

// AnnounceStatus is one [[announce]] on this director.
type AnnounceStatus struct {
	Name      string        `json:"name"`
	Table     int           `json:"table"` // the routing table that the routing daemon reads
	Addresses []AnnounceVIP `json:"addresses"`
	// Announced: its addresses should have routes, with Metric.
	Announced bool   `json:"announced"`
	Metric    uint32 `json:"metric,omitempty"`
	// Serving: announced, and the services have their quorum.
	Serving bool `json:"serving"`
	// Kept: announced although this director should not, because no other one serves.
	Kept bool `json:"kept"`
	// Reason is a bounded code: serving, start, quorum, guard, standby, ipvs, stop.
	Reason string    `json:"reason"`
	Why    string    `json:"why"` // as text
	Since  time.Time `json:"since"`
	// Standby: this director is on standby after a handover, until StandbyUntil or, where
	// that is zero, until a command ends it.
	Standby      bool      `json:"held"`
	StandbyUntil time.Time `json:"held_until,omitzero"`
	Services     []string  `json:"services"` // whose quorum decides
	// RoutingDaemon reports whether the routing daemon runs; nil: it is not known.
	RoutingDaemon *bool `json:"routing_daemon,omitempty"`
	// Directors are the other directors that announce it.
	Directors []string `json:"directors"`
}

// AnnounceVIP is one announced address.
type AnnounceVIP struct {
	Address string `json:"address"`
	// Accepted: this host accepts packets to it. Routed: the routing table has the route.
	Accepted bool `json:"accepted"`
	Routed   bool `json:"routed"`
}

// RoutesStatus is the kernel's side of the announcements.
type RoutesStatus struct {
	Errors  []string `json:"errors"`  // changes that failed and are tried again
	Foreign []string `json:"foreign"` // routes of other processes in the announcements' tables
	Repairs uint64   `json:"repairs"` // routes that were removed by others and restored, since the start
}

// PeerAnnounce is one announcement on another director.
type PeerAnnounce struct {
	Name      string    `json:"name"`
	Announced bool      `json:"announced"`
	Serving   bool      `json:"serving"`
	Kept      bool      `json:"kept"`
	Metric    uint32    `json:"metric,omitempty"`
	Since     time.Time `json:"since"`
	Why       string    `json:"why,omitempty"`
}
