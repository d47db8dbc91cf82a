// This file has the kernel's connections, and resetting its counters.

package api

import (
	"context"
	"net/http"
	"net/url"
)

// Connections is the beginning of the kernel's list of connections.
type Connections struct {
	Connections []Connection `json:"connections"`
	More        bool         `json:"more"` // the list is longer
}

// Connection is one entry of the kernel's list.
type Connection struct {
	Service    string `json:"service,omitempty"` // empty for a service that is not ours, or known by a mark
	Protocol   string `json:"protocol"`          // tcp, udp, sctp; ip for the template of a firewall mark
	Client     string `json:"client"`
	Virtual    string `json:"virtual"`
	RealServer string `json:"real_server"`
	State      string `json:"state"`
	Origin     string `json:"origin"` // own, or synced: received from the peer
	Expires    int    `json:"expires_seconds"`
}

// Zeroed names the services whose counters were reset.
type Zeroed struct {
	Services []string `json:"services"`
}

// Connections asks for the connections of a service, "" for all.
func (c *Client) Connections(ctx context.Context, service string) (Connections, error) {
	return call[Connections](ctx, c, http.MethodGet, "/control/v1/connections?service="+url.QueryEscape(service))
}

// Zero resets the counters of a service, or with "" of all services of lvsd.
func (c *Client) Zero(ctx context.Context, service string) (Zeroed, error) {
	return call[Zeroed](ctx, c, http.MethodPost, "/control/v1/zero?service="+url.QueryEscape(service))
}
