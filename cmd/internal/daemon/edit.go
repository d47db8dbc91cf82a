// This file edits the configuration file for another director, as lvsd drain, undrain and
// weight do for an operator.

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/peers"
	"lvsd/config"
	"lvsd/config/edit"
)

// edit edits the file and reloads. Where that is refused the file is as it was.
func (d *Daemon) edit(ctx context.Context, service, realServer string, change peers.Edit) peers.Edited {
	err := d.tryEdit(ctx, edit.Server{Service: service, Address: realServer}, change)
	out := peers.Edited{Hash: d.runningHash()}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func (d *Daemon) tryEdit(ctx context.Context, server edit.Server, change peers.Edit) error {
	source := configfile.Source{Path: d.options.Source.Path}
	unlock, err := source.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	text, err := source.Text()
	if err != nil {
		return err
	}
	before, err := config.Parse(source.Path, text)
	switch running := d.runningHash(); {
	case err != nil:
		return err
	case before.Hash != change.Before:
		return fmt.Errorf("its file is a different configuration, %s", before.Hash)
	case running != before.Hash:
		return fmt.Errorf("its file differs from the running configuration (%s, running %s)", before.Hash, running)
	}
	after, err := change.Apply(source.Path, string(text), server)
	if err != nil {
		return err
	}
	changes, err := source.Changes(string(text), after)
	if err != nil || len(changes) == 0 {
		return err
	}
	switch err := configfile.WriteAll(changes); {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: its daemon needs the permission to (docs/guides/drain.md)", err)
	case err != nil:
		return err
	}
	if o := (notifiedDirector{d.director, d.systemd}).Reload(ctx); o.Refused != nil {
		return errors.Join(fmt.Errorf("the reload was rejected: %w", o.Refused), configfile.UndoAll(changes))
	}
	return nil
}

// runningHash is the hash of the running configuration, "" before there is one.
func (d *Daemon) runningHash() string {
	if c := d.director.Snapshot().Config; c != nil {
		return c.Hash
	}
	return ""
}
