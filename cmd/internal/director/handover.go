package director

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/instances"
	"lvsd/cmd/internal/persist"
	"lvsd/vrrp"
)

// Peers are the other directors, as they report themselves.
type Peers interface {
	Peers() []decision.Peer
	OwnConnections() int // as a Peer's
}

// Handover is an operator's request to hand over.
type Handover struct {
	Instance string        // "": all
	For      time.Duration // 0: until it is ended
	Force    bool          // even when no peer is known to be ready
}

// HandedOver is the result of a handover of one instance.
type HandedOver struct {
	Instance string // "" for an announcement
	Announce string // "" for an instance; Master is then that it was announced
	// Master: this director was master. The other fields count only then.
	Master  bool
	To      netip.Addr    // the new master
	Took    time.Duration // until its first advertisement
	Removed time.Duration // until the addresses were removed here
	Failed  string        // why this director still has the addresses, or has them again
}

// handoverSlack is how long a handover may take in addition to the instance's own
// times.
const handoverSlack = 3 * time.Second

// loopLimit is how long a call waits for the loop.
const loopLimit = 10 * time.Second

// watchInterval is how often a handover reads the status of its instances.
const watchInterval = 10 * time.Millisecond

// resigningMaster is a master that hands over.
type resigningMaster struct {
	*instances.Instance
	config vrrp.Config
	out    *HandedOver
}

// HandOver puts instances into standby, and gives their addresses to a peer where this
// director is master. It returns when they have moved, or will not. The error is why
// nothing was done.
func (d *Director) HandOver(ctx context.Context, h Handover) ([]HandedOver, error) {
	began := time.Now()
	standby := persist.Standby{Since: began}
	if h.For > 0 {
		standby.Until = began.Add(h.For)
	}
	var saved <-chan error
	err := d.inLoop(ctx, func() error {
		chosen, announces, err := d.named(h.Instance)
		if err == nil && !h.Force {
			err = errors.Join(d.readyPeer(chosen), d.readyAnnouncers(announces))
		}
		if err == nil {
			saved = d.standby.Save(d.withStandby(chosen, announces, standby))
		}
		return err
	})
	if err == nil {
		err = awaitSaved(ctx, saved)
	}
	if err != nil {
		return nil, err
	}
	var out, withdrawn []HandedOver
	var masters []resigningMaster
	resigning := map[string]bool{}
	var announces []string
	announced := map[string]bool{}
	err = d.inLoop(ctx, func() error {
		var chosen []*instances.Instance
		var err error
		if chosen, announces, err = d.named(h.Instance); err != nil {
			return err
		}
		for _, n := range d.Announcements() {
			announced[n.Name] = n.Announced
		}
		d.enterStandby(chosen, announces, standby)
		out = make([]HandedOver, len(chosen))
		for n, i := range chosen {
			out[n].Instance = i.Name()
			if out[n].Master = i.Status().State == vrrp.Master; out[n].Master {
				masters, resigning[i.Name()] = append(masters, resigningMaster{i, i.Config(), &out[n]}), true
			}
		}
		return nil
	})
	if err == nil {
		withdrawn = d.awaitWithdrawn(ctx, began, announces, announced)
	}
	if err != nil || len(masters) == 0 {
		return append(out, withdrawn...), err
	}
	// Connections that the kernel has not synchronised yet are sent first, so that
	// the successor lacks only those that begin after that.
	d.handover.SendBefore(ctx, resigning)
	for _, l := range masters {
		l.Resign()
	}
	began = time.Now()
	d.watchHandover(ctx, began, masters)
	var failed []string
	for _, o := range out {
		if o.Failed != "" {
			failed = append(failed, o.Instance)
		}
	}
	out = append(out, withdrawn...)
	if len(failed) == 0 {
		return out, nil
	}
	// It is master still, and takes part in the election as configured.
	return out, d.leaveStandby(context.WithoutCancel(ctx), func() ([]string, error) { return failed, nil }, "the handover failed")
}

// watchHandover waits until every handover has ended.
func (d *Director) watchHandover(ctx context.Context, began time.Time, masters []resigningMaster) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for len(masters) > 0 {
		masters = slices.DeleteFunc(masters, func(l resigningMaster) bool { return l.ended(began) })
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

// ended reports whether a handover has succeeded or failed, and sets its result.
func (l resigningMaster) ended(began time.Time) bool {
	s, now := l.Status(), time.Now()
	limit := 4*l.config.AdvertInterval + l.config.HandoverLimit + handoverSlack
	switch {
	case s.State == vrrp.Backup && s.Master.IsValid():
		if l.out.Took == 0 {
			l.out.To, l.out.Took = s.Master, s.LastAdvert.Sub(began)
			if l.out.Took <= 0 {
				l.out.Took = now.Sub(began)
			}
		}
		if s.HasVIPs && now.Sub(began) < limit {
			return false
		}
		l.out.Removed = now.Sub(began)
		if s.HasVIPs {
			l.out.Failed = "the addresses did not leave the interface: " + s.Alarm
		}
	case s.State == vrrp.Master && s.Since.After(began):
		l.out.Failed = "no peer took over: this director remains master and is not on standby"
	case s.State == vrrp.Fault:
		l.out.Failed = "this director is in fault: " + s.Detail
	case now.Sub(began) < limit:
		return false
	default:
		l.out.Failed = fmt.Sprintf("still %s after %v", s.State, limit)
	}
	return true
}

// EndHandover ends the standby of an instance with its sync group, or of all ("").
// It returns their names.
func (d *Director) EndHandover(ctx context.Context, instance string) (ended []string, err error) {
	err = d.leaveStandby(ctx, func() ([]string, error) {
		chosen, announces, err := d.named(instance)
		for _, key := range standbyKeys(chosen, announces) {
			if _, standby := d.instances.Standby()[key]; standby {
				ended = append(ended, key)
			}
		}
		return ended, err
	}, "ended by operator")
	for i, key := range ended {
		ended[i] = strings.TrimPrefix(key, StandbyKey(""))
	}
	return ended, err
}

// named returns the instances of a name, with all of their sync group, and the
// announcements; "" is all.
func (d *Director) named(name string) (chosen []*instances.Instance, announces []string, err error) {
	announces = d.namedAnnounces(name)
	if chosen, err = d.instances.Named(name); len(announces) > 0 {
		return chosen, announces, nil
	}
	if all := d.namedAnnounces(""); err != nil && len(all) > 0 {
		instances, _ := d.instances.Named("")
		for _, i := range instances {
			all = append(all, i.Name())
		}
		err = fmt.Errorf("there is no announcement or VRRP instance %q; there are: %s", name, strings.Join(all, ", "))
	}
	return chosen, announces, err
}

// inLoop runs a function in the loop, where the instances may be changed.
func (d *Director) inLoop(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, loopLimit)
	defer cancel()
	answer := make(chan error, 1)
	select {
	case d.calls <- func() { answer <- do() }:
		return <-answer
	case <-ctx.Done():
		return fmt.Errorf("the daemon did not process the request: %w", ctx.Err())
	}
}

// readyPeer refuses a handover for which no peer is known to be ready. A VRRP backup
// sends nothing, so only the exchange between directors knows.
func (d *Director) readyPeer(chosen []*instances.Instance) error {
	var reasons []error
	for _, i := range chosen {
		if i.Status().State != vrrp.Master {
			continue
		}
		if why := d.noReadyPeer(i.Name()); why != "" {
			reasons = append(reasons, fmt.Errorf("%s: %s", i.Name(), why))
		}
	}
	if reasons == nil {
		return nil
	}
	return fmt.Errorf("%w (--force hands over anyway; if no peer takes over, this director becomes master again)", errors.Join(reasons...))
}

func (d *Director) noReadyPeer(instance string) string {
	if d.deps.Peers == nil || d.config.Load().Exchange == nil {
		return "cannot verify that a peer is ready, as VRRP backups send nothing: [peers] is not configured"
	}
	var reasons []string
	for _, p := range d.peers() {
		why := p.NotReady(instance)
		if why == "" {
			return ""
		}
		reasons = append(reasons, p.Name+" "+why)
	}
	if reasons == nil {
		return "no other director has replied yet"
	}
	return strings.Join(reasons, "; ")
}
