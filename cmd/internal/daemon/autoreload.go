// This file reloads the configuration file by itself when it has changed and has
// not been written to for a moment.

package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"

	"lvsd/cmd/internal/configfile"
	"lvsd/cmd/internal/filewatch"
	"lvsd/config"
)

// autoReload is the state of auto_reload.
type autoReload struct {
	file    string
	enabled atomic.Bool
	running atomic.Pointer[string] // hash of the running configuration
}

func (a *autoReload) set(c *config.Config) {
	a.enabled.Store(c.Global.AutoReload)
	a.running.Store(&c.Hash)
}

// reloadOnChange reloads when the file differs from the running configuration. A
// file that was rejected is not tried again until it changes once more: the reason
// is logged once. A missing file changes nothing.
func (d *Daemon) reloadOnChange(ctx context.Context) error {
	tried := ""
	source := configfile.Source{Path: d.autoReload.file}
	err := filewatch.Files(ctx, source.Watched, filewatch.Debounce, func() {
		if !d.autoReload.enabled.Load() {
			return
		}
		text, err := source.Text()
		hash := fmt.Sprintf("%x", sha256.Sum256(text))[:16] // as in config.File
		switch {
		case errors.As(err, new(config.Errors)): // of an included file: the reload says so
			hash = err.Error()
		case err != nil:
			return
		}
		if running := d.autoReload.running.Load(); hash == tried || running != nil && hash == *running {
			return
		}
		tried = hash
		if err == nil {
			d.log.Info("the configuration file changed", "file", d.autoReload.file, "configuration", hash)
		}
		d.reload(ctx)
	})
	if err != nil {
		d.log.Error("auto_reload failed; use lvsd reload", "reason", err)
	}
	return nil
}
