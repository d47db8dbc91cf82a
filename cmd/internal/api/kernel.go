package api

// What the control socket offers of the kernel's table besides the status: its
// connections, and its counters set to zero.

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"lvsd/ipvs"
)

// Table is the control layer of IPVS, as the server needs it.
type Table interface {
	Zero(ctx context.Context, k *ipvs.ServiceKey) error
	Connections(ctx context.Context, k *ipvs.ServiceKey, limit int, each func(ipvs.Connection) bool) (more bool, err error)
}

// Connections is the beginning of the kernel's list of connections.
type Connections struct {
	Connections []Connection `json:"connections"`
	More        bool         `json:"more"` // the list is longer
}

// Connection is one entry of the kernel's list.
type Connection struct {
	Service    string `json:"service,omitempty"` // "" of a service that is not ours, or known by a mark
	Protocol   string `json:"protocol"`          // tcp, udp, sctp; ip for the template of a firewall mark
	Client     string `json:"client"`
	Virtual    string `json:"virtual"`
	RealServer string `json:"real_server"`
	State      string `json:"state"`
	Origin     string `json:"origin"` // own, or synced: it came from the peer
	Expires    int    `json:"expires_seconds"`
}

// Zeroed names the services whose counters were set to zero.
type Zeroed struct {
	Services []string `json:"services"`
}

const (
	// connectionLimit is how many connections one answer has, linesLimit how
	// much of the kernel's list is read for it: a list of a million takes the
	// kernel about a second.
	connectionLimit = 1000
	linesLimit      = 1_000_000
)

// kernelCommands adds what asks the kernel to the control socket. The clients'
// addresses are nobody's business but that of who may open it.
func (s *Server) kernelCommands(mux *http.ServeMux) {
	mux.HandleFunc("GET /control/v1/connections", s.forService(func(ctx context.Context, names map[ipvs.ServiceKey]string, k *ipvs.ServiceKey) (any, error) {
		out := Connections{Connections: []Connection{}}
		more, err := s.Table.Connections(ctx, k, linesLimit, func(c ipvs.Connection) bool {
			if len(out.Connections) == connectionLimit {
				return false
			}
			out.Connections = append(out.Connections, newConnection(c, names))
			return true
		})
		out.More = more
		return out, err
	}))
	mux.HandleFunc("POST /control/v1/zero", s.forService(func(ctx context.Context, names map[ipvs.ServiceKey]string, k *ipvs.ServiceKey) (any, error) {
		if err := s.Table.Zero(ctx, k); err != nil {
			return nil, err
		}
		out := Zeroed{Services: []string{}}
		for key, name := range names {
			if k == nil || key == *k {
				out.Services = append(out.Services, name)
			}
		}
		return out, nil
	}))
}

// forService finds the service that a request names; nil stands for all.
func (s *Server) forService(f func(ctx context.Context, names map[ipvs.ServiceKey]string, k *ipvs.ServiceKey) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fresh, cancel := context.WithTimeout(r.Context(), refreshLimit)
		defer cancel()
		names := map[ipvs.ServiceKey]string{}
		var all []string
		var key *ipvs.ServiceKey
		want := r.URL.Query().Get("service")
		for _, p := range s.Daemon.View(fresh).Plan.Services {
			names[p.Key] = p.Name
			all = append(all, p.Name)
			if p.Name == want {
				key = &p.Key
			}
		}
		if want != "" && key == nil {
			http.Error(w, fmt.Sprintf("there is no service %q; there are: %s", want, strings.Join(all, ", ")), http.StatusNotFound)
			return
		}
		body, err := f(r.Context(), names, key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, http.StatusOK, body)
	}
}

func newConnection(c ipvs.Connection, names map[ipvs.ServiceKey]string) Connection {
	protocol := strings.ToLower(c.Protocol)
	out := Connection{Protocol: protocol, Client: c.Client.String(), Virtual: c.Virtual.String(), RealServer: c.RealServer.String(),
		State: c.State, Origin: "own", Expires: int(c.Expires.Seconds())}
	if c.Synced {
		out.Origin = "synced"
	}
	if p, err := ipvs.ParseProtocol(protocol); err == nil {
		out.Service = names[ipvs.ServiceKey{Protocol: p, Address: c.Virtual}]
	}
	return out
}

// Connections asks for the connections of a service, "" for all.
func (c *Client) Connections(ctx context.Context, service string) (Connections, error) {
	return call[Connections](ctx, c, http.MethodGet, "/control/v1/connections?service="+url.QueryEscape(service))
}

// Zero sets the counters of a service to zero, "" for all of ours.
func (c *Client) Zero(ctx context.Context, service string) (Zeroed, error) {
	return call[Zeroed](ctx, c, http.MethodPost, "/control/v1/zero?service="+url.QueryEscape(service))
}
