package server

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/peers"
	"lvsd/config"
	"lvsd/vrrp"
)

// withDown returns a view whose service has n servers, of which some are down.
func withDown(n, down int) director.View {
	v := healthy()
	svc, rs := &v.Decision.Services[0], v.Decision.Services[0].Servers[0]
	svc.Servers = nil
	v.Config.Services[0].RealServers = make([]config.RealServer, n)
	for i := range n {
		s := rs
		s.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 80)
		s.ID.RealServer = s.Address.String()
		if i < down {
			s.State = checker.Down
			v.Health[s.ID] = checker.Health{Cause: "http refused, 3 of 3"}
		}
		svc.Servers = append(svc.Servers, s)
	}
	return v
}

// TestOneProblemForAllServersOfAService, and what follows from them is the same problem.
func TestOneProblemForAllServersOfAService(t *testing.T) {
	v := withDown(50, 47)
	s := statusOf(v, "1", time.Unix(1, 0))
	p := s.ProblemDetails
	if len(p) != 1 || p[0].Text != "service web: 47 of 50 real servers are down: http refused, 3 of 3" || p[0].Severity != api.Warning || p[0].Service != "web" ||
		len(p[0].Details) != 47 || p[0].Details[46] != "10.1.0.46:80: http refused, 3 of 3" {
		t.Errorf("%+v", p)
	}
	v.Decision.Services[0].Up = false
	v.Decision.Services[0].AvailableWeight = 0
	v.Config.Services[0].Quorum = 1
	v.Decision.Services[0].Fallback = decision.Fallback{Address: netip.MustParseAddrPort("127.0.0.1:80"), Active: true}
	s = statusOf(v, "1", time.Unix(1, 0))
	want := "service web: quorum lost (available weight 0, quorum 1); fallback 127.0.0.1:80 is serving; 47 of 50 real servers are down: http refused, 3 of 3"
	if len(s.Problems) != 1 || s.Problems[0] != want || s.ProblemDetails[0].Severity != api.Critical {
		t.Errorf("%+v", s.Problems)
	}
}

// TestProblemsAreRanked: the first line is the most urgent.
func TestProblemsAreRanked(t *testing.T) {
	v := withDown(3, 1)
	v.LastReload.Err = fmt.Errorf("lvsd.toml:1:1: x")
	v.Instances[0].State, v.Instances[0].Detail, v.Instances[0].Since = vrrp.Fault, "no carrier", v.At.Add(-time.Minute)
	gone := goodPeer()
	gone.Up, gone.Error, gone.Since = false, "connection refused", v.At.Add(-time.Hour)
	srv := &Server{Daemon: &stub{view: v}, Version: "1", Exchange: exchange{peers: []peers.Peer{gone}}}
	got := srv.Status(t.Context()).Problems
	want := []string{"vrrp web: no master", "vrrp web: fault: no carrier", "director lb2 does not answer at 10.0.0.13:8113: connection refused",
		"the last reload was rejected, still running the previous configuration: lvsd.toml:1:1: x", "service web: real server 10.1.0.0:80 is down: http refused, 3 of 3"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// A real server that is down is not the director's fault.
	own := srv.PeerState(nil)
	if own.ProblemCount != 3 || *own.DirectorProblems != 2 {
		t.Errorf("%d problems, %d of the director", own.ProblemCount, *own.DirectorProblems)
	}
}

// TestTwoMastersWithoutAdverts: each director is master, and receives nothing of the
// other.
func TestTwoMastersWithoutAdverts(t *testing.T) {
	v := healthy()
	v.Instances[0].State, v.Instances[0].Since = vrrp.Master, v.At.Add(-time.Minute)
	p := goodPeer()
	p.At = v.At
	p.State.Instances[0].State = "master"
	for since, n := range map[time.Duration]int{time.Second: 0, time.Minute: 1} {
		p.State.Instances[0].Since = v.At.Add(-since)
		got := (&Server{Daemon: &stub{view: v}, Version: "1", Exchange: exchange{peers: []peers.Peer{p}}}).Status(t.Context())
		if len(got.Problems) != n || n > 0 && got.Problems[0] != "vrrp web: 2 masters: lb1 and lb2; their advertisements do not reach each other" {
			t.Errorf("after %v: %q", since, got.Problems)
		}
	}
}

func TestPageAddress(t *testing.T) {
	at := netip.MustParseAddrPort("10.0.0.13:8113")
	for listen, want := range map[string]string{"127.0.0.1:8112": "", "": "", "x": "", ":8112": "10.0.0.13:8112", "[::]:8112": "10.0.0.13:8112", "192.0.2.1:80": "192.0.2.1:80"} {
		if got := pageAddress(listen, at); got != want {
			t.Errorf("%q: %q", listen, got)
		}
	}
}
