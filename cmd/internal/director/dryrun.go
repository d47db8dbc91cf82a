package director

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/instances"
	"lvsd/cmd/internal/markprobe"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
)

// DryRun is what a configuration would change: computed by the functions that a reload
// uses, with abort.
type DryRun struct {
	At      time.Time
	Running *config.Config // nil at a start
	Next    *config.Config
	// Refused is why it would be rejected; the rest is then what it would do without
	// these errors, as far as it can be known.
	Refused   error
	Before    decision.Decision // what is decided now; empty at a start
	Decided   decision.Decision // what would be decided at once
	Table     ipvs.Forecast
	Instances []instances.Change
	Announced []decision.Announcement // what is decided now; nil at a start
	// RestartedChecks counts the checks of a real server that would be restarted.
	RestartedChecks map[checker.ID]int
}

// DryRun returns what a reload with this configuration would do now.
func (d *Director) DryRun(ctx context.Context, next *config.Config) (DryRun, error) {
	var f DryRun
	read := d.read(next)
	t := withFiles(next)
	err := d.inLoop(ctx, func() (err error) {
		f, err = d.dryRun(next, read, &t)
		return err
	})
	if err != nil {
		return DryRun{}, err
	}
	f.Table, err = d.deps.Table.Forecast(ctx, f.Decided.Desired)
	return f, err
}

// dryRun is the loop's part: like apply, but everything aborts and the reconciler is
// given nothing.
func (d *Director) dryRun(next *config.Config, read []reload.Participant, t *targets) (DryRun, error) {
	kernel := d.deps.Table.Snapshot()
	if !kernel.Valid {
		return DryRun{}, errors.New("the kernel's IPVS table has not been read yet: try again in a moment")
	}
	running := d.config.Load()
	f := DryRun{At: time.Now(), Running: running, Next: next, Instances: d.instances.DryRun(next), Announced: d.Announcements()}
	change, err := d.prepare(running, next, read)
	if err == nil {
		change.Abort()
	}
	f.Refused = err
	targets, paths := t.dryRun(next, kernel.Table, d.marks)
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
	f.Decided = decision.Decide(decision.Inputs{Now: f.At, Config: next, Health: preview.Health, Kernel: kernel.Table, Before: before, MarkServices: paths.Services()})
	return f, nil
}

// withFiles returns targets with the files of a configuration; without any where one
// cannot be read, which refuses the configuration.
func withFiles(next *config.Config) (t targets) {
	if change, err := t.read(next)(nil, next); err == nil {
		change.Commit()
	}
	return t
}

// dryRun returns what would be probed, and the paths of marks. Where no path is found,
// which refuses the configuration, it is left out.
func (t *targets) dryRun(next *config.Config, kernel ipvs.Table, marks *markprobe.Set) ([]checker.Target, markprobe.Paths) {
	t.paths = marks.DryRun(next)
	all, _ := t.list(next, kernel)
	return all, t.paths
}

// DryRunStart returns what a start with this configuration would do on this kernel,
// given what an earlier run wrote into it and decided last (nil: nothing that still
// counts). It does not ask the participants.
func DryRunStart(next *config.Config, kernel ipvs.Kernel, owned ipvs.Owned, before *decision.Decision, host markprobe.Host) (DryRun, error) {
	reading, err := kernel.Read()
	if err != nil {
		return DryRun{}, fmt.Errorf("failed to read the IPVS table: %w", err)
	}
	f := DryRun{At: time.Now(), Next: next}
	t := withFiles(next)
	targets, paths := t.dryRun(next, reading.Table, markprobe.New(host, slog.New(slog.DiscardHandler)))
	preview, err := checker.New(checker.Options{}).Preview(targets)
	if err != nil {
		return DryRun{}, err
	}
	f.RestartedChecks = preview.Restarted
	f.Instances = new(instances.Set).DryRun(next)
	f.Decided = decision.Decide(decision.Inputs{Now: f.At, Config: next, Health: preview.Health, Kernel: reading.Table, Before: before, MarkServices: paths.Services()})
	f.Table, err = ipvs.ForecastStart(kernel, owned, f.Decided.Desired)
	return f, err
}
