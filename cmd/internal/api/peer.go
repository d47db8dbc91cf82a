// This file has the other directors.

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"lvsd/cmd/internal/peers"
)

// PeerStatus is another director as the exchange of [peers] knows it.
type PeerStatus struct {
	Director string    `json:"director"`
	Address  string    `json:"address"`
	Up       bool      `json:"up"` // it replies
	Since    time.Time `json:"since"`
	Error    string    `json:"error,omitempty"` // why it does not
	// At is when it replied last; everything below is from that reply. Absent: never.
	At           time.Time `json:"at,omitzero"`
	Version      string    `json:"version,omitempty"`
	ConfigHash   string    `json:"config_hash,omitempty"`
	Started      time.Time `json:"started,omitzero"`
	Ready        bool      `json:"ready"`           // it could take over at once
	WaitReason   string    `json:"waits,omitempty"` // otherwise what it waits for
	Problems     []string  `json:"problems"`        // the first problems of its own status
	ProblemCount int       `json:"problem_count"`
	// DirectorProblems is how many of them are not of services.
	DirectorProblems int `json:"director_problem_count"`
	// HTTPListen is where its status page can be opened; empty where that is on loopback.
	HTTPListen    string `json:"http_listen,omitempty"`
	ConfigMatches bool   `json:"config_matches"`
	// VersionMatches: both run the same version of lvsd.
	VersionMatches bool                   `json:"version_matches"`
	ClockAhead     float64                `json:"clock_ahead_seconds"`
	VRRP           []PeerInstance         `json:"vrrp"`
	Announces      []PeerAnnounce         `json:"announces"`
	Connections    *PeerConnections       `json:"connections,omitempty"`
	Servers        int                    `json:"real_servers"`
	ServersDown    int                    `json:"real_servers_down"`
	Differences    []PeerHealthDifference `json:"health_differences"` // the first of them
	DifferingCount int                    `json:"health_difference_count"`
}

// PeerInstance is a VRRP instance on the other director.
type PeerInstance struct {
	Name         string    `json:"name"`
	State        string    `json:"state"`
	Since        time.Time `json:"since"`
	Detail       string    `json:"detail,omitempty"`
	Priority     uint8     `json:"priority"`
	HasVIPs      bool      `json:"holding"`
	Standby      bool      `json:"held"` // on standby after a handover
	StandbyUntil time.Time `json:"held_until,omitzero"`
}

// PeerConnections are the entries of the other director's connection table.
type PeerConnections struct {
	Local  int `json:"own"`
	Synced int `json:"synced"`
}

// PeerHealthDifference is a real server whose health has differed for longer than its
// checks explain.
type PeerHealthDifference struct {
	Service    string     `json:"service"`
	RealServer string     `json:"real_server"`
	Local      PeerHealth `json:"own"`
	Peer       PeerHealth `json:"peer"`
}

// PeerHealth is the health as one of them sees it.
type PeerHealth struct {
	Health string `json:"verdict"`
	Weight int    `json:"weight"`
	Why    string `json:"why,omitempty"`
}

// PeerDrain is the state of a real server on another director, or why it is unknown.
type PeerDrain struct {
	Director string       `json:"director"`
	Error    string       `json:"error,omitempty"`
	Drain    *peers.Drain `json:"drain,omitempty"`
}

// PeerEdit is an edit of the other directors' files.
type PeerEdit struct {
	Service    string `json:"service"`
	RealServer string `json:"real_server"`
	peers.Edit
}

// PeerEdited is the outcome on another director.
type PeerEdited struct {
	Director string `json:"director"`
	Error    string `json:"error,omitempty"`
}

// PeerEdits has the other directors make the same edit; none while [peers] is disabled.
func (c *Client) PeerEdits(ctx context.Context, edit PeerEdit) ([]PeerEdited, error) {
	body, err := json.Marshal(edit)
	if err != nil {
		return nil, err
	}
	return send[[]PeerEdited](ctx, c, http.MethodPost, "/control/v1/peers/edit", bytes.NewReader(body))
}

// PeerDrains requests the state of a real server from the other directors; none while
// [peers] is disabled.
func (c *Client) PeerDrains(ctx context.Context, service, realServer string) ([]PeerDrain, error) {
	query := url.Values{"service": {service}, "real_server": {realServer}}
	return call[[]PeerDrain](ctx, c, http.MethodGet, "/control/v1/peers/drain?"+query.Encode())
}
