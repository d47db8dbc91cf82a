package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lvsd/cmd/internal/persist"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/peers"
	"lvsd/config"
	"lvsd/config/edit"
	"lvsd/vrrp"
)

// exchange is one with fixed peers.
type exchange struct {
	peers []peers.Peer
	drain peers.Drain
	err   error
}

func (x exchange) Peers() []peers.Peer { return x.peers }
func (x exchange) RequestDrain(_ context.Context, _, service, real string) (peers.Drain, error) {
	x.drain.Found = service == "web" && real == "10.0.0.9:80"
	return x.drain, x.err
}

func (x exchange) RequestEdit(_ context.Context, director, _, _ string, change peers.Edit) (peers.Edited, error) {
	return peers.Edited{Hash: change.Before, Error: director + " " + change.Do}, x.err
}

// goodPeer is a healthy peer.
func goodPeer() peers.Peer {
	return peers.Peer{Name: "lb2", Address: netip.MustParseAddrPort("10.0.0.13:8113"), Up: true, Since: time.Unix(900, 0), At: time.Unix(999, 0),
		State: peers.State{Director: "lb2", Version: "1", Hash: "abc", Connections: &peers.Connections{Local: 1, Synced: 2},
			Instances: []peers.Instance{{Name: "web", State: "backup", Standby: true}}}}
}

// TestEveryDifferenceIsAProblem: what is wrong with a peer, or between the two, is
// reported; its own problems are shown and are not ours.
func TestEveryDifferenceIsAProblem(t *testing.T) {
	for want, harm := range map[string]func(*peers.Peer){
		"":                             func(p *peers.Peer) { p.State.Problems, p.State.ProblemCount = []string{"its own"}, 1 },
		"does not answer at 10.0.0.13": func(p *peers.Peer) { p.Up, p.Error = false, "connection refused" },
		"another configuration: x":     func(p *peers.Peer) { p.State.Hash, p.Differences.Config = "x", true },
		"another version of lvsd: 2":   func(p *peers.Peer) { p.State.Version, p.Differences.Version = "2", true },
		"clock of director lb2":        func(p *peers.Peer) { p.Clock = time.Minute },
		"health of real servers differs from director lb2": func(p *peers.Peer) { p.HealthCount, p.Health = 1, make([]peers.HealthDifference, 1) },
	} {
		p := goodPeer()
		harm(&p)
		s := &Server{Daemon: &stub{view: healthy()}, Version: "1", Exchange: exchange{peers: []peers.Peer{p}}}
		got := s.Status(t.Context())
		if problems := strings.Join(got.Problems, "\n"); got.Healthy != (want == "") || !strings.Contains(problems, want) {
			t.Errorf("want %q among %q", want, problems)
		}
		if len(got.Peers) != 1 || got.Peers[0].Director != "lb2" || got.Peers[0].ConfigHash != p.State.Hash || got.Peers[0].ProblemCount != p.State.ProblemCount || !got.Peers[0].VRRP[0].Standby {
			t.Errorf("%+v", got.Peers)
		}
	}
	young := goodPeer()
	young.Up, young.Since = false, time.Unix(999, 0)
	s := &Server{Daemon: &stub{view: healthy()}, Version: "1", Exchange: exchange{peers: []peers.Peer{young}}}
	if got := s.Status(t.Context()); !got.Healthy {
		t.Errorf("a peer that was not asked yet: %q", got.Problems)
	}
}

// TestOwn: what the others receive, and that it contains nothing about them.
func TestOwn(t *testing.T) {
	v := healthy()
	v.WaitReason = "waits"
	v.Instances = append(v.Instances, vrrp.Status{Name: "mail", State: vrrp.Backup, Priority: 9})
	v.Standby = map[string]persist.Standby{"mail": {Until: time.Unix(5, 0)}}
	gone := goodPeer()
	gone.Up = false
	s := &Server{Daemon: &stub{view: v}, Version: "1", Exchange: exchange{peers: []peers.Peer{gone}}}
	if s.Status(t.Context()).Healthy {
		t.Error("the peer is not missed")
	}
	asked := 0
	own := s.PeerState(func() *peers.Connections { asked++; return nil })
	if own.Director != "lb1" || own.Hash != "abc" || own.Version != "1" || own.ProblemCount != 0 || own.Ready() || asked != 0 {
		t.Errorf("%+v", own)
	}
	if h := own.Health; h.Servers != 1 || h.Down != 0 || h.Services[0].Servers[0] != (peers.ServerHealth{Address: "10.0.0.9:80", Health: "up", Weight: 3}) {
		t.Errorf("%+v", h)
	}
	if e := own.Instances; len(e) != 2 || !e[0].HasVIPs || e[0].Standby || !e[1].Standby || !e[1].StandbyUntil.Equal(time.Unix(5, 0)) || e[1].State != "backup" {
		t.Errorf("%+v", e)
	}
	v.Config.IPVS.Sync = &config.Sync{}
	s.Problems = func() []string { return make([]string, 99) }
	own = s.PeerState(func() *peers.Connections { return &peers.Connections{Local: 3} })
	if own.Connections == nil || own.Connections.Total() != 3 || own.ProblemCount != 99 || len(own.Problems) != sentProblems {
		t.Errorf("%+v", own)
	}
	s.Daemon = &stub{}
	if own = s.PeerState(nil); own.Ready() {
		t.Error("ready before there is a configuration")
	}
}

// TestPeerDrains: the request is forwarded to the peer, over the control socket.
func TestPeerDrains(t *testing.T) {
	for _, x := range []exchange{{drain: peers.Drain{Active: 7}}, {err: errors.New("lb2: connection refused")}} {
		x.peers = []peers.Peer{goodPeer()}
		s := newServer(t, &stub{view: healthy()})
		s.Exchange = x
		got, err := api.NewClient(socketOf(t, s)).PeerDrains(t.Context(), "web", "10.0.0.9:80")
		if err != nil || len(got) != 1 || got[0].Director != "lb2" {
			t.Fatalf("%+v, %v", got, err)
		}
		if x.err != nil && (got[0].Drain != nil || got[0].Error != x.err.Error()) || x.err == nil && (!got[0].Drain.Found || got[0].Drain.Active != 7) {
			t.Errorf("%+v", got[0])
		}
	}
	s := &Server{Daemon: &stub{view: healthy()}}
	d := s.Drain(t.Context(), "web", "10.0.0.9:80")
	if !d.Found || d.Desired != 3 || *d.Weight != 3 || d.Active != 4 || d.Inactive != 5 {
		t.Errorf("%+v", d)
	}
	if d := s.Drain(t.Context(), "web", "10.0.0.10:80"); d.Found {
		t.Errorf("%+v", d)
	}
}

// TestPeerEdits: the edit is forwarded to every peer, and each refusal is returned.
func TestPeerEdits(t *testing.T) {
	change := api.PeerEdit{Service: "web", RealServer: "10.0.0.9:80", Edit: peers.Edit{Change: edit.Change{Do: "weight", Weight: 7}, Before: "abc"}}
	other := goodPeer()
	other.Name = "lb3"
	for _, test := range []struct {
		pair Exchange
		want []api.PeerEdited
	}{
		{exchange{peers: []peers.Peer{goodPeer(), other}}, []api.PeerEdited{{Director: "lb2", Error: "lb2 weight"}, {Director: "lb3", Error: "lb3 weight"}}},
		{exchange{peers: []peers.Peer{goodPeer()}, err: errors.New("lb2: connection refused")}, []api.PeerEdited{{Director: "lb2", Error: "lb2: connection refused"}}},
		{nil, []api.PeerEdited{}},
	} {
		s := newServer(t, &stub{view: healthy()})
		s.Exchange = test.pair
		got, err := api.NewClient(socketOf(t, s)).PeerEdits(t.Context(), change)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%+v, %v, want %+v", got, err, test.want)
		}
	}
	s := newServer(t, &stub{view: healthy()})
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socketOf(t, s))
	}}}
	r, err := client.Post("http://lvsd/control/v1/peers/edit", "application/json", strings.NewReader(`{"weight": "seven"}`+strings.Repeat(" ", 5<<10)))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusBadRequest {
		t.Errorf("no edit at all: %s", r.Status)
	}
}

// socketOf runs a server on a control socket until the test ends.
func socketOf(t *testing.T, s *Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "control.sock")
	if err := s.OpenControl(path, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return path
}
