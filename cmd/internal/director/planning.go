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

// Foreseen is what a configuration would change.
type Foreseen struct {
	At      time.Time
	Running *config.Config // nil at a start
	Next    *config.Config
	// Refused is why it would not run at all; the rest is then what it would do
	// if that were mended, as far as it can be known.
	Refused   error
	Before    decision.Decision // what is decided now; empty at a start
	Decided   decision.Decision // what would be decided at once
	Table     ipvs.Forecast
	Elections []ElectionChange
	// ChecksAnew counts the checks of a real server that would begin anew.
	ChecksAnew map[checker.ID]int
}

// ElectionChange is what would become of one election.
type ElectionChange struct {
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

// Foresee says what a reload with this configuration would do now.
func (d *Director) Foresee(ctx context.Context, next *config.Config) (Foreseen, error) {
	var f Foreseen
	err := d.inLoop(ctx, func() (err error) {
		f, err = d.foresee(next)
		return err
	})
	if err != nil {
		return Foreseen{}, err
	}
	f.Table, err = d.parts.Table.Forecast(ctx, f.Decided.Desired)
	return f, err
}

// foresee is the loop's part: as apply, but that all abort and nothing is wished.
func (d *Director) foresee(next *config.Config) (Foreseen, error) {
	kernel := d.parts.Table.Snapshot()
	if !kernel.Valid {
		return Foreseen{}, errors.New("the kernel's table was not read yet: ask again in a moment")
	}
	running := d.config.Load()
	f := Foreseen{At: time.Now(), Running: running, Next: next, Elections: d.elections.foresee(next)}
	change, err := d.prepare(running, next)
	if err == nil {
		change.Abort()
	}
	f.Refused = err
	targets, paths := foreseeTargets(next, kernel.Table, d.throughs)
	preview, err := d.parts.Checker.Preview(targets)
	if err != nil {
		f.Refused = errors.Join(f.Refused, err)
		preview.Health = map[checker.ID]checker.Health{}
	}
	f.ChecksAnew = preview.Restarted
	before := d.plan.Load()
	if before != nil {
		f.Before = *before
	}
	f.Decided = decision.Decide(decision.Inputs{Now: f.At, Config: next, Health: preview.Health, Kernel: kernel.Table, Before: before, MarkServices: paths.services()})
	return f, nil
}

// foreseeTargets is what would be probed, and by which paths through the kernel.
// Where a certificate cannot be read or a path found, which refuses the
// configuration, the checks are foreseen without.
func foreseeTargets(next *config.Config, kernel ipvs.Table, running throughs) ([]checker.Target, Throughs) {
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

// ForeseeStart says what a start with this configuration would do on this kernel,
// given what a former run wrote into it and decided last (nil: nothing that still
// counts). Who would refuse it is the caller's to ask.
func ForeseeStart(next *config.Config, kernel ipvs.Kernel, owned ipvs.Owned, before *decision.Decision, host Host) (Foreseen, error) {
	reading, err := kernel.Read()
	if err != nil {
		return Foreseen{}, fmt.Errorf("failed to read the kernel's table: %w", err)
	}
	f := Foreseen{At: time.Now(), Next: next}
	targets, paths := foreseeTargets(next, reading.Table, throughs{host: host})
	preview, err := checker.New(checker.Options{}).Preview(targets)
	if err != nil {
		return Foreseen{}, err
	}
	f.ChecksAnew = preview.Restarted
	f.Elections = new(electorate).foresee(next)
	f.Decided = decision.Decide(decision.Inputs{Now: f.At, Config: next, Health: preview.Health, Kernel: reading.Table, Before: before, MarkServices: paths.services()})
	f.Table, err = ipvs.ForecastStart(kernel, owned, f.Decided.Desired)
	return f, err
}

// foresee says what prepare and its commit would do.
func (el *electorate) foresee(next *config.Config) []ElectionChange {
	byName := map[string]*candidate{}
	for _, c := range el.running {
		byName[c.config.Name] = c
	}
	var all []ElectionChange
	stays := map[string]bool{}
	for _, e := range next.Instances {
		want := electionOf(e, next)
		stays[want.Name] = true
		change := ElectionChange{Name: want.Name, New: &want}
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
			all = append(all, ElectionChange{Name: old.Name, Old: &old, Status: c.engine.Status()})
		}
	}
	return all
}
