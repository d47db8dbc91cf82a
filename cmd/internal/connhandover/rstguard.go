package connhandover

import (
	"context"
	"net/netip"
	"time"

	"lvsd/ipvs"
	"lvsd/vrrp"
)

// RSTGuard suppresses resets for packets to these addresses that belong to no
// connection.
type RSTGuard interface {
	Set(map[netip.AddrPort]struct{}) error
}

const (
	// guardInterval is how often the guarded addresses are computed again.
	guardInterval = time.Second
	// guardedFor is how long after an orderly takeover the peer still sends
	// connections.
	guardedFor = 3 * time.Second
)

// guard keeps the guard's addresses up to date: every second, and at once when an
// instance changes its state.
func (h *Handover) guard(ctx context.Context) {
	if h.deps.RSTGuard == nil {
		return
	}
	ticker := time.NewTicker(guardInterval)
	defer ticker.Stop()
	reported := ""
	for {
		problem := ""
		if err := h.deps.RSTGuard.Set(h.guarded()); err != nil {
			problem = err.Error()
		}
		if problem != "" && problem != reported {
			h.deps.Log.Warn("connections that the peer has not sent yet will be reset when this director takes over", "reason", problem)
		}
		reported = problem
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-h.changed:
		}
	}
}

// guarded returns the addresses to guard now; none without [ipvs.sync], where no peer
// would send connections.
func (h *Handover) guarded() map[netip.AddrPort]struct{} {
	out := map[netip.AddrPort]struct{}{}
	table, decided := h.deps.Table()
	if !decided || h.deps.Config().IPVS.Sync == nil {
		return out
	}
	for _, i := range h.deps.Instances() {
		addGuarded(time.Now(), table, i.Status, i.VIPs, out)
	}
	return out
}

// orderlyTakeovers are the reasons of takeovers after which the master before sends
// its connections. A peer that died sends none, and a client that is reset at once
// reconnects sooner than one whose packets are dropped.
var orderlyTakeovers = map[string]bool{vrrp.ReasonPreempt: true, vrrp.ReasonResigned: true, vrrp.ReasonGroup: true}

// addGuarded adds the addresses of an instance to guard: while it is not master, and
// for a moment after an orderly takeover.
func addGuarded(now time.Time, table ipvs.Table, status vrrp.Status, vips []netip.Prefix, out map[netip.AddrPort]struct{}) {
	if status.State == vrrp.Master && (!orderlyTakeovers[status.Reason] || now.Sub(status.Since) >= guardedFor) {
		return
	}
	ours := map[netip.Addr]bool{}
	for _, p := range vips {
		ours[p.Addr()] = true
	}
	for k, svc := range table {
		if k.Protocol == ipvs.TCP && k.Mark == 0 && k.Address.Port() != 0 && ours[k.Address.Addr()] && !repliesFromHere(svc) {
			out[k.Address] = struct{}{}
		}
	}
}

// repliesFromHere reports whether replies of the service leave this host from the
// service's address: those of the director as a real server, and those that nat
// translates, which the kernel routes again by that address
// (net.ipv4.vs.snat_reroute). The guard's rules would drop them.
func repliesFromHere(svc ipvs.Service) bool {
	for _, d := range svc.Destinations {
		if d.Forward == ipvs.Local || d.Forward == ipvs.NAT {
			return true
		}
	}
	return false
}
