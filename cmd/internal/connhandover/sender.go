package connhandover

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

// Sender sends connections to the peer by the synchronisation of IPVS: all, or those
// that are new since the last call. Choose names a connection's forwarding method, or
// leaves it out. It returns how many were sent.
type Sender interface {
	Send(ctx context.Context, cfg ipvs.SyncConfig, all bool, choose func(ipvs.Connection) (ipvs.Forward, bool)) (int, error)
}

const (
	// firstRoundLimit is how long a handover waits for the first round.
	firstRoundLimit = time.Second
	// roundInterval is from the end of a round to the next: it bounds how long the
	// new master does not know a connection.
	roundInterval = 50 * time.Millisecond
	// roundsLimit is the longest handover_limit, and a little more.
	roundsLimit = time.Minute + 5*time.Second
)

// SendBefore sends all connections of the named instances, which are about to resign,
// and returns after a second at the latest.
func (h *Handover) SendBefore(ctx context.Context, resigning map[string]bool) {
	ctx, cancel := context.WithTimeout(ctx, firstRoundLimit)
	defer cancel()
	staying, _ := h.vips(resigning)
	h.send(ctx, true, staying)
}

// sendWhileLeaving sends connections in rounds whenever an instance has left the
// master state and still has its addresses.
func (h *Handover) sendWhileLeaving(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.left:
		}
		limit := time.Now().Add(roundsLimit)
		for all := true; ctx.Err() == nil && time.Now().Before(limit); all = false {
			staying, leaving := h.vips(nil)
			if !leaving {
				break
			}
			h.send(ctx, all, staying)
			if !pause(ctx, roundInterval) {
				return
			}
		}
	}
}

// vips returns the addresses of which this director stays master, and whether it
// still has others that it is giving up. Those of resigning instances count as
// given up.
func (h *Handover) vips(resigning map[string]bool) (staying map[netip.Addr]bool, leaving bool) {
	staying = map[netip.Addr]bool{}
	for _, i := range h.deps.Instances() {
		switch {
		case i.Status.State != vrrp.Master:
			leaving = leaving || i.Status.HasVIPs
		case resigning[i.Name]:
			leaving = true
		default:
			for _, p := range i.VIPs {
				staying[p.Addr()] = true
			}
		}
	}
	return staying, leaving
}

// send sends the connections except those to addresses that stay.
func (h *Handover) send(ctx context.Context, all bool, staying map[netip.Addr]bool) {
	c := h.deps.Config()
	table, decided := h.deps.Table()
	if h.deps.Sender == nil || c.IPVS.Sync == nil || !decided {
		return
	}
	began := time.Now()
	forwards := forwardsOf(table)
	n, err := h.deps.Sender.Send(ctx, *decision.DesiredSync(c.IPVS.Sync), all, func(conn ipvs.Connection) (ipvs.Forward, bool) {
		if staying[conn.Virtual.Addr()] {
			return 0, false
		}
		return forwards.of(conn)
	})
	switch {
	case err != nil:
		h.deps.Log.Warn("could not send all connections to the peer; it has those that the kernel synchronised", "reason", err)
	case n > 0 && all:
		h.deps.Log.Info("sent connections to the peer", "connections", n, "took", time.Since(began))
	}
}

// forwards finds the forwarding method of a connection.
type forwards struct {
	table ipvs.Table
	marks []ipvs.Service // by firewall mark: a connection does not name its mark
}

func forwardsOf(table ipvs.Table) forwards {
	f := forwards{table: table}
	for k, svc := range table {
		if k.Mark != 0 {
			f.marks = append(f.marks, svc)
		}
	}
	return f
}

// of returns the forwarding method of a connection; false where services that it may
// belong to reach the server by different ones: the kernel's list of connections does
// not name the service.
func (f forwards) of(conn ipvs.Connection) (forward ipvs.Forward, known bool) {
	protocol, err := ipvs.ParseProtocol(strings.ToLower(conn.Protocol))
	if err != nil {
		return 0, false
	}
	anyPort := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), 0) }
	candidates := f.marks
	for _, virtual := range []netip.AddrPort{conn.Virtual, anyPort(conn.Virtual)} {
		if svc, there := f.table[ipvs.ServiceKey{Protocol: protocol, Address: virtual}]; there {
			candidates = append(slices.Clip(candidates), svc)
			break // the service of one port takes precedence over that of all ports
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
		if known && dest.Forward != forward {
			return 0, false
		}
		forward, known = dest.Forward, true
	}
	return forward, known
}
