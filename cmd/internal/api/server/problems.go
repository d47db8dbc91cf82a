// This file ranks the problems of a status, and makes one of those with one cause.

package server

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/peers"
)

// rank orders problems, the most urgent first.
type rank int

const (
	rankLastGood rank = iota // the running configuration is not the file
	rankNoMaster
	rankTwoMasters
	rankInstance // a VRRP instance in fault, or with a warning
	rankKernel   // IPVS is unavailable
	rankPeer     // another director does not reply
	rankQuorum   // a service without its quorum
	rankGuard
	rankOther   // of this director and its peers
	rankServers // real servers that are down, of services with their quorum
	rankUnchecked
)

// critical reports whether clients notice, or would at the next failure of one part.
func (r rank) critical() bool {
	return r <= rankKernel && r != rankLastGood || r == rankQuorum || r == rankGuard
}

// ranked is a problem with its rank.
type ranked struct {
	rank
	api.Problem
}

// report adds a problem.
func (s *builder) report(r rank, p api.Problem) {
	p.Severity = api.Warning
	if r.critical() {
		p.Severity = api.Critical
	}
	s.found = append(s.found, ranked{r, p})
}

// problem adds a problem of this director or its peers.
func (s *builder) problem(format string, args ...any) { s.problemOf(rankOther, format, args...) }

func (s *builder) problemOf(r rank, format string, args ...any) {
	s.report(r, api.Problem{Text: fmt.Sprintf(format, args...)})
}

// status returns the result, with the problems in the order of their ranks.
func (s *builder) status() api.Status {
	slices.SortStableFunc(s.found, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	s.Healthy = len(s.found) == 0
	s.Problems, s.ProblemDetails = []string{}, []api.Problem{}
	for _, p := range s.found {
		s.Problems = append(s.Problems, p.Text)
		s.ProblemDetails = append(s.ProblemDetails, p.Problem)
	}
	return s.Status
}

// addServiceProblems makes one problem of the servers of a service that are down, and of
// what follows from that: a lost quorum, panic mode, the fallback.
func (s *builder) addServiceProblems(svc api.ServiceStatus, p decision.Service, health map[checker.ID]checker.Health) {
	var effects, down, unchecked []string
	r, same := rankServers, ""
	if !p.Up {
		effects = append(effects, fmt.Sprintf("quorum lost (available weight %d, quorum %d)", svc.AvailableWeight, svc.Quorum))
	}
	if p.Panic {
		effects = append(effects, fmt.Sprintf("panic mode: %d of %d real servers are healthy, all are treated as up", p.Healthy, p.Counted))
	}
	if p.Fallback.Active {
		effects = append(effects, fmt.Sprintf("fallback %s is serving", p.Fallback.Address))
	}
	if len(effects) > 0 {
		r = rankQuorum
	}
	for _, d := range p.Servers {
		if d.State == checker.Down {
			why := decision.DescribeHealth(health[d.ID])
			if len(down) == 0 {
				same = why
			} else if same != why {
				same = ""
			}
			down = append(down, fmt.Sprintf("%s: %s", d.Address, why))
		}
		if !d.UncheckedSince.IsZero() {
			unchecked = append(unchecked, fmt.Sprintf("%s, for %v: %s", d.Address, s.At.Sub(d.UncheckedSince).Round(time.Second), d.UncheckedWhy))
		}
	}
	switch {
	case len(down) == 1:
		effects = append(effects, "real server "+strings.Replace(down[0], ": ", " is down: ", 1))
	case len(down) > 1 && same != "":
		effects = append(effects, fmt.Sprintf("%d of %d real servers are down: %s", len(down), len(p.Servers), same))
	case len(down) > 1:
		effects = append(effects, fmt.Sprintf("%d of %d real servers are down", len(down), len(p.Servers)))
	}
	if len(effects) > 0 {
		s.report(r, api.Problem{Service: p.Name, Text: "service " + p.Name + ": " + strings.Join(effects, "; "), Details: down})
	}
	switch {
	case len(unchecked) == 1:
		s.report(rankUnchecked, api.Problem{Service: p.Name, Text: "service " + p.Name + ": real server " + strings.Replace(unchecked[0], ", for", " is unchecked for", 1), Details: unchecked})
	case len(unchecked) > 1:
		s.report(rankUnchecked, api.Problem{Service: p.Name, Text: fmt.Sprintf("service %s: %d of %d real servers are unchecked", p.Name, len(unchecked), len(p.Servers)), Details: unchecked})
	}
}

// settled is how long a state must last before the states of several directors are
// compared: a failover takes a moment, and the state of a peer is up to 2 s old.
const settled = 5 * time.Second

// addMasterProblems reports instances without a master, and with two, as the directors'
// states show: also where their advertisements do not reach each other.
func (s *builder) addMasterProblems(others []peers.Peer) {
	for _, e := range s.VRRP {
		if s.At.Sub(e.Since) < settled {
			continue
		}
		var masters []string
		if e.State == "master" {
			masters = append(masters, s.Director)
		}
		known := e.Master != ""
		for _, p := range others {
			i := slices.IndexFunc(p.State.Instances, func(o peers.Instance) bool { return o.Name == e.Name })
			if !p.Up || i < 0 {
				continue
			}
			other := p.State.Instances[i]
			if other.State == "master" {
				known = true
				if p.At.Sub(other.Since) >= settled {
					masters = append(masters, p.Name)
				}
			}
		}
		switch {
		case len(masters) > 1 && !e.Contested:
			s.problemOf(rankTwoMasters, "vrrp %s: %d masters: %s; their advertisements do not reach each other", e.Name, len(masters), strings.Join(masters, " and "))
		case len(masters) == 0 && !known && (e.State == "fault" || e.State == "init") && len(others) > 0:
			s.problemOf(rankNoMaster, "vrrp %s: no master", e.Name)
		}
	}
}

// pageAddress is where a peer's status page can be opened from elsewhere; empty where it
// listens on loopback only.
func pageAddress(listen string, peer netip.AddrPort) string {
	if strings.HasPrefix(listen, ":") {
		listen = "0.0.0.0" + listen
	}
	at, err := netip.ParseAddrPort(listen)
	switch {
	case err != nil, at.Addr().IsLoopback():
		return ""
	case at.Addr().IsUnspecified():
		at = netip.AddrPortFrom(peer.Addr(), at.Port())
	}
	return at.String()
}
