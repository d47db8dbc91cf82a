package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/peers"
)

// Exchange is the exchange with the other directors.
type Exchange interface {
	Peers() []peers.Peer
	RequestDrain(ctx context.Context, director, service, realServer string) (peers.Drain, error)
	RequestEdit(ctx context.Context, director, service, realServer string, change peers.Edit) (peers.Edited, error)
}

// addPeers adds the other directors and the problems with them. Problems of a peer
// itself are shown with it only.
func (s *builder) addPeers(peers []peers.Peer) {
	s.addMasterProblems(peers)
	for _, p := range peers {
		s.Peers = append(s.Peers, peerStatus(p))
		switch {
		case p.Unreachable(s.At):
			s.peerProblem(p, rankPeer, "director %s does not answer at %s: %s", p.Name, p.Address, p.Error)
			continue
		case !p.Up:
			continue
		}
		if p.Differences.Config {
			s.peerProblem(p, rankOther, "director %s runs another configuration: %s there, %s here; make the files the same, then run `lvsd reload`", p.Name, p.State.Hash, s.Config.Hash)
		}
		if p.Differences.Version {
			s.peerProblem(p, rankOther, "director %s runs another version of lvsd: %s there, %s here", p.Name, p.State.Version, s.Version)
		}
		if p.ClockDiffers() {
			s.peerProblem(p, rankOther, "the clock of director %s is ahead by %v: authenticated adverts are refused from 30 s on", p.Name, p.Clock)
		}
		if p.HealthCount > 0 {
			s.peerProblem(p, rankOther, "health of real servers differs from director %s: %s", p.Name, p.HealthText())
		}
	}
}

func (s *builder) peerProblem(p peers.Peer, r rank, format string, args ...any) {
	s.report(r, api.Problem{Director: p.Name, Text: fmt.Sprintf(format, args...)})
}

func peerStatus(p peers.Peer) api.PeerStatus {
	out := api.PeerStatus{
		Director: p.Name, Address: p.Address.String(), Up: p.Up, Since: p.Since, Error: p.Error, At: p.At,
		Version: p.State.Version, ConfigHash: p.State.Hash, Started: p.State.Started,
		Ready: p.Up && p.State.Ready(), WaitReason: p.State.WaitReason,
		Problems: append([]string{}, p.State.Problems...), ProblemCount: p.State.ProblemCount, DirectorProblems: p.State.ProblemCount, HTTPListen: pageAddress(p.State.HTTPListen, p.Address),
		ConfigMatches: p.Up && !p.Differences.Config, VersionMatches: p.Up && !p.Differences.Version, ClockAhead: p.Clock.Seconds(),
		VRRP: []api.PeerInstance{}, Announces: peerAnnounces(p.State.Announces), Servers: p.State.Health.Servers, ServersDown: p.State.Health.Down,
		Differences: []api.PeerHealthDifference{}, DifferingCount: p.HealthCount,
	}
	if n := p.State.DirectorProblems; n != nil {
		out.DirectorProblems = *n
	}
	for _, e := range p.State.Instances {
		out.VRRP = append(out.VRRP, api.PeerInstance{Name: e.Name, State: e.State, Since: e.Since, Detail: e.Detail, Priority: e.Priority, HasVIPs: e.HasVIPs, Standby: e.Standby, StandbyUntil: e.StandbyUntil})
	}
	if c := p.State.Connections; c != nil {
		out.Connections = &api.PeerConnections{Local: c.Local, Synced: c.Synced}
	}
	for _, d := range p.Health {
		out.Differences = append(out.Differences, api.PeerHealthDifference{Service: d.Service, RealServer: d.RealServer,
			Local: api.PeerHealth{Health: d.Local.Health, Weight: d.Local.Weight, Why: d.Local.Why},
			Peer:  api.PeerHealth{Health: d.Peer.Health, Weight: d.Peer.Weight, Why: d.Peer.Why}})
	}
	return out
}

// sentProblems is how many problems are sent to peers, with the number of all.
const sentProblems = 10

// PeerState is this director's state for its peers. It does not block.
func (s *Server) PeerState(connections func() *peers.Connections) peers.State {
	v := s.Daemon.Snapshot()
	if v.Config == nil {
		return peers.State{At: time.Now(), WaitReason: "starts"}
	}
	status, own := s.localStatus(v).status(), 0
	for _, p := range status.ProblemDetails {
		if p.Service == "" {
			own++
		}
	}
	out := peers.State{
		Director: v.Config.Director, Version: s.Version, Hash: v.Config.Hash, At: v.At, Started: s.Started,
		ProblemCount: len(status.Problems), Problems: slices.Clone(status.Problems[:min(len(status.Problems), sentProblems)]),
		DirectorProblems: &own, HTTPListen: v.Config.Global.HTTPListen,
		WaitReason: v.WaitReason, Announces: ownAnnounces(v), Health: peers.NewHealth(serviceHealth(v)), Probed: decision.Probed(v.Config, v.Health, v.At),
	}
	for _, e := range v.Instances {
		hold, held := v.Standby[e.Name]
		out.Instances = append(out.Instances, peers.Instance{Name: e.Name, VRID: e.VRID, State: string(e.State), Since: e.Since, Detail: e.Detail,
			Priority: e.Priority, HasVIPs: e.HasVIPs, Standby: held, StandbyUntil: hold.Until})
	}
	if v.Config.IPVS.Sync != nil {
		out.Connections = connections()
	}
	return out
}

// serviceHealth is the decision on all servers; with a cause only where that adds to
// the file.
func serviceHealth(v director.View) []peers.ServiceHealth {
	all := make([]peers.ServiceHealth, 0, len(v.Decision.Services))
	for _, p := range v.Decision.Services {
		svc := peers.ServiceHealth{Name: p.Name, Up: p.Up, Servers: make([]peers.ServerHealth, 0, len(p.Servers))}
		for _, s := range p.Servers {
			h := peers.ServerHealth{Address: s.Address.String(), Health: s.State.String(), Weight: s.Weight}
			if s.Weight != s.Configured {
				h.Why = s.Why().Text
			}
			svc.Servers = append(svc.Servers, h)
		}
		all = append(all, svc)
	}
	return all
}

// Drain is the state of a real server on this director, for a peer.
func (s *Server) Drain(ctx context.Context, service, realServer string) peers.Drain {
	status := s.localStatus(s.Daemon.View(ctx))
	for _, svc := range status.Services {
		if svc.Name != service {
			continue
		}
		for _, rs := range svc.RealServers {
			if rs.Address == realServer {
				return peers.Drain{Found: true, Configured: rs.Configured, Desired: rs.Desired, Weight: rs.Weight, Draining: rs.Draining,
					Active: rs.Active, Inactive: rs.Inactive, Persistent: rs.Persistent}
			}
		}
	}
	for _, d := range status.IPVS.Draining {
		if d.Service == service && d.RealServer == realServer {
			zero := 0
			return peers.Drain{Found: true, Weight: &zero, Draining: true, Remaining: d.Remaining}
		}
	}
	return peers.Drain{}
}

// peerCommands adds requests that are forwarded to the other directors. They are on
// the control socket only: a stranger must not trigger them.
func (s *Server) peerCommands(mux *http.ServeMux) {
	mux.HandleFunc("GET /control/v1/peers/drain", func(w http.ResponseWriter, r *http.Request) {
		out := []api.PeerDrain{}
		if s.Exchange != nil {
			for _, p := range s.Exchange.Peers() {
				d := api.PeerDrain{Director: p.Name}
				if drain, err := s.Exchange.RequestDrain(r.Context(), p.Name, r.FormValue("service"), r.FormValue("real_server")); err != nil {
					d.Error = err.Error()
				} else {
					d.Drain = &drain
				}
				out = append(out, d)
			}
		}
		answer(w, http.StatusOK, out)
	})
	mux.HandleFunc("POST /control/v1/peers/edit", func(w http.ResponseWriter, r *http.Request) {
		var edit api.PeerEdit
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&edit); err != nil {
			http.Error(w, fmt.Sprintf("the edit cannot be read: %v", err), http.StatusBadRequest)
			return
		}
		out := []api.PeerEdited{}
		if s.Exchange != nil {
			for _, p := range s.Exchange.Peers() {
				edited, err := s.Exchange.RequestEdit(r.Context(), p.Name, edit.Service, edit.RealServer, edit.Edit)
				if err != nil {
					edited.Error = err.Error()
				}
				out = append(out, api.PeerEdited{Director: p.Name, Error: edited.Error})
			}
		}
		answer(w, http.StatusOK, out)
	})
}
