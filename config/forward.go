// How packets reach the real servers: forwarding methods, tunnels, address families
// and the fallback server; and warnings about settings that change weights where
// that has no effect.

package config

import (
	"fmt"
	"net/netip"

	"lvsd/config/reader"
	"lvsd/config/values"
)

// forwardMethod reads the key forward of a service or real server. Both results are
// zero where it is not set and has no default.
func forwardMethod(parent *reader.Table) (string, Tunnel) {
	t, written := parent.Value("forward").(*reader.Table)
	if !written {
		if s := parent.Str("forward"); s != "tun" {
			return s, Tunnel{}
		}
		return "tun", Tunnel{Type: "ipip", Checksum: "none"}
	}
	tunnel := Tunnel{Type: t.Str("type"), Port: uint16(t.Int("port")), Checksum: t.Str("checksum")}
	switch {
	case !t.Valid("type"):
	case tunnel.Type == "gue" && !t.IsSet("port"): // EINVAL, ip_vs_ctl.c
		t.ErrorAt(t.Start, t.Path.Key("port"), "missing: gue wraps packets in UDP, and the real servers listen on one port of it, often 6080")
	case tunnel.Type != "gue" && t.IsSet("port"):
		t.Errorf("port", "has no effect with %s: it is the UDP port of gue", tunnel.Type)
	}
	switch {
	case !t.Valid("type") || !t.Valid("checksum") || tunnel.Checksum == "none":
	case tunnel.Type == "ipip":
		t.Errorf("checksum", "ipip has no checksum: remove it, or use gre or gue")
	case tunnel.Type == "gre" && tunnel.Checksum == "remcsum":
		t.Errorf("checksum", `gre has no remote checksum: use "csum", or gue`)
	}
	return "tun", tunnel
}

// familyMismatch returns why a server with this address cannot be behind the service,
// "" where it can (__ip_vs_add_dest, ip_vs_ctl.c).
func familyMismatch(s Service, a netip.Addr, forward string, synced bool) string {
	if a.Is6() == s.IPv6 {
		return ""
	}
	mixed := "an IPv6 server behind an IPv4 service"
	if s.IPv6 {
		mixed = "an IPv4 server behind an IPv6 service"
	}
	switch {
	case forward != "tun" && forward != "":
		return fmt.Sprintf(`%s is reached by forward = "tun" only, not by %q`, mixed, forward)
	case synced:
		return mixed + " is refused by the kernel while connections are synchronised: leave out [ipvs.sync], or this server"
	}
	return ""
}

// fallbackServer reads the server that is used while the quorum is lost. A
// loopback address is this director itself, which the kernel serves without
// changing the packet.
func fallbackServer(t *reader.Table, s Service) (netip.AddrPort, string) {
	text := t.Str("fallback")
	if text == "" || !s.known() {
		return netip.AddrPort{}, ""
	}
	a, problem := values.ParseAddrPort(text, int(s.Address.Port()))
	forward := s.Forward
	if a.Addr().IsLoopback() {
		forward = "local"
	}
	switch {
	case a.Addr().Is6() && a.Addr().IsLinkLocalUnicast():
		problem = a.Addr().WithZone("").String() + " is link-local, and IPVS takes no such server: write another address of it, such as a unique local one (fd00::/8)"
	case problem != "":
	case a.Addr().Is6() != s.IPv6:
		problem = fmt.Sprintf("%s is not of the service's family", a.Addr())
	case a == s.Address:
		problem = "is the service's own address: write a server's"
	case s.anyPort() && a.Port() != 0:
		problem = fmt.Sprintf("port %d is never used: packets of this service, which has no port of its own, keep the one that the client chose; write %q", a.Port(), a.Addr())
	case !s.anyPort() && a.Port() == 0:
		problem = values.NoPortZero
	case forward == "local" && a.Port() != s.Address.Port():
		problem = fmt.Sprintf("port %d is not the service's: the kernel hands a packet to this host as it is, so let the server here listen on %s too, and write %q",
			a.Port(), s.Address, netip.AddrPortFrom(a.Addr(), s.Address.Port()))
	case forward != "nat" && a.Port() != s.Address.Port() && t.Valid("forward"):
		problem = fmt.Sprintf("port %d is not the service's: forward = %q leaves the packet as it is, so write %q",
			a.Port(), forward, netip.AddrPortFrom(a.Addr(), s.Address.Port()))
	}
	for _, rs := range s.RealServers {
		if problem == "" && rs.Address == a {
			problem = fmt.Sprintf("%s is a real server of this service, at %s: a fallback is one more", formatServer(a), t.Where(rs.Position))
		}
	}
	if problem != "" {
		t.Errorf("fallback", "%s", problem)
		return netip.AddrPort{}, ""
	}
	if s.PanicThreshold > 0 {
		t.Warnf("fallback", "is hardly ever used with panic_threshold: when most servers fail, all of them count as healthy, and the quorum is not lost")
	}
	return a, forward
}

// weightless are the schedulers for which a weight is 0 or not 0
// (ip_vs_rr.c, ip_vs_lc.c, ip_vs_dh.c), or an order and not a share
// (ip_vs_fo.c, ip_vs_ovf.c).
var weightless = map[string]bool{"rr": true, "lc": true, "dh": true, "fo": true, "ovf": true}

// warnWeightChanges warns of settings that change weights in ways that do not work
// with the rest of the service.
func warnWeightChanges(t *reader.Table, s Service, fallback bool) {
	highest := 0
	for _, rs := range s.RealServers {
		highest = max(highest, rs.Weight)
	}
	if s.SlowStart > 0 {
		switch {
		case weightless[s.Scheduler] && t.Valid("scheduler"):
			t.Warnf("slow_start", "does little with %s, for which a weight is no share: use one such as wlc or wrr", s.Scheduler)
		case highest == 1:
			t.Warnf("slow_start", "does nothing for weights of 1, below which there is only 0: give the servers larger ones, such as 100")
		}
	}
	if s.DrainTimeout > 0 && !fallback && t.Valid("scheduler") && t.Valid("scheduler_flags") {
		t.Warnf("drain_timeout", "%s refuses every client whose hash lands on a server of weight 0, as one that drains has: its clients wait for drain_timeout", s.Scheduler)
	}
}

// refuseDirectorAsServer refuses real servers that are directors of the file: the standby
// has the same table as the master. By dr and tun a packet that the master sends
// still has the service's address, so the standby's own table sends it on,
// back to the master as well, in a loop. By nat it arrives, but the reply does not
// pass through the master. A single director may be a real server.
func refuseDirectorAsServer(root *reader.Table, services []Service, directors []Director) {
	if len(directors) < 2 {
		return
	}
	names := map[netip.Addr]string{}
	for _, d := range directors {
		if d.Address.IsValid() {
			names[d.Address] = d.Name
		}
	}
	for i, t := range root.Tables("virtual_service") {
		for j, r := range t.Tables("real_servers") {
			rs := services[i].RealServers[j]
			name, is := names[rs.Address.Addr()]
			switch {
			case !is || !r.Valid("address"):
			case rs.Forward == "nat":
				r.Warnf("address", "is director %s itself: while it is standby, its answers reach clients untranslated unless they are routed through the master", name)
			case rs.Forward != "":
				r.Errorf("address", `is director %s itself: while it is standby, its own table sends the packets of forward = %q on again, in a loop between the directors; serve from other machines, or name it in fallback`,
					name, rs.Forward)
			}
		}
	}
}
