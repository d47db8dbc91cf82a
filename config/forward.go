// This file builds what is said about the way of packets to the real servers:
// forwarding methods, tunnels, families, the fallback; and it doubts settings
// that change weights where that cannot work as written. It never talks to the
// kernel.
//
// PURE.
package config

import (
	"fmt"
	"net/netip"
)

// forward reads the key forward of a service or real server. Both results are
// zero where it is not said and has no default.
func (c *record) forward() (string, Tunnel) {
	t, written := c.get("forward").(*record)
	if !written {
		if s := c.str("forward"); s != "tun" {
			return s, Tunnel{}
		}
		return "tun", Tunnel{Type: "ipip", Checksum: "none"}
	}
	tunnel := Tunnel{Type: t.str("type"), Port: uint16(t.num("port")), Checksum: t.str("checksum")}
	switch {
	case !t.good("type"):
	case tunnel.Type == "gue" && !t.set("port"): // EINVAL, ip_vs_ctl.c
		t.fail(t.at, t.path.key("port"), "missing: gue wraps packets in UDP, and the real servers listen on one port of it, often 6080")
	case tunnel.Type != "gue" && t.set("port"):
		t.complain("port", "means nothing with %s: it is the UDP port of gue", tunnel.Type)
	}
	switch {
	case !t.good("type") || !t.good("checksum") || tunnel.Checksum == "none":
	case tunnel.Type == "ipip":
		t.complain("checksum", "ipip has none: leave it out, or use gre or gue")
	case tunnel.Type == "gre" && tunnel.Checksum == "remcsum":
		t.complain("checksum", `gre has none that is computed remotely: use "csum", or gue`)
	}
	return "tun", tunnel
}

// family judges whether a server of this address can be behind the service
// (__ip_vs_add_dest, ip_vs_ctl.c).
func family(s Service, a netip.Addr, forward string, synced bool) string {
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

// fallback reads the server that takes over while the quorum is lost. A
// loopback address is this director itself, which the kernel serves without
// changing the packet.
func (c *record) fallback(s Service) (netip.AddrPort, string) {
	text := c.str("fallback")
	if text == "" || !s.known() {
		return netip.AddrPort{}, ""
	}
	a, complaint := addressPort(text, int(s.Address.Port()))
	forward := s.Forward
	if a.Addr().IsLoopback() {
		forward = "local"
	}
	switch {
	case complaint != "":
	case a.Addr().Is6() != s.IPv6:
		complaint = fmt.Sprintf("%s is not of the service's family", a.Addr())
	case a == s.Address:
		complaint = "is the service's own address: write a server's"
	case s.anyPort() && a.Port() != 0:
		complaint = fmt.Sprintf("port %d is never used: packets of this service, which has no port of its own, keep the one that the client chose; write %q", a.Port(), a.Addr())
	case !s.anyPort() && a.Port() == 0:
		complaint = noPortZero
	case forward == "local" && a.Port() != s.Address.Port():
		complaint = fmt.Sprintf("port %d is not the service's: the kernel hands a packet to this host as it is, so let the server here listen on %s too, and write %q",
			a.Port(), s.Address, netip.AddrPortFrom(a.Addr(), s.Address.Port()))
	case forward != "nat" && a.Port() != s.Address.Port() && c.good("forward"):
		complaint = fmt.Sprintf("port %d is not the service's: forward = %q leaves the packet as it is, so write %q",
			a.Port(), forward, netip.AddrPortFrom(a.Addr(), s.Address.Port()))
	}
	for _, rs := range s.RealServers {
		if complaint == "" && rs.Address == a {
			complaint = fmt.Sprintf("%s is a real server of this service, at line %d: a fallback is one more", portless(a), rs.Line)
		}
	}
	if complaint != "" {
		c.complain("fallback", "%s", complaint)
		return netip.AddrPort{}, ""
	}
	if s.PanicThreshold > 0 {
		c.doubt("fallback", "is hardly ever used with panic_threshold: when most servers fail, all of them count as healthy, and the quorum is not lost")
	}
	return a, forward
}

// weightless are the schedulers for which a weight is 0 or not 0
// (ip_vs_rr.c, ip_vs_lc.c, ip_vs_dh.c), or an order and not a share
// (ip_vs_fo.c, ip_vs_ovf.c).
var weightless = map[string]bool{"rr": true, "lc": true, "dh": true, "fo": true, "ovf": true}

// doubtChanges warns of settings that change weights in ways that do not work
// with the rest of the service.
func (c *record) doubtChanges(s Service, fallback bool) {
	highest := 0
	for _, rs := range s.RealServers {
		highest = max(highest, rs.Weight)
	}
	if s.SlowStart > 0 {
		switch {
		case weightless[s.Scheduler] && c.good("scheduler"):
			c.doubt("slow_start", "does little with %s, for which a weight is no share: use one such as wlc or wrr", s.Scheduler)
		case highest == 1:
			c.doubt("slow_start", "does nothing for weights of 1, below which there is only 0: give the servers larger ones, such as 100")
		}
	}
	if s.DrainTimeout > 0 && !fallback && c.good("scheduler") && c.good("scheduler_flags") {
		c.doubt("drain_timeout", "%s refuses every client whose hash lands on a server of weight 0, as one that drains has: its clients wait for drain_timeout", s.Scheduler)
	}
}

// selfServing refuses real servers that are directors of the file: the standby
// has the same table as the master. By dr and tun a packet that the master sends
// it still bears the service's address, so the standby's own table sends it on,
// to the master too, round and round. By nat it arrives, but the answer does not
// pass through the master. One director alone may serve.
func selfServing(root *record, services []Service, directors []Director) {
	if len(directors) < 2 {
		return
	}
	names := map[netip.Addr]string{}
	for _, d := range directors {
		if d.Address.IsValid() {
			names[d.Address] = d.Name
		}
	}
	for i, c := range root.records("virtual_service") {
		for j, r := range c.records("real_servers") {
			rs := services[i].RealServers[j]
			name, is := names[rs.Address.Addr()]
			switch {
			case !is || !r.good("address"):
			case rs.Forward == "nat":
				r.doubt("address", "is director %s itself: while it is standby, its answers reach clients untranslated unless they are routed through the master", name)
			case rs.Forward != "":
				r.complain("address", `is director %s itself: while it is standby, its own table sends the packets of forward = %q on again, in a loop between the directors; serve from other machines, or name it in fallback`,
					name, rs.Forward)
			}
		}
	}
}
