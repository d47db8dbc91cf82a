package server

import (
	"fmt"
	"strings"

	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/peers"
	"lvsd/cmd/internal/printable"
	"lvsd/config"
)

// addAnnounces adds the announcements and what is wrong with them.
func (s *builder) addAnnounces(v director.View) {
	for i, c := range v.Config.Announces {
		out := api.AnnounceStatus{Name: c.Name, Table: c.Table, Services: c.Services, Reason: string(decision.AnnounceStart),
			Why: "not decided yet", Directors: append([]string{}, v.Announcing[c.Name]...)}
		if i < len(v.Announcements) {
			a := v.Announcements[i]
			out.Announced, out.Metric, out.Serving, out.Kept = a.Announced, a.Metric, a.Serving, a.Kept
			out.Reason, out.Why, out.Since = string(a.Reason), a.Why, a.Since
		}
		if hold, held := v.Standby[director.StandbyKey(c.Name)]; held {
			out.Standby, out.StandbyUntil = true, hold.Until
		}
		if runs, known := v.Routes.Daemons[c.RoutingDaemon]; known {
			out.RoutingDaemon = &runs
		}
		var missing []string
		for _, address := range c.Addresses {
			_, accepted := v.Routes.Present[announce.LocalKey(address)]
			_, routed := v.Routes.Present[announce.Key{Table: c.Table, Address: address}]
			out.Addresses = append(out.Addresses, api.AnnounceVIP{Address: address.String(), Accepted: accepted, Routed: routed})
			if out.Announced && !routed {
				missing = append(missing, address.String())
			}
		}
		s.Announces = append(s.Announces, out)
		s.announceProblems(out, c, missing)
	}
	if len(v.Config.Announces) == 0 && len(v.Routes.Errors) == 0 {
		return
	}
	s.Routes = &api.RoutesStatus{Errors: append([]string{}, v.Routes.Errors...), Foreign: []string{}, Repairs: v.Routes.Repairs}
	for _, e := range v.Routes.Errors {
		s.problem("announce: %s", e)
	}
	for _, f := range v.Routes.Foreign {
		s.Routes.Foreign = append(s.Routes.Foreign, fmt.Sprintf("%v protocol %d", f.Route, f.Protocol))
	}
	for _, a := range v.Routes.OnInterface {
		s.problem("announce: an interface has %s, which FRR then does not announce: remove it there, lvsd makes this host accept its packets by a route", a)
	}
	if n := len(v.Routes.Foreign); n > 0 {
		s.problem("announce: another process has %s in the tables of announcements, for example %s: the routing daemon announces them too", printable.Count(n, "route"), s.Routes.Foreign[0])
	}
}

// announceProblems adds what needs attention. A standby is intended, a start is short.
func (s *builder) announceProblems(a api.AnnounceStatus, c config.Announce, missing []string) {
	switch {
	case a.Kept:
		s.problem("announce %s: announced with metric %d although this director should not: %s", a.Name, a.Metric, a.Why)
	case !a.Announced && a.Reason != string(decision.AnnounceStart) && a.Reason != string(decision.AnnounceStandby):
		s.problem("announce %s: withdrawn: %s", a.Name, a.Why)
	}
	if a.RoutingDaemon != nil && !*a.RoutingDaemon {
		s.problem("announce %s: the routing daemon (BIRD or FRR) is not running: no router learns the addresses from this director", a.Name)
	}
	if len(missing) > 0 {
		s.problem("announce %s: table %d has no route to %s yet", a.Name, c.Table, strings.Join(missing, ", "))
	}
}

// ownAnnounces are this director's announcements for its peers.
func ownAnnounces(v director.View) (all []peers.Announce) {
	for _, a := range v.Announcements {
		all = append(all, peers.Announce{Name: a.Name, Announced: a.Announced, Serving: a.Serving, Kept: a.Kept, Metric: a.Metric, Since: a.Since, Why: a.Why})
	}
	return all
}

// peerAnnounces are those of a peer.
func peerAnnounces(list []peers.Announce) []api.PeerAnnounce {
	all := make([]api.PeerAnnounce, 0, len(list))
	for _, a := range list {
		all = append(all, api.PeerAnnounce{Name: a.Name, Announced: a.Announced, Serving: a.Serving, Kept: a.Kept, Metric: a.Metric, Since: a.Since, Why: a.Why})
	}
	return all
}
