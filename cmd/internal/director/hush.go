// Which addresses this director does not reset unknown connections of: a peer that
// gives them away tells of its connections, and a packet that comes before the peer's
// word must not end one. Of a peer that died nothing more is told, and a client that
// hears so at once begins anew.
//
// PURE.

package director

import (
	"net/netip"
	"time"

	"lvsd/ipvs"
	"lvsd/vrrp"
)

// hushFor is how long after a takeover in good order the peer still tells.
const hushFor = 3 * time.Second

// orderly are the takeovers after which the master before tells of connections.
var orderly = map[string]bool{vrrp.ReasonPreempt: true, vrrp.ReasonResigned: true, vrrp.ReasonGroup: true}

// hushed adds where unknown connections are not reset.
func hushed(now time.Time, table ipvs.Table, status vrrp.Status, held []netip.Prefix, out map[netip.AddrPort]struct{}) {
	if status.State == vrrp.Master && (!orderly[status.Reason] || now.Sub(status.Since) >= hushFor) {
		return
	}
	ours := map[netip.Addr]bool{}
	for _, p := range held {
		ours[p.Addr()] = true
	}
	for k, svc := range table {
		if k.Protocol == ipvs.TCP && k.Mark == 0 && k.Address.Port() != 0 && ours[k.Address.Addr()] && !answersHere(svc) {
			out[k.Address] = struct{}{}
		}
	}
}

// answersHere says that answers of the service leave this host from its address:
// those of the director as a real server, and those that nat translates, which the
// kernel routes anew by that address (net.ipv4.vs.snat_reroute).
func answersHere(svc ipvs.Service) bool {
	for _, d := range svc.Destinations {
		if d.Forward == ipvs.Local || d.Forward == ipvs.NAT {
			return true
		}
	}
	return false
}
