package director

// Handover gives the addresses of this director to a peer when a person says so,
// and keeps this director away from them afterwards: a level, the holds, that
// state_dir keeps over restarts. It asks the elections and watches what becomes of
// them; it never moves an address itself.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
	"lvsd/config"
	"lvsd/vrrp"
)

// Standby is an election that this director stays away from: it preempts nobody, and
// takes over only when no master is heard.
type Standby struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: until it is told otherwise
}

// expired reports whether the time of the standby is over.
func (h Standby) expired(now time.Time) bool { return !h.Until.IsZero() && !now.Before(h.Until) }

// StandbyStore keeps the holds, by election, over restarts.
type StandbyStore interface {
	LoadStandby() (map[string]Standby, error)
	SaveStandby(map[string]Standby) error
}

// Peers are the other directors, as far as they say how they are.
type Peers interface {
	Peers() []decision.Peer
	OwnConnections() int // as a Peer's
}

// Handover is what a person asks for.
type Handover struct {
	Instance string        // "": all
	For      time.Duration // 0: until it is ended
	Force    bool          // whether a ready peer is heard or not
}

// HandedOver is what became of one election.
type HandedOver struct {
	Instance string
	// Master: this director was master. The other fields count only then.
	Master  bool
	To      netip.Addr    // who has the addresses now
	Took    time.Duration // until the successor was heard
	Removed time.Duration // until they were off this director's interface
	Failed  string        // why it has them still, or again
}

// patience is what a handover may take besides the election's own time.
const patience = 3 * time.Second

// loopPatience is how long the loop may be busy; when it has ended it is for ever.
const loopPatience = 10 * time.Second

// watchEvery is how often a handover looks at its elections.
const watchEvery = 10 * time.Millisecond

// leaving is a master that hands over.
type leaving struct {
	engine Engine
	config vrrp.Config
	out    *HandedOver
}

// HandOver makes this director stay away from elections, and gives the addresses
// to a peer where it is master. It returns when they have moved, or will not. The
// error is why nothing was done.
func (d *Director) HandOver(ctx context.Context, h Handover) ([]HandedOver, error) {
	began := time.Now()
	var out []HandedOver
	var masters []leaving
	var going []*slot
	err := d.inLoop(ctx, func() (err error) {
		chosen, err := d.instances.named(h.Instance)
		if err != nil {
			return err
		}
		if !h.Force {
			if err := d.readyPeer(chosen); err != nil {
				return err
			}
		}
		out = make([]HandedOver, len(chosen))
		hold := Standby{Since: began}
		if h.For > 0 {
			hold.Until = began.Add(h.For)
		}
		if err := d.enterStandby(chosen, hold); err != nil {
			return err
		}
		for i, c := range chosen {
			out[i].Instance = c.config.Name
			if out[i].Master = c.engine.Status().State == vrrp.Master; out[i].Master {
				masters, going = append(masters, leaving{c.engine, c.config, &out[i]}), append(going, c)
			}
		}
		return nil
	})
	if err != nil || len(masters) == 0 {
		return out, err
	}
	// What the kernel has not told yet is told first, and by the time that the
	// successor is there only what began since is new to it.
	told, cancel := context.WithTimeout(ctx, tellFirst)
	staying, _ := d.standing(going)
	d.tell(told, true, staying)
	cancel()
	for _, l := range masters {
		l.engine.HandOver()
	}
	began = time.Now()
	d.watchHandover(ctx, began, masters)
	var kept []string
	for _, o := range out {
		if o.Failed != "" {
			kept = append(kept, o.Instance)
		}
	}
	if len(kept) == 0 {
		return out, nil
	}
	// It serves on, and so it stands for election as before.
	return out, d.inLoop(context.WithoutCancel(ctx), func() error { return d.endStandby(kept, "the handover failed") })
}

// watchHandover waits for the successors.
func (d *Director) watchHandover(ctx context.Context, began time.Time, masters []leaving) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for len(masters) > 0 {
		masters = slices.DeleteFunc(masters, func(l leaving) bool { return l.look(began) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, l := range masters {
				l.out.Failed = "not done yet: " + ctx.Err().Error()
			}
			return
		}
	}
}

// look says whether a handover has ended, well or not.
func (l leaving) look(began time.Time) (ended bool) {
	s, now := l.engine.Status(), time.Now()
	limit := 4*l.config.AdvertInterval + l.config.HandoverLimit + patience
	switch {
	case s.State == vrrp.Backup && s.Master.IsValid():
		if l.out.Took == 0 {
			l.out.To, l.out.Took = s.Master, s.LastAdvert.Sub(began)
			if l.out.Took <= 0 {
				l.out.Took = now.Sub(began)
			}
		}
		if s.Holding && now.Sub(began) < limit {
			return false
		}
		l.out.Removed = now.Sub(began)
		if s.Holding {
			l.out.Failed = "the addresses did not leave the interface: " + s.Alarm
		}
	case s.State == vrrp.Master && s.Since.After(began):
		l.out.Failed = "nobody took the addresses over: this director serves on, and is not held"
	case s.State == vrrp.Fault:
		l.out.Failed = "this director is in fault: " + s.Detail
	case now.Sub(began) < limit:
		return false
	default:
		l.out.Failed = fmt.Sprintf("still %s after %v", s.State, limit)
	}
	return true
}

// EndHandover ends the holds of an election, or of all, and answers which.
func (d *Director) EndHandover(ctx context.Context, election string) (ended []string, err error) {
	return ended, d.inLoop(ctx, func() error {
		chosen, err := d.instances.named(election)
		if err != nil {
			return err
		}
		for _, c := range chosen {
			if _, held := d.instances.standby[c.config.Name]; held {
				ended = append(ended, c.config.Name)
			}
		}
		return d.endStandby(ended, "told to")
	})
}

// inLoop does something where the elections may be changed.
func (d *Director) inLoop(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, loopPatience)
	defer cancel()
	answer := make(chan error, 1)
	select {
	case d.calls <- func() { answer <- do() }:
		return <-answer
	case <-ctx.Done():
		return fmt.Errorf("the daemon did not take it up: %w", ctx.Err())
	}
}

// named are the elections of a name, with all of their sync group; "" is all.
func (el *Set) named(name string) ([]*slot, error) {
	if name == "" {
		if len(el.running) == 0 {
			return nil, errors.New("the configuration has no [[vrrp]]")
		}
		return el.running, nil
	}
	var names []string
	for _, c := range el.running {
		if c.config.Name != name {
			names = append(names, c.config.Name)
			continue
		}
		group := c.config.SyncGroup
		return slices.DeleteFunc(slices.Clone(el.running), func(o *slot) bool {
			return o != c && (group == "" || o.config.SyncGroup != group)
		}), nil
	}
	return nil, fmt.Errorf("no election is called %q: there is %s", name, strings.Join(names, ", "))
}

// enterStandby makes this director stay away, once that is on disk.
func (d *Director) enterStandby(chosen []*slot, h Standby) error {
	next := maps.Clone(d.instances.standby)
	if next == nil {
		next = map[string]Standby{}
	}
	for _, c := range chosen {
		next[c.config.Name] = h
	}
	if err := d.setStandby(next); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	reason := "handover, until it is ended"
	if !h.Until.IsZero() {
		reason = "handover, until " + h.Until.Format(time.RFC3339)
	}
	for _, c := range chosen {
		d.deps.Events.Record(event.Event{At: h.Since, Kind: event.KindHandover, VRRP: c.config.Name, To: "held", Reason: reason})
	}
	return nil
}

// endStandby ends holds. They end in any case: an error says that a restart would
// bring them back.
func (d *Director) endStandby(names []string, reason string) error {
	if len(names) == 0 {
		return nil
	}
	next := maps.Clone(d.instances.standby)
	for _, n := range names {
		delete(next, n)
	}
	err := d.setStandby(next)
	if err != nil {
		d.instances.setStandby(next)
		err = fmt.Errorf("ended, but a restart would bring it back: %w", err)
	}
	for _, n := range names {
		d.deps.Events.Record(event.Event{At: time.Now(), Kind: event.KindHandover, VRRP: n, From: "held", To: "released", Reason: reason})
	}
	return err
}

func (d *Director) setStandby(next map[string]Standby) error {
	if d.deps.StandbyStore != nil {
		if err := d.deps.StandbyStore.SaveStandby(next); err != nil {
			return err
		}
	}
	d.instances.setStandby(next)
	return nil
}

// endExpiredStandby ends those whose time is over, and those of elections that left the
// file.
func (d *Director) endExpiredStandby(now time.Time, c *config.Config) {
	var over, gone []string
	for name, h := range d.instances.standby {
		known := slices.ContainsFunc(c.Instances, func(e config.Instance) bool { return e.Name == name })
		switch {
		case !known:
			gone = append(gone, name)
		case h.expired(now):
			over = append(over, name)
		}
	}
	err := errors.Join(d.endStandby(over, "its time is over"), d.endStandby(gone, "the election left the file"))
	if err != nil {
		d.deps.Log.Error("the end of a handover could not be noted", "reason", err)
	}
}

// nextStandbyEnd is when the next hold is over by itself; zero: never.
func (el *Set) nextStandbyEnd() time.Time {
	var end time.Time
	for _, h := range el.standby {
		end = decision.Earliest(end, h.Until)
	}
	return end
}

// loadStandby takes up what an earlier run was told.
func (d *Director) loadStandby() {
	if d.deps.StandbyStore == nil {
		return
	}
	holds, err := d.deps.StandbyStore.LoadStandby()
	if err != nil {
		d.deps.Log.Error("what an earlier run was told about handovers is lost: this director stands for election as configured", "reason", err)
	}
	d.instances.setStandby(holds)
}

// readyPeer refuses a handover of addresses that nobody is known to be ready for.
// A backup of VRRP is silent, so only the pair's exchange can tell.
func (d *Director) readyPeer(chosen []*slot) error {
	var reasons []error
	for _, c := range chosen {
		if c.engine.Status().State != vrrp.Master {
			continue
		}
		if why := d.noReadyPeer(c.config.Name); why != "" {
			reasons = append(reasons, fmt.Errorf("%s: %s", c.config.Name, why))
		}
	}
	if reasons == nil {
		return nil
	}
	return fmt.Errorf("%w (--force hands over all the same; if nobody takes the addresses, this director does again)", errors.Join(reasons...))
}

func (d *Director) noReadyPeer(election string) string {
	if d.deps.Peers == nil || d.config.Load().Pair == nil {
		return "no [pair] is configured, and a backup of VRRP is silent: nobody is known to be ready to take over"
	}
	var reasons []string
	for _, p := range d.peers() {
		why := p.NotReady(election)
		if why == "" {
			return ""
		}
		reasons = append(reasons, p.Name+" "+why)
	}
	if reasons == nil {
		return "no other director has answered yet"
	}
	return strings.Join(reasons, "; ")
}
