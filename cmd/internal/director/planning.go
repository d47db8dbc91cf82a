package director

// What a reload, or a start, would do: everybody who takes part is asked, by the
// functions that then do it, and nothing is changed.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// DryRun is what a configuration would change.
type DryRun struct {
	At      time.Time
	Running *config.Config // nil at a start
	Next    *config.Config
	// Refused is why it would not run at all; the rest is then what it would do
	// if that were mended, as far as it can be known.
	Refused   error
	Before    decision.Decision // what is decided now; empty at a start
	Decided   decision.Decision // what would be decided at once
	Table     ipvs.Forecast
	Instances []InstanceChange
	// RestartedChecks counts the checks of a real server that would begin anew.
	RestartedChecks map[checker.ID]int
}

// InstanceChange is what would become of one election.
type InstanceChange struct {
	Name     string
	Old, New *vrrp.Config // nil: there is none
	// Restarts: it ends and begins anew; else what differs is taken over.
	Restarts bool
	// Was is the name of the election that it follows on the same virtual
	// router; "" when there is none.
	Was string
	// Status is that of the running one; zero without one.
	Status vrrp.Status
}

// DryRun says what a reload with this configuration would do now.
func (d *Director) DryRun(ctx context.Context, next *config.Config) (DryRun, error) {
	var f DryRun
	err := d.inLoop(ctx, func() (err error) {
		f, err = d.dryRun(next)
		return err
	})
	if err != nil {
		return DryRun{}, err
	}
	f.Table, err = d.deps.Table.Forecast(ctx, f.Decided.Desired)
	return f, err
}

// dryRun is the loop's part: as apply, but that all abort and nothing is wished.
func (d *Director) dryRun(next *config.Config) (DryRun, error) {
	kernel := d.deps.Table.Snapshot()
	if !kernel.Valid {
		return DryRun{}, errors.New("the kernel's table was not read yet: ask again in a moment")
	}
	running := d.config.Load()
	f := DryRun{At: time.Now(), Running: running, Next: next, Instances: d.instances.dryRun(next)}
	change, err := d.prepare(running, next)
	if err == nil {
		change.Abort()
	}
	f.Refused = err
	targets, paths := dryRunTargets(next, kernel.Table, d.throughs)
	preview, err := d.deps.Checker.Preview(targets)
	if err != nil {
		f.Refused = errors.Join(f.Refused, err)
		preview.Health = map[checker.ID]checker.Health{}
	}
	f.RestartedChecks = preview.Restarted
	before := d.decision.Load()
	if before != nil {
		f.Before = *before
	}
	f.Decided = decision.Decide(decision.Inputs{Now: f.At, Config: next, Health: preview.Health, Kernel: kernel.Table, Before: before, MarkServices: paths.services()})
	return f, nil
}

// dryRunTargets is what would be probed, and by which paths through the kernel.
// Where a certificate cannot be read or a path found, which refuses the
// configuration, the checks are foreseen without.
func dryRunTargets(next *config.Config, kernel ipvs.Table, running throughs) ([]checker.Target, Throughs) {
	read := checks{}
	ways := throughs{log: running.log, paths: running.paths}
	if running.host != nil {
		ways.host = onlyAsked{running.host}
	}
	for _, prepare := range []reload.Participant{read.prepare, ways.prepare} {
		if change, err := prepare(nil, next); err == nil && change.Commit != nil {
			change.Commit()
		}
	}
	read.paths = ways.paths
	targets, _ := read.targets(next, kernel)
	return targets, ways.paths
}

// onlyAsked is a host of which nothing is changed.
type onlyAsked struct{ Host }

func (onlyAsked) AcceptLocal([]string) error { return nil }

// DryRunStart says what a start with this configuration would do on this kernel,
// given what a former run wrote into it and decided last (nil: nothing that still
// counts). Who would refuse it is the caller's to ask.
func DryRunStart(next *config.Config, kernel ipvs.Kernel, owned ipvs.Owned, before *decision.Decision, host Host) (DryRun, error) {
	reading, err := kernel.Read()
	if err != nil {
		return DryRun{}, fmt.Errorf("failed to read the kernel's table: %w", err)
	}
	f := DryRun{At: time.Now(), Next: next}
	targets, paths := dryRunTargets(next, reading.Table, throughs{host: host})
	preview, err := checker.New(checker.Options{}).Preview(targets)
	if err != nil {
		return DryRun{}, err
	}
	f.RestartedChecks = preview.Restarted
	f.Instances = new(Set).dryRun(next)
	f.Decided = decision.Decide(decision.Inputs{Now: f.At, Config: next, Health: preview.Health, Kernel: reading.Table, Before: before, MarkServices: paths.services()})
	f.Table, err = ipvs.ForecastStart(kernel, owned, f.Decided.Desired)
	return f, err
}

// dryRun says what prepare and its commit would do.
func (el *Set) dryRun(next *config.Config) []InstanceChange {
	byName := map[string]*slot{}
	for _, c := range el.running {
		byName[c.config.Name] = c
	}
	var all []InstanceChange
	stays := map[string]bool{}
	for _, e := range next.Instances {
		want := engineConfig(e, next)
		stays[want.Name] = true
		change := InstanceChange{Name: want.Name, New: &want}
		if runs := byName[want.Name]; runs != nil {
			old := runs.config
			change.Old, change.Status = &old, runs.engine.Status()
			change.Restarts = vrrp.NeedsRestart(runs.config, want)
		} else if runs := el.sameRouter(want); runs != nil {
			change.Was = runs.config.Name
		}
		all = append(all, change)
	}
	for _, c := range el.running {
		if !stays[c.config.Name] {
			old := c.config
			all = append(all, InstanceChange{Name: old.Name, Old: &old, Status: c.engine.Status()})
		}
	}
	return all
}
