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
		if k.Protocol == ipvs.TCP && k.Mark == 0 && k.Address.Port() != 0 && ours[k.Address.Addr()] && !servesItself(svc) {
			out[k.Address] = struct{}{}
		}
	}
}

// servesItself says that the director is a real server of the service: IPVS passes
// on what is for it.
func servesItself(svc ipvs.Service) bool {
	for _, d := range svc.Destinations {
		if d.Forward == ipvs.Local {
			return true
		}
	}
	return false
}
