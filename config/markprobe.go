// Checks with through, which probe the service's address on the real server itself
// by a firewall mark: what they require of the rest of the file.

package config

import (
	"net/netip"

	"lvsd/config/reader"
)

// checkMarkProbes refuses what such checks cannot be combined with.
func checkMarkProbes(root *reader.Table, services []Service) {
	first := uint32(root.Table("ipvs").Int("through_marks"))
	type path struct {
		server  netip.Addr
		forward string
	}
	paths, any := map[path]bool{}, false
	for i, t := range root.Tables("virtual_service") {
		if i >= len(services) {
			return
		}
		s := services[i]
		for _, rs := range s.RealServers {
			for _, check := range rs.Checks {
				if !check.Through {
					continue
				}
				any = true
				paths[path{rs.Address.Addr(), rs.Forward}] = true
				if s.FWMark != 0 {
					t.ErrorAt(check.Position, t.Path.Key("check").Key("through"), "a firewall mark has no address that could be probed on a real server: leave it out")
					return
				}
			}
		}
	}
	if len(paths) > ThroughMarkCount {
		root.Errorf("virtual_service", "%d real servers are probed through the kernel, more than the %d marks that there are", len(paths), ThroughMarkCount)
	}
	if !any {
		return
	}
	for i, t := range root.Tables("virtual_service") {
		if i < len(services) && services[i].FWMark-first < ThroughMarkCount && services[i].FWMark != 0 {
			t.Errorf("fwmark", "%d is one of the marks of checks with through, %d to %d: choose another, or another [ipvs] through_marks", services[i].FWMark, first, first+ThroughMarkCount-1)
		}
	}
}
