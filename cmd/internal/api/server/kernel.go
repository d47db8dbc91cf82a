package server

import (
	"context"
	"net/http"
	"strings"

	"lvsd/cmd/internal/api"
	"lvsd/ipvs"
)

// Table is the part of the IPVS reconciler that the server needs.
type Table interface {
	Zero(ctx context.Context, k *ipvs.ServiceKey) error
	Connections(ctx context.Context, k *ipvs.ServiceKey, limit int, each func(ipvs.Connection) bool) (more bool, err error)
}

const (
	// connectionLimit is how many connections one response has, linesLimit how much of
	// the kernel's list is read for it: the kernel takes about a second for a million.
	connectionLimit = 1000
	linesLimit      = 1_000_000
)

// kernelCommands adds the handlers to the control socket: clients' addresses are not
// for http_listen.
func (s *Server) kernelCommands(mux *http.ServeMux) {
	mux.HandleFunc("GET /control/v1/connections", s.forService(func(ctx context.Context, names map[ipvs.ServiceKey]string, k *ipvs.ServiceKey) (any, error) {
		out := api.Connections{Connections: []api.Connection{}}
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
		out := api.Zeroed{Services: []string{}}
		for key, name := range names {
			if k == nil || key == *k {
				out.Services = append(out.Services, name)
			}
		}
		return out, nil
	}))
}

// forService finds the service of a request; nil stands for all.
func (s *Server) forService(f func(ctx context.Context, names map[ipvs.ServiceKey]string, k *ipvs.ServiceKey) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fresh, cancel := context.WithTimeout(r.Context(), refreshLimit)
		defer cancel()
		names := map[ipvs.ServiceKey]string{}
		var all []string
		var key *ipvs.ServiceKey
		want := r.URL.Query().Get("service")
		for _, p := range s.Daemon.View(fresh).Decision.Services {
			names[p.Key] = p.Name
			all = append(all, p.Name)
			if p.Name == want {
				key = &p.Key
			}
		}
		if want != "" && key == nil {
			http.Error(w, api.UnknownService(want, all).Error(), http.StatusNotFound)
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

func newConnection(c ipvs.Connection, names map[ipvs.ServiceKey]string) api.Connection {
	protocol := strings.ToLower(c.Protocol)
	out := api.Connection{Protocol: protocol, Client: c.Client.String(), Virtual: c.Virtual.String(), RealServer: c.RealServer.String(),
		State: c.State, Origin: "own", Expires: int(c.Expires.Seconds())}
	if c.Synced {
		out.Origin = "synced"
	}
	if p, err := ipvs.ParseProtocol(protocol); err == nil {
		out.Service = names[ipvs.ServiceKey{Protocol: p, Address: c.Virtual}]
	}
	return out
}
