// This file has the participants in a start or a reload that check or apply what
// belongs to the daemon itself.

package daemon

import (
	"errors"
	"fmt"
	"log/slog"

	"lvsd/checker/probe"
	"lvsd/cmd/internal/announce"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/host"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
)

// restartOnly rejects what only a restart can change.
func restartOnly(old, next *config.Config) (reload.Change, error) {
	if old == nil {
		return reload.Change{}, nil
	}
	for _, key := range []struct{ name, old, next string }{
		{"state_dir", old.Global.StateDir, next.Global.StateDir},
		{"control_socket", old.Global.ControlSocket, next.Global.ControlSocket},
		{"control_group", old.Global.ControlGroup, next.Global.ControlGroup},
		{"log_format", old.Global.LogFormat, next.Global.LogFormat},
	} {
		if key.old != key.next {
			return reload.Change{}, fmt.Errorf("%s: global.%s: cannot be changed without a restart (running: %q, file: %q)", next.File, key.name, key.old, key.next)
		}
	}
	return reload.Change{}, nil
}

// modules rejects schedulers and persistence engines that this kernel does not have. The
// lists of its modules are on a disk.
func modules(next *config.Config) reload.Participant {
	missing, err := disk.Within("/lib/modules", func() (error, error) { return errors.Join(host.MissingModules(next)...), nil })
	if err != nil {
		missing = nil // unknown: the kernel itself will refuse what it lacks
	}
	return func(_, _ *config.Config) (reload.Change, error) { return reload.Change{}, missing }
}

// synchronisation rejects [ipvs.sync] where it could not work on this host. It
// checks changes only, so that it never keeps a reload from changing a weight.
func (d *Daemon) synchronisation(old, next *config.Config) (reload.Change, error) {
	want := decision.DesiredSync(next.IPVS.Sync)
	if want == nil {
		return reload.Change{}, nil
	}
	if old != nil {
		if was := decision.DesiredSync(old.IPVS.Sync); was != nil && *was == *want {
			return reload.Change{}, nil
		}
	}
	if err := ipvs.CheckSync(d.kernel, *want); err != nil {
		return reload.Change{}, fmt.Errorf("[ipvs.sync]: %w", err)
	}
	return reload.Change{}, nil
}

// settings applies the settings of the daemon itself: the log level, on_stop, auto_reload
// and how many programs run at once.
func (d *Daemon) settings(_, next *config.Config) (reload.Change, error) {
	if err := new(slog.LevelVar).UnmarshalText([]byte(next.Global.LogLevel)); err != nil {
		return reload.Change{}, err
	}
	return reload.Change{Commit: func() {
		_ = d.log.SetLevel(next.Global.LogLevel) // validated above
		d.vrrp.SetLevel(next.Global.LogLevel)
		d.onStop = next.IPVS.OnStop
		probe.SetExecParallel(next.Checker.ExecParallel)
		d.autoReload.set(next)
	}}, nil
}

// tryRoutes returns what would be refused of the announcements.
func tryRoutes(log *slog.Logger) reload.Participant {
	return func(old, next *config.Config) (reload.Change, error) {
		m := announce.New(log, announce.OpenKernel, func() {})
		defer m.Close()
		return m.Prepare(old, next)
	}
}
