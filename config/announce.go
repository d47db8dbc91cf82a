// [[announce]]: addresses that several directors serve at once, each announced through
// a routing daemon.

package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"lvsd/config/reader"
	"lvsd/config/schema"
	"lvsd/config/values"
)

// buildAnnounces builds the announcements of one director, and adds their addresses to
// those that are in use.
func buildAnnounces(root *reader.Table, director string, services []Service, taken *instanceSet) []Announce {
	var all []Announce
	names := map[string]Position{}
	for _, t := range root.Tables("announce") {
		t = t.For(director)
		metric := t.Table("metric")
		a := Announce{
			Name:         t.Str("name"),
			Table:        int(t.Int("table")),
			Serving:      uint32(metric.Int("serving")),
			Draining:     uint32(metric.Int("draining")),
			HoldStart:    t.Duration("hold_start"),
			SyncHold:     t.Duration("sync_hold"),
			WithdrawWait: t.Duration("withdraw_wait"),
			Fault:        t.Bool("fault"),
			Position:     t.Start,

			RoutingDaemon: t.Str("routing_daemon"),
		}
		if t.Valid("name") {
			claimName(t, "announcement", a.Name, names)
		}
		if a.RoutingDaemon != "" && !filepath.IsAbs(a.RoutingDaemon) {
			t.Errorf("routing_daemon", "must be the absolute path of the routing daemon's control socket")
		}
		// rtnetlink.h: RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL.
		if a.Table >= 253 && a.Table <= 255 {
			t.Errorf("table", "%d is one of the kernel's own tables: choose another number, and let the routing daemon read it", a.Table)
		}
		if metric.Valid("serving") && metric.Valid("draining") && a.Draining <= a.Serving {
			metric.Errorf("draining", "must be above serving, %d: routers prefer the lower metric", a.Serving)
		}
		a.Addresses = announcedAddresses(t, taken)
		a.Services, a.All = announcedServices(t, a.Addresses, services)
		all = append(all, a)
	}
	return all
}

// announcedAddresses reads the addresses, none of which may be in an instance or in
// another announcement.
func announcedAddresses(t *reader.Table, taken *instanceSet) []netip.Addr {
	var all []netip.Addr
	for i, s := range t.Strings("addresses") {
		at, where := t.LocateItem("addresses", i)
		a, problem := values.ParseIP(s)
		first, twice := taken.addresses[a]
		owner, own := taken.directors[a]
		switch {
		case strings.Contains(s, "/"):
			problem = "must be one address without a prefix length: a route to it alone is announced"
		case problem != "":
		case a.IsLoopback():
			problem = a.String() + " is this host's own, and cannot be reached from others"
		case a.IsLinkLocalUnicast():
			problem = a.String() + " is link-local: no router forwards packets to it"
		case own:
			problem = fmt.Sprintf("%s is the own address of director %s, and must not be on the others", a, owner)
		case twice:
			problem = fmt.Sprintf("%s is in a [[vrrp]] or an [[announce]] at %s already: an address is in one of them", a, t.Where(first))
		}
		if problem != "" {
			t.ErrorAt(at, where, "%s", problem)
			continue
		}
		taken.addresses[a] = at
		all = append(all, a)
	}
	if t.Valid("addresses") && len(t.Strings("addresses")) == 0 {
		t.Errorf("addresses", "must contain at least one address")
	}
	return all
}

// announcedServices reads services: "any" or "all" of those on the addresses, or a list
// of names, all of which count.
func announcedServices(t *reader.Table, addresses []netip.Addr, services []Service) (names []string, all bool) {
	switch v := t.Value("services").(type) {
	case string:
		if v != "any" && v != "all" {
			t.Errorf("services", `must be "any", "all" or an array of services' names, not %s`, values.Quote(v))
			return nil, false
		}
		for _, svc := range services {
			if svc.Address.IsValid() && slices.Contains(addresses, svc.Address.Addr()) {
				names = append(names, svc.Name)
			}
		}
		if len(names) == 0 && len(addresses) > 0 {
			t.Errorf("addresses", "no [[virtual_service]] has one of these addresses, so there is nothing to announce: add one, or name services in services")
		}
		return names, v == "all"
	case []any:
		return namedServices(t, v, services), true
	case []map[string]any:
		t.Errorf("services", `must be "any", "all" or an array of services' names, not an array of tables`)
	default:
		t.Errorf("services", `must be "any", "all" or an array of services' names, not %s`, schema.DescribeValue(v))
	}
	return nil, false
}

// namedServices reads a list of services' names, and returns them in the order of the
// services.
func namedServices(t *reader.Table, list []any, services []Service) (names []string) {
	known := make([]string, len(services))
	for i, svc := range services {
		known[i] = svc.Name
	}
	for i, v := range list {
		at, where := t.LocateItem("services", i)
		name, isString := v.(string)
		switch {
		case !isString:
			t.ErrorAt(at, where, "must be the name of a [[virtual_service]], not %s", schema.DescribeValue(v))
		case !slices.Contains(known, name):
			t.ErrorAt(at, where, "no [[virtual_service]] has the name %s%s", values.Quote(name), schema.Suggest(name, known))
		case slices.Contains(names, name):
			t.ErrorAt(at, where, "%s is listed twice", values.Quote(name))
		default:
			names = append(names, name)
		}
	}
	if len(list) == 0 {
		t.Errorf("services", `must name at least one service; "any" means those on the addresses`)
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Index(known, a) - slices.Index(known, b) })
	return names
}

// hashesClients reports whether a scheduler sends a client to the same server whatever
// the director, given the same table.
func hashesClients(scheduler string) bool { return scheduler == "mh" || scheduler == "sh" }

// warnAnnounces warns of combinations that lose connections when clients change between
// directors. c is the configuration of any of the directors.
func warnAnnounces(root *reader.Table, c *Config) {
	for i, t := range root.Tables("announce") {
		if i >= len(c.Announces) {
			return
		}
		t, a := t.For(c.Director), c.Announces[i]
		if len(c.Directors) > 1 && c.Exchange == nil && !a.Fault {
			t.WarnAt(t.Start, t.Path, "the directors do not exchange their status ([peers] listen): when the servers fail for all of them, all withdraw the addresses, and the panic rule cannot keep one")
		}
		if a.Fault && len(c.Directors) > 1 {
			t.Warnf("fault", "when the servers fail for all directors, all withdraw the addresses and no router has a route")
		}
		warnUnserved(t, a, c.Services)
		for j := range c.Services {
			svc := &c.Services[j]
			if slices.Contains(a.Addresses, svc.Address.Addr()) || svc.FWMark != 0 && slices.Contains(a.Services, svc.Name) {
				warnAnnouncedService(t, svc, c)
			}
		}
	}
}

// warnUnserved warns of addresses without a service.
func warnUnserved(t *reader.Table, a Announce, services []Service) {
	for _, address := range a.Addresses {
		onIt := func(svc Service) bool { return svc.FWMark != 0 || svc.Address.Addr() == address }
		if slices.ContainsFunc(services, onIt) {
			continue
		}
		for i, s := range t.Strings("addresses") {
			if s == address.String() {
				at, where := t.LocateItem("addresses", i)
				t.WarnAt(at, where, "no [[virtual_service]] has the address %s: it is announced, and refuses connections", address)
			}
		}
	}
}

// warnAnnouncedService warns of settings of a service that several directors serve at once.
// The position is the announcement's; the message names the service.
func warnAnnouncedService(t *reader.Table, svc *Service, c *Config) {
	warn := func(format string, args ...any) {
		t.WarnAt(t.Start, t.Path, "service %s (%s): %s", svc.Name, t.Where(svc.Position), fmt.Sprintf(format, args...))
	}
	hashes, synced := hashesClients(svc.Scheduler), c.IPVS.Sync != nil
	if slices.ContainsFunc(svc.RealServers, func(rs RealServer) bool { return rs.Forward == "nat" }) {
		warn(`forward = "nat" needs the replies to come back through the director that has the connection, and a real server has one gateway: use "dr" or "tun"`)
	}
	if !hashes && !synced && !svc.OnePacket {
		warn("scheduler %q without [ipvs.sync]: each director chooses servers by itself, so connections break when a router moves them to another director; use mh, or synchronise connections", svc.Scheduler)
	}
	if svc.Persistence > 0 && !hashes {
		warn("persistence is kept by each director for itself, and a router may send the connections of one client to several: use mh, which sends a client to the same server from every director")
	}
	for _, rs := range svc.RealServers {
		if rs.UpperThreshold > 0 && hashes {
			warn("the upper_threshold of %s is counted by each director for itself: one that reached it sends clients elsewhere, while the others do not", rs.Address)
			break
		}
	}
	if svc.Scheduler == "sh" && !synced {
		// ip_vs_sh_reassign fills its table in the order of the service's destinations.
		warn(`scheduler "sh": its table depends on the order in which servers were added to the kernel, which differs between directors once one has restarted or a server was removed and added again, and most clients then move between directors: use mh`)
	}
	if svc.Scheduler != "mh" {
		return
	}
	// ip_vs_mh.c builds its table from each server's last weight above 0.
	if svc.OnFailure == "remove" {
		remedy := `use "quiesce"`
		if !slices.Contains(svc.SchedulerFlags, "mh-fallback") {
			remedy = `leave out "no-fallback", so that a failed server can stay with weight 0`
		}
		warn(`on_failure = "remove" changes the mh table of the director that finds a server down, and 10 to 17 %% of the clients move between directors: %s`, remedy)
	}
	if svc.DrainTimeout > 0 {
		warn("drain_timeout keeps a server that left the file in the kernel until its connections have ended, on each director for another time, and with mh 10 to 17 %% of the clients move between directors meanwhile: drain it with lvsd drain, and remove it from the file when it is drained")
	}
	if svc.SlowStart > 0 {
		warn("slow_start gives a server another weight on each director for a time, and with mh 5 to 22 %% of the clients then move between directors")
	}
	if svc.FlapDamping {
		warn("flap_damping holds a server down on one director and not on another, and its clients move between directors")
	}
	for _, rs := range svc.RealServers {
		if rs.Weight+rs.DrainedWeight == 0 {
			warn("%s has weight 0: a director that starts now gives it no part of the mh table, others keep it; drain with drain or drain_until, which keep the weight", rs.Address)
		}
		if slices.ContainsFunc(rs.Checks, func(k Check) bool { return k.Type == "agent" }) {
			warn("the agent check of %s changes its weight on each director at another time, and with mh clients move between directors", rs.Address)
		}
	}
}
