package main

// auto_reload: the file is read again by itself when it changed and has been
// quiet for a moment.

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync/atomic"

	"lvsd/cmd/internal/filewatch"
	"lvsd/config"
)

// follows is the file that runs, and whether its changes are followed.
type follows struct {
	file string
	on   atomic.Bool
	hash atomic.Pointer[string] // of the configuration that runs
}

func (f *follows) take(c *config.Config) {
	f.on.Store(c.Global.AutoReload)
	f.hash.Store(&c.Hash)
}

// reloadOnChange reloads when the file is another one than that which runs. A file
// that was refused is not tried again until it changes once more: the log says
// why, once. A file that is gone changes nothing.
func (d *daemon) reloadOnChange(ctx context.Context) error {
	tried := ""
	err := filewatch.File(ctx, d.follows.file, filewatch.Quiet, func() {
		text, err := os.ReadFile(d.follows.file)
		if err != nil || !d.follows.on.Load() {
			return
		}
		hash := fmt.Sprintf("%x", sha256.Sum256(text))[:16] // as config.File has it
		if running := d.follows.hash.Load(); hash == tried || running != nil && hash == *running {
			return
		}
		tried = hash
		d.log.Info("the configuration file changed", "file", d.follows.file, "configuration", hash)
		_ = reloading{d.director, d.manager}.Reload(ctx) // its verdict is logged, recorded and shown
	})
	if err != nil {
		d.log.Error("auto_reload does not work, lvsd reload does", "reason", err)
	}
	return nil
}
