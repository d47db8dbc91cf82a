package director

// A director that gives its addresses away tells the peer of the connections that
// the kernels' synchronisation has not told yet: before it resigns where it is told
// to leave, and again and again until the addresses are gone. No election waits for
// it.

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// SyncSender sends connections to the peer by the synchronisation of IPVS.
type SyncSender interface {
	Send(ctx context.Context, cfg ipvs.SyncConfig, all bool, choose func(ipvs.Connection) (ipvs.Forward, bool)) (int, error)
}

const (
	// tellFirst is how long a handover waits for the first round.
	tellFirst = time.Second
	// tellEvery is from the end of a round to the next: connections that began
	// meanwhile wait so long, and no longer, until the new master knows them.
	tellEvery = 50 * time.Millisecond
	// tellLimit is the longest handover_limit, and a little.
	tellLimit = time.Minute + 5*time.Second
)

// VIPsMoved says that an election changed its state. It never blocks.
func (d *Director) VIPsMoved(from vrrp.State) {
	for _, nudge := range []chan struct{}{d.moves, d.leaves} {
		if nudge == d.leaves && from != vrrp.Master {
			continue
		}
		select {
		case nudge <- struct{}{}:
		default:
		}
	}
}

// tellWhileLeaving tells the peer of connections whenever an election has left
// mastership and serves still.
func (d *Director) tellWhileLeaving(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.leaves:
		}
		limit := time.Now().Add(tellLimit)
		for all := true; ctx.Err() == nil && time.Now().Before(limit); all = false {
			staying, leaving := d.standing(nil)
			if !leaving {
				break
			}
			d.tell(ctx, all, staying)
			if !pause(ctx, tellEvery) {
				return
			}
		}
	}
}

// standing are the addresses of which this director stays master, and whether it
// serves others on the way out. Those that are handed over count as left.
func (d *Director) standing(handed []*slot) (staying map[netip.Addr]bool, leaving bool) {
	staying = map[netip.Addr]bool{}
	for _, c := range d.instances.snapshots() {
		s := c.engine.Status()
		if s.State != vrrp.Master {
			leaving = leaving || s.Holding
			continue
		}
		if slices.Contains(handed, c.slot) {
			leaving = true
			continue
		}
		for _, p := range c.VIPs {
			staying[p.Addr()] = true
		}
	}
	return staying, leaving
}

// tell tells of all connections but those to addresses that stay.
func (d *Director) tell(ctx context.Context, all bool, staying map[netip.Addr]bool) {
	c, plan := d.config.Load(), d.decision.Load()
	if d.deps.SyncSender == nil || c.IPVS.Sync == nil || plan == nil {
		return
	}
	began := time.Now()
	ways := waysOf(plan.Desired.Table)
	n, err := d.deps.SyncSender.Send(ctx, *decision.DesiredSync(c.IPVS.Sync), all, func(conn ipvs.Connection) (ipvs.Forward, bool) {
		if staying[conn.Virtual.Addr()] {
			return 0, false
		}
		return ways.of(conn)
	})
	switch {
	case err != nil:
		d.deps.Log.Warn("the peer was not told of all connections: it knows those that the kernel told", "reason", err)
	case n > 0 && all:
		d.deps.Log.Info("told the peer of connections", "connections", n, "took", time.Since(began))
	}
}

// ways tells how a connection reaches its real server.
type ways struct {
	table ipvs.Table
	marks []ipvs.Service // those by firewall mark: a connection does not say which
}

func waysOf(table ipvs.Table) ways {
	w := ways{table: table}
	for k, svc := range table {
		if k.Mark != 0 {
			w.marks = append(w.marks, svc)
		}
	}
	return w
}

// of is the way of a connection. False where services that it may have come by
// reach the server in two ways: the list does not say by which it came.
func (w ways) of(conn ipvs.Connection) (way ipvs.Forward, known bool) {
	protocol, err := ipvs.ParseProtocol(strings.ToLower(conn.Protocol))
	if err != nil {
		return 0, false
	}
	anyPort := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
	candidates := w.marks
	for _, virtual := range []netip.AddrPort{conn.Virtual, anyPort(conn.Virtual)} {
		if svc, there := w.table[ipvs.ServiceKey{Protocol: protocol, Address: virtual}]; there {
			candidates = append(slices.Clip(candidates), svc)
			break // the service of a port goes before that of all
		}
	}
	for _, svc := range candidates {
		dest, there := svc.Destinations[conn.RealServer]
		if !there {
			dest, there = svc.Destinations[anyPort(conn.RealServer)]
		}
		if !there {
			continue
		}
		if known && dest.Forward != way {
			return 0, false
		}
		way, known = dest.Forward, true
	}
	return way, known
}

// RSTGuard keeps unknown connections of these addresses from being reset.
type RSTGuard interface {
	Set(map[netip.AddrPort]struct{}) error
}

// hushEvery is how often that is looked at again.
const hushEvery = time.Second

// keepHush says it again and again, and at once when an election moved.
func (d *Director) keepHush(ctx context.Context) {
	if d.deps.RSTGuard == nil {
		return
	}
	ticker := time.NewTicker(hushEvery)
	defer ticker.Stop()
	said := ""
	for {
		problem := ""
		if err := d.deps.RSTGuard.Set(d.hushed()); err != nil {
			problem = err.Error()
		}
		if problem != "" && problem != said {
			d.deps.Log.Warn("connections that the peer has not told of yet will be reset when the addresses come here", "reason", problem)
		}
		said = problem
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.moves:
		}
	}
}

// hushed are the addresses, as the elections stand now; none without
// synchronised connections, of which nobody would tell.
func (d *Director) hushed() map[netip.AddrPort]struct{} {
	out := map[netip.AddrPort]struct{}{}
	c, plan := d.config.Load(), d.decision.Load()
	if plan == nil || c.IPVS.Sync == nil {
		return out
	}
	for _, s := range d.instances.snapshots() {
		hushed(time.Now(), plan.Desired.Table, s.engine.Status(), s.VIPs, out)
	}
	return out
}
