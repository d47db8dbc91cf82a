package director

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
)

// Routes are the routes by which addresses are announced, as the director needs them.
type Routes interface {
	Set(announce.Desired) uint64
	Wait(ctx context.Context, generation uint64) error
	Snapshot() announce.Snapshot
	Adopted() map[announce.Key]announce.Route
	Prepare(old, next *config.Config) (reload.Change, error)
}

// Withdrawal is a label pair of the counter of withdrawals.
type Withdrawal struct {
	Announce string
	Reason   decision.AnnounceReason
}

// announcements is what the director knows of its announcements. The loop alone writes it.
type announcements struct {
	now  atomic.Pointer[[]decision.Announcement] // nil before the first decision
	next time.Time                               // when time alone changes a decision; zero: never

	desired    announce.Desired
	generation uint64 // of desired

	mu          sync.Mutex
	withdrawals map[Withdrawal]uint64
}

// lingerTime is how long this host accepts an address that left the configuration.
const lingerTime = 5 * time.Second

// prepareRoutes is the routes' part in a start or a reload.
func (d *Director) prepareRoutes(old, next *config.Config) (reload.Change, error) {
	if d.deps.Routes == nil {
		return reload.Change{}, nil
	}
	return d.deps.Routes.Prepare(old, next)
}

// Announcements returns the newest decisions, in the order of the file. They must not be
// changed.
func (d *Director) Announcements() []decision.Announcement {
	if p := d.announces.now.Load(); p != nil {
		return *p
	}
	return nil
}

// withdrawals returns how often addresses were withdrawn, by reason.
func (d *Director) withdrawals() map[Withdrawal]uint64 {
	d.announces.mu.Lock()
	defer d.announces.mu.Unlock()
	return maps.Clone(d.announces.withdrawals)
}

// announcing returns the other directors that announce, by announcement.
func (d *Director) announcing() map[string][]string {
	all := map[string][]string{}
	for _, p := range d.peers() {
		for name, a := range p.Announces {
			if p.Up && a.Announced {
				all[name] = append(all[name], p.Name)
			}
		}
	}
	return all
}

// StandbyKey is the name of an announcement among the instances on standby: no instance
// has a colon in its name.
func StandbyKey(name string) string { return "announce:" + name }

// announce decides which addresses are announced, and sets their routes.
func (d *Director) announce(p *decision.Decision, health map[checker.ID]checker.Health, kernel ipvs.Snapshot) {
	a, c, now := &d.announces, p.Config, time.Now()
	if d.deps.Routes == nil {
		return
	}
	before := d.Announcements()
	if a.now.Load() == nil {
		before = d.adopted(c, now)
	}
	if len(c.Announces)+len(before) == 0 && a.generation > 0 {
		return
	}
	fault, faultAt := ipvsFault(kernel, c, now)
	standby, gone, daemons := map[string]bool{}, map[string]bool{}, d.deps.Routes.Snapshot().Daemons
	for _, e := range c.Announces {
		runs, known := daemons[e.RoutingDaemon]
		gone[e.Name] = known && !runs
		_, standby[e.Name] = d.instances.Standby()[StandbyKey(e.Name)]
	}
	all, next := decision.Announcements(decision.AnnounceInputs{
		Now: now, Config: c, Services: p.Services, Guard: p.Guard, Waits: decision.WaitsForChecks(now, d.trusted, p.Services, health),
		Synced: kernel.Up && d.applied > 0 && kernel.Generation >= d.applied, IPVSFault: fault, Standby: standby, DaemonGone: gone, Peers: d.peers(), Connections: d.ownConnections(),
		Before: slices.Concat(before, renamed(before, a.desired, c)),
	})
	a.next = decision.Earliest(next, faultAt)
	lost := newlyLost(before, all)
	a.now.Store(&all)
	d.recordAnnouncements(before, all)
	if d.deps.PublishState != nil && !sameToPeers(before, all) {
		d.deps.PublishState()
	}
	if lost {
		// Only what peers are asked from here on counts: whoever answers knows by then, or
		// learns in return, that this director does not serve.
		all = slices.Clone(all)
		for i := range all {
			if !all[i].Lost.IsZero() && all[i].Lost.Equal(now) {
				all[i].Lost = time.Now()
			}
		}
		a.now.Store(&all)
	}
	d.setRoutes(c, all)
}

// newlyLost reports whether this director has just become unable to serve something.
func newlyLost(before, all []decision.Announcement) bool {
	for _, n := range all {
		i := slices.IndexFunc(before, func(b decision.Announcement) bool { return b.Name == n.Name })
		if !n.Lost.IsZero() && (i < 0 || before[i].Lost.IsZero()) {
			return true
		}
	}
	return false
}

// sameToPeers reports whether the peers would see no difference.
func sameToPeers(before, all []decision.Announcement) bool {
	return slices.EqualFunc(before, all, func(a, b decision.Announcement) bool {
		return a.Name == b.Name && a.Announced == b.Announced && a.Serving == b.Serving && a.Kept == b.Kept && a.Metric == b.Metric
	})
}

// ipvsFault returns why the kernel's table is not known any more, and when it will not be;
// zero: no time alone makes a difference.
func ipvsFault(kernel ipvs.Snapshot, c *config.Config, now time.Time) (fault string, at time.Time) {
	if kernel.Up {
		return "", time.Time{}
	}
	at = kernel.At.Add(resyncsMissed*c.IPVS.ResyncInterval + time.Second)
	if now.Before(at) {
		return "", at
	}
	return fmt.Sprintf("the kernel's IPVS table was last read %v ago: %s", now.Sub(kernel.At).Round(time.Second), kernel.LastError), time.Time{}
}

// adopted returns what a crashed run left announced.
func (d *Director) adopted(c *config.Config, now time.Time) []decision.Announcement {
	if len(c.Announces) == 0 {
		return nil
	}
	routes := d.deps.Routes.Adopted()
	var all []decision.Announcement
	for _, a := range c.Announces {
		for _, address := range a.Addresses {
			if r, there := routes[announce.Key{Table: a.Table, Address: address}]; there {
				all = append(all, decision.Adopted(a, r.Metric, now))
				break
			}
		}
	}
	return all
}

// renamed returns the state of announcements that the configuration has under a new name, all
// of whose addresses are announced now, under others: they stay announced.
func renamed(before []decision.Announcement, now announce.Desired, c *config.Config) (all []decision.Announcement) {
	owners := map[netip.Addr]string{}
	for _, a := range now.Announces {
		for _, address := range a.Addresses {
			if a.Announced {
				owners[address] = a.Name
			}
		}
	}
	named := func(name string) int {
		return slices.IndexFunc(before, func(b decision.Announcement) bool { return b.Name == name })
	}
	for _, e := range c.Announces {
		if named(e.Name) >= 0 || slices.ContainsFunc(e.Addresses, func(address netip.Addr) bool { return owners[address] == "" }) {
			continue
		}
		if i := named(owners[e.Addresses[0]]); i >= 0 {
			same := before[i]
			same.Name = e.Name
			all = append(all, same)
		}
	}
	return all
}

// setRoutes hands the routes that follow from the decisions to their manager.
func (d *Director) setRoutes(c *config.Config, all []decision.Announcement) {
	want := announce.Desired{Linger: lingerTime}
	for i, e := range c.Announces {
		want.Announces = append(want.Announces, announce.Announce{Name: e.Name, Addresses: e.Addresses, Table: e.Table,
			Announced: all[i].Announced, Metric: all[i].Metric, Daemon: e.RoutingDaemon})
	}
	a := &d.announces
	if a.generation > 0 && sameRoutes(a.desired, want) {
		return
	}
	a.desired, a.generation = want, d.deps.Routes.Set(want)
}

func sameRoutes(a, b announce.Desired) bool {
	return slices.EqualFunc(a.Announces, b.Announces, func(a, b announce.Announce) bool {
		return a.Name == b.Name && a.Table == b.Table && a.Announced == b.Announced && a.Metric == b.Metric && a.Daemon == b.Daemon && slices.Equal(a.Addresses, b.Addresses)
	})
}

// recordAnnouncements records changes as events, and counts withdrawals.
func (d *Director) recordAnnouncements(before, all []decision.Announcement) {
	find := func(list []decision.Announcement, name string) (decision.Announcement, bool) {
		i := slices.IndexFunc(list, func(a decision.Announcement) bool { return a.Name == name })
		if i < 0 {
			return decision.Announcement{}, false
		}
		return list[i], true
	}
	for _, n := range all {
		b, known := find(before, n.Name)
		if known && announceState(b) == announceState(n) {
			continue
		}
		d.announceChanged(b, n)
	}
	for _, b := range before {
		if _, stays := find(all, b.Name); !stays {
			d.announceChanged(b, decision.Announcement{Name: b.Name, Reason: decision.AnnounceRemoved, Why: "removed from the file"})
		}
	}
}

// announceChanged records one change.
func (d *Director) announceChanged(b, n decision.Announcement) {
	e := event.Event{At: time.Now(), Kind: event.KindAnnounce, Announce: n.Name, To: announceState(n), Reason: n.Why}
	if b.Name != "" {
		e.From = announceState(b)
	}
	d.deps.Events.Record(e)
	if b.Announced && !n.Announced {
		a := &d.announces
		a.mu.Lock()
		if a.withdrawals == nil {
			a.withdrawals = map[Withdrawal]uint64{}
		}
		a.withdrawals[Withdrawal{n.Name, n.Reason}]++
		a.mu.Unlock()
	}
}

// announceState is the state of an announcement in a word.
func announceState(a decision.Announcement) string {
	switch {
	case a.Kept:
		return "kept"
	case a.Reason == decision.AnnounceServing && !a.Serving:
		return "unheard" // the routing daemon is gone
	case a.Announced:
		return "announced"
	case a.Reason == decision.AnnounceStart:
		return "starting"
	case a.Reason == decision.AnnounceStandby:
		return "standby"
	case a.Reason == decision.AnnounceStop:
		return "stopped"
	case a.Reason == decision.AnnounceRemoved:
		return "removed"
	}
	return "withdrawn"
}

// withdrawLimit bounds the wait for the kernel at a stop.
const withdrawLimit = 3 * time.Second

// withdrawAll withdraws everything at a stop, and waits as long as the configuration says:
// routers continue to send for a moment.
func (d *Director) withdrawAll() {
	c, before := d.config.Load(), d.Announcements()
	if d.deps.Routes == nil || c == nil || len(before) != len(c.Announces) {
		return
	}
	wait, all := time.Duration(-1), slices.Clone(before)
	for i := range all {
		if all[i].Announced {
			wait = max(wait, c.Announces[i].WithdrawWait)
		}
		all[i] = decision.Announcement{Name: all[i].Name, Reason: decision.AnnounceStop, Why: "lvsd stops", Since: time.Now()}
	}
	if wait < 0 {
		return
	}
	d.announces.now.Store(&all)
	d.recordAnnouncements(before, all)
	d.setRoutes(c, all)
	ctx, cancel := context.WithTimeout(context.Background(), withdrawLimit)
	defer cancel()
	if err := d.deps.Routes.Wait(ctx, d.announces.generation); err != nil {
		d.deps.Log.Error("the addresses could not be withdrawn", "reason", strings.Join(d.deps.Routes.Snapshot().Errors, "; "))
	}
	time.Sleep(wait) // withdraw_wait: this host still forwards what routers send meanwhile
}

// namedAnnounces returns the names of the announcements that a handover is about; "" is all.
func (d *Director) namedAnnounces(name string) (names []string) {
	for _, a := range d.config.Load().Announces {
		if name == "" || a.Name == name {
			names = append(names, a.Name)
		}
	}
	return names
}

// readyAnnouncers refuses a handover of announcements that no other director serves.
func (d *Director) readyAnnouncers(names []string) error {
	var reasons []error
	for _, n := range d.Announcements() {
		if !slices.Contains(names, n.Name) || !n.Announced {
			continue
		}
		if d.config.Load().Exchange == nil {
			reasons = append(reasons, fmt.Errorf("%s: cannot verify that another director announces it: [peers] is not configured", n.Name))
			continue
		}
		serves := func(p decision.Peer) bool { return p.Up && p.Announces[n.Name].Serving }
		if !slices.ContainsFunc(d.peers(), serves) {
			reasons = append(reasons, fmt.Errorf("%s: no other director serves it", n.Name))
		}
	}
	if reasons == nil {
		return nil
	}
	return fmt.Errorf("%w (--force withdraws anyway)", errors.Join(reasons...))
}

// awaitWithdrawn waits until announcements that are on standby have no routes any more.
func (d *Director) awaitWithdrawn(ctx context.Context, began time.Time, names []string, announced map[string]bool) []HandedOver {
	ctx, cancel := context.WithTimeout(ctx, withdrawLimit)
	defer cancel()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	out := make([]HandedOver, len(names))
	for i, name := range names {
		out[i] = HandedOver{Announce: name, Master: announced[name]}
		for o := &out[i]; o.Master && o.Removed == 0 && o.Failed == ""; {
			switch state, why := d.withdrawnState(name); {
			case state == "gone":
				o.Removed = time.Since(began)
			case state == "kept":
				o.Failed = "still announced: " + why
			default:
				select {
				case <-ticker.C:
				case <-ctx.Done():
					o.Failed = "not withdrawn yet: " + strings.Join(append(d.deps.Routes.Snapshot().Errors, why), "; ")
				}
			}
		}
	}
	return out
}

// withdrawnState returns "gone" when an announcement on standby has no routes, "kept" when
// it is announced in spite of it, and "" while neither is decided.
func (d *Director) withdrawnState(name string) (state, why string) {
	for i, n := range d.Announcements() {
		if n.Name != name || n.Reason != decision.AnnounceStandby {
			continue
		}
		if n.Kept {
			return "kept", n.Why
		}
		present, c := d.deps.Routes.Snapshot().Present, d.config.Load().Announces
		if i >= len(c) {
			return "", n.Why
		}
		for _, address := range c[i].Addresses {
			if _, there := present[announce.Key{Table: c[i].Table, Address: address}]; there {
				return "", n.Why
			}
		}
		return "gone", n.Why
	}
	return "", ""
}
