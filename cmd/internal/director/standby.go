package director

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/instances"
	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

// StandbyStore keeps the instances on standby, by name, over restarts.
type StandbyStore interface {
	LoadStandby() (map[string]persist.Standby, error)
	SaveStandby(map[string]persist.Standby) error
}

// saveLimit is how long a command waits for the disk.
const saveLimit = 5 * time.Second

// awaitSaved waits for the disk, and returns why a handover cannot go on.
func awaitSaved(ctx context.Context, saved <-chan error) error {
	if err := disk.Await(ctx, saved, saveLimit); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	return nil
}

// loadStandby reads the standby of an earlier run.
func (d *Director) loadStandby() {
	if d.deps.StandbyStore == nil {
		return
	}
	d.standby.Write = d.deps.StandbyStore.SaveStandby
	all, err := d.deps.StandbyStore.LoadStandby()
	if err != nil {
		d.deps.Log.Error("saved handovers unreadable: this director takes part in VRRP as configured", "reason", err)
	}
	d.instances.SetStandby(all)
}

// standbyKeys are the names of instances and announcements in the record of the standby.
func standbyKeys(chosen []*instances.Instance, announces []string) (keys []string) {
	for _, i := range chosen {
		keys = append(keys, i.Name())
	}
	for _, name := range announces {
		keys = append(keys, StandbyKey(name))
	}
	return keys
}

// withStandby returns the standby with these instances and announcements added.
func (d *Director) withStandby(chosen []*instances.Instance, announces []string, standby persist.Standby) map[string]persist.Standby {
	next := map[string]persist.Standby{}
	maps.Copy(next, d.instances.Standby())
	for _, key := range standbyKeys(chosen, announces) {
		next[key] = standby
	}
	return next
}

// enterStandby puts instances and announcements into standby. It is on disk already, unless another change
// came between.
func (d *Director) enterStandby(chosen []*instances.Instance, announces []string, standby persist.Standby) {
	next := d.withStandby(chosen, announces, standby)
	d.standby.Save(next)
	d.instances.SetStandby(next)
	reason := "handover, until it is ended"
	if !standby.Until.IsZero() {
		reason = "handover, until " + standby.Until.Format(time.RFC3339)
	}
	for _, key := range standbyKeys(chosen, announces) {
		e := handoverEvent(key)
		e.At, e.To, e.Reason = standby.Since, "held", reason
		d.deps.Events.Record(e)
	}
}

// handoverEvent returns an event of an instance or an announcement by its key.
func handoverEvent(key string) event.Event {
	if name, is := strings.CutPrefix(key, StandbyKey("")); is {
		return event.Event{Kind: event.KindHandover, Announce: name}
	}
	return event.Event{Kind: event.KindHandover, VRRP: key}
}

// leaveStandby ends the standby of instances that are chosen in the loop. It ends in any
// case: an error says that a restart would bring it back.
func (d *Director) leaveStandby(ctx context.Context, choose func() ([]string, error), reason string) error {
	var saved <-chan error
	err := d.inLoop(ctx, func() error {
		names, err := choose()
		if err == nil {
			saved = d.endStandby(names, reason)
		}
		return err
	})
	if err != nil || saved == nil {
		return err
	}
	if err := disk.Await(ctx, saved, saveLimit); err != nil {
		return fmt.Errorf("ended, but a restart would restore it: %w", err)
	}
	return nil
}

// endStandby ends the standby of instances; nil where there are none.
func (d *Director) endStandby(names []string, reason string) <-chan error {
	if len(names) == 0 {
		return nil
	}
	next := maps.Clone(d.instances.Standby())
	for _, n := range names {
		delete(next, n)
	}
	saved := d.standby.Save(next)
	d.instances.SetStandby(next)
	for _, n := range names {
		e := handoverEvent(n)
		e.At, e.From, e.To, e.Reason = time.Now(), "held", "released", reason
		d.deps.Events.Record(e)
	}
	return saved
}

// endExpiredStandby ends the standby whose time is over, and that of instances that left
// the file.
func (d *Director) endExpiredStandby(now time.Time, c *config.Config) {
	var expired, removed []string
	for name, standby := range d.instances.Standby() {
		configured := slices.ContainsFunc(c.Instances, func(i config.Instance) bool { return i.Name == name }) ||
			slices.ContainsFunc(c.Announces, func(a config.Announce) bool { return StandbyKey(a.Name) == name })
		switch {
		case !configured:
			removed = append(removed, name)
		case standby.Expired(now):
			expired = append(expired, name)
		}
	}
	d.endStandby(expired, "its time has passed")
	d.endStandby(removed, "removed from the file")
}
