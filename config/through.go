// Checks that probe the service's address on the real server itself, by the
// kernel's forwarding: what they need of the rest of the file.
//
// PURE.
package config

import "net/netip"

// throughs refuses what such checks cannot be had with.
func throughs(root *record, services []Service) {
	first := uint32(root.child("ipvs").num("through_marks"))
	type path struct {
		server  netip.Addr
		forward string
	}
	paths, any := map[path]bool{}, false
	for i, c := range root.records("virtual_service") {
		if i >= len(services) {
			return
		}
		s := services[i]
		for _, rs := range s.RealServers {
			for _, k := range rs.Checks {
				if !k.Through {
					continue
				}
				any = true
				paths[path{rs.Address.Addr(), rs.Forward}] = true
				if s.FWMark != 0 {
					c.fail(k.Position, c.path.key("check").key("through"), "a firewall mark has no address that could be probed on a real server: leave it out")
					return
				}
			}
		}
	}
	if len(paths) > ThroughMarkCount {
		root.complain("virtual_service", "%d real servers are probed through the kernel, more than the %d marks that there are", len(paths), ThroughMarkCount)
	}
	if !any {
		return
	}
	for i, c := range root.records("virtual_service") {
		if i < len(services) && services[i].FWMark-first < ThroughMarkCount && services[i].FWMark != 0 {
			c.complain("fwmark", "%d is one of the marks of checks with through, %d to %d: choose another, or another [ipvs] through_marks", services[i].FWMark, first, first+ThroughMarkCount-1)
		}
	}
}
