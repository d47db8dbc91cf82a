package director

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
)

// Reload reads the file again and makes it the running configuration, or changes
// nothing and returns why. It waits until the kernel's table follows, as long as the
// context allows.
func (d *Director) Reload(ctx context.Context) Outcome {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	o := d.reloadFile(ctx)
	now := time.Now()
	result := Reload{At: now, Err: o.Refused, LastSuccess: now}
	last := d.LastReload()
	if o.Refused != nil {
		result.LastSuccess, result.LastGood = last.LastSuccess, last.LastGood
		d.deps.Events.Record(event.Event{At: now, Kind: event.KindReload, To: "refused", Reason: o.Refused.Error()})
	} else {
		if d.deps.Reloaded != nil {
			d.deps.Reloaded(d.config.Load())
		}
		d.deps.Events.Record(event.Event{At: now, Kind: event.KindReload, To: "done", Reason: "configuration " + d.config.Load().Hash})
	}
	d.reload.Store(&result)
	return o
}

// Outcome is the result of a reload.
type Outcome struct {
	Refused  error    // why nothing was changed; nil when the file is in effect
	Pending  error    // what the kernel has not accepted yet; it is retried
	Warnings []string // of the file
}

func (d *Director) reloadFile(ctx context.Context) Outcome {
	next, warnings, err := d.deps.Load()
	if err != nil {
		return Outcome{Refused: err}
	}
	warnings = append(warnings, d.vanishing(ctx, next)...)
	for _, w := range warnings {
		d.deps.Log.Warn("configuration", "reason", w)
	}
	req := reloadRequest{next: next, read: d.read(next), answer: make(chan applyAnswer, 1)}
	select {
	case d.reloads <- req:
	case <-ctx.Done():
		return Outcome{Refused: fmt.Errorf("the daemon did not process the reload: %w", ctx.Err())}
	}
	// The loop always replies: it waits neither for the network nor for the kernel or a disk.
	answer := <-req.answer
	o := Outcome{Refused: answer.err, Warnings: warnings}
	if answer.err != nil || answer.generation == 0 {
		return o // without a generation: the first decision follows the kernel's first reading
	}
	if o.Pending = d.deps.Table.Wait(ctx, answer.generation); o.Pending != nil {
		d.deps.Log.Warn("the new configuration is running, but the kernel's table differs from it", "reason", o.Pending)
	}
	return o
}

// countLimit bounds how long a reload waits for the kernel's counters.
const countLimit = time.Second

// vanishing returns a warning for each service that is no longer in the file although it
// has connections: a file that was cut short may still be valid.
func (d *Director) vanishing(ctx context.Context, next *config.Config) (warnings []string) {
	stays := map[ipvs.ServiceKey]bool{}
	for _, svc := range next.Services {
		stays[decision.ServiceKey(svc)] = true
	}
	gone := slices.DeleteFunc(slices.Clone(d.config.Load().Services), func(svc config.Service) bool { return stays[decision.ServiceKey(svc)] })
	if len(gone) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	stats := d.deps.Table.Refresh(ctx).Stats
	for _, svc := range gone {
		key := decision.ServiceKey(svc)
		connections := uint64(0)
		for _, s := range stats[key].Destinations {
			connections += uint64(s.Active)
		}
		if connections > 0 {
			warnings = append(warnings, fmt.Sprintf("virtual_service %s (%s) with %d active connections is no longer in %s: it is removed from the kernel", svc.Name, key, connections, next.File))
		}
	}
	return warnings
}

// LastReload is the result of the newest reload; the start counts as one.
func (d *Director) LastReload() Reload {
	if r := d.reload.Load(); r != nil {
		return *r
	}
	return Reload{}
}

// Reload is the result of a reload, for status.
type Reload struct {
	At          time.Time
	Err         error // nil when it succeeded
	LastSuccess time.Time
	// LastGood: the running configuration is the last good one, not the file.
	LastGood bool
}

// StartedFromLastGood records that the prepared configuration is the last good one,
// which ran since then, and why the file was refused.
func (d *Director) StartedFromLastGood(ran time.Time, refused error) {
	now := time.Now()
	d.reload.Store(&Reload{At: now, Err: refused, LastSuccess: ran, LastGood: true})
	d.deps.Events.Record(event.Event{At: now, Kind: event.KindReload, To: "refused", Reason: "started from the last good configuration: " + refused.Error()})
}

type reloadRequest struct {
	next   *config.Config
	read   []reload.Participant // with the files of next
	answer chan applyAnswer
}

type applyAnswer struct {
	generation uint64 // of the desired table with the configuration; 0: none yet
	err        error
}

// apply makes next the running configuration, all or nothing.
func (d *Director) apply(ctx context.Context, next *config.Config, read []reload.Participant) applyAnswer {
	change, err := d.prepare(d.config.Load(), next, read)
	if err != nil {
		return applyAnswer{err: err}
	}
	change.Commit()
	d.instances.Start(ctx)
	d.targeted = false
	d.start.reloaded = true
	d.decide()
	return applyAnswer{generation: d.applied}
}

// read reads the files of a configuration, outside the loop.
func (d *Director) read(next *config.Config) []reload.Participant {
	read := []reload.Participant{d.instances.Read(next), d.targets.read(next)}
	for _, r := range d.deps.Readers {
		read = append(read, r(next))
	}
	return read
}

// prepare asks every participant and commits nothing.
func (d *Director) prepare(old, next *config.Config, read []reload.Participant) (reload.Change, error) {
	change, err := reload.PrepareAll(slices.Concat(read, []reload.Participant{d.marks.Prepare, d.prepareRoutes}, d.deps.Participants), old, next)
	if err != nil {
		return reload.Change{}, err
	}
	commit := change.Commit
	change.Commit = func() {
		commit()
		d.config.Store(next)
		if old == nil {
			now := time.Now()
			d.reload.Store(&Reload{At: now, LastSuccess: now})
		}
	}
	return change, nil
}
