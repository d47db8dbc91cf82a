// This file has the series of announcements.

package metrics

import (
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/director"
)

func (e emitter) announcements(v director.View) {
	for i, c := range v.Config.Announces {
		var a decision.Announcement
		if i < len(v.Announcements) {
			a = v.Announcements[i]
		}
		for _, address := range c.Addresses {
			_, there := v.Routes.Present[announce.Key{Table: c.Table, Address: address}]
			e.gauge(announcedRoute, boolValue(there), c.Name, address.String())
		}
		e.gauge(announceWanted, boolValue(a.Announced), c.Name)
		e.gauge(announceKept, boolValue(a.Kept), c.Name)
		_, held := v.Standby[director.StandbyKey(c.Name)]
		e.gauge(announceHeld, boolValue(held), c.Name)
		if runs, known := v.Routes.Daemons[c.RoutingDaemon]; known {
			e.gauge(announceDaemon, boolValue(runs), c.Name)
		}
		directors := len(v.Announcing[c.Name])
		if a.Announced {
			directors++
		}
		e.gauge(announceDirectors, float64(directors), c.Name)
		for _, reason := range decision.AnnounceReasons {
			e.counter(announceWithdrawals, v.Withdrawals[director.Withdrawal{Announce: c.Name, Reason: reason}], c.Name, string(reason))
		}
	}
	if len(v.Config.Announces) > 0 {
		e.counter(announceRepairs, v.Routes.Repairs)
		e.gauge(announceForeign, float64(len(v.Routes.Foreign)))
	}
}
