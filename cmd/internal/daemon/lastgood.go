// This file has the last good configuration: a copy of what runs, saved in state_dir
// after each start and reload, from which the daemon starts when the file is
// invalid.

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/host"
	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

// open builds the daemon from the file, or from the last good copy where the file is
// rejected. Without one, or with Strict, the error has all reasons.
func open(o Options) (*Daemon, error) {
	var text string
	c, warnings, err := o.Source.LoadText(&text)
	if err == nil {
		var d *Daemon
		if d, err = start(c, o, warnings); err == nil {
			d.text = text
			d.setLastGood(c) // and Run writes it: a start does not wait for the disk
			return d, nil
		}
	}
	if o.Strict {
		return nil, err
	}
	copied, c, loadErr := loadLastGood(o, text)
	if c == nil {
		return nil, errors.Join(err, loadErr)
	}
	d, startErr := start(c, o, nil)
	if startErr != nil {
		return nil, errors.Join(err, fmt.Errorf("the last good configuration in %s does not start either", c.Global.StateDir), startErr)
	}
	for _, line := range api.Lines(err) {
		d.log.Error("running the LAST GOOD CONFIGURATION: the file was rejected", "file", o.Source.Path, "ran_since", copied.At, "reason", line)
	}
	d.director.StartedFromLastGood(copied.At, err)
	return d, nil
}

// loadLastGood returns the last good configuration. It is nil where there is none
// to use: no copy, one of another director, or the very text that was rejected. The
// error says why a copy that exists cannot be used.
func loadLastGood(o Options, rejected string) (persist.LastGood, *config.Config, error) {
	dir := cmp.Or(o.StateDir, o.Source.StateDir())
	copied, err := persist.ReadLastGood(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return copied, nil, nil
	}
	if err != nil {
		return copied, nil, fmt.Errorf("the last good configuration is unusable: %w", err)
	}
	name, err := o.Source.DirectorName()
	if err != nil || copied.Text == rejected {
		return copied, nil, err
	}
	if copied.Director != name {
		return copied, nil, fmt.Errorf("the last good configuration in %s is that of director %s, not %s", dir, copied.Director, name)
	}
	file, err := config.Parse(o.Source.Path, []byte(copied.Text))
	if err != nil {
		return copied, nil, fmt.Errorf("the last good configuration in %s is invalid for this version of lvsd: %w", dir, err)
	}
	c, err := file.For(name)
	return copied, c, err
}

// start builds the daemon of a configuration, with its log.
func start(c *config.Config, o Options, warnings []string) (*Daemon, error) {
	log := logging.New(o.Stderr, c.Global.LogFormat)
	log.Info("lvsd starting", "version", o.Version, "commit", o.Commit, "director", c.Director, "file", c.File, "hash", c.Hash, "kernel", host.Release())
	for _, w := range warnings {
		log.Warn("configuration", "reason", w)
	}
	d, err := build(c, o, log)
	if err != nil {
		log.Close()
		return nil, err
	}
	return d, nil
}

// lastGood is the state of the copy on disk.
type lastGood struct {
	writing sync.Mutex // held while writing to the disk

	mu      sync.Mutex
	pending *persist.LastGood // not on disk yet
	problem string            // why writing failed; empty: it did not
}

const (
	// saveTimeout is how long a reload waits for its copy to be on disk. A hanging
	// disk delays a reload by no more.
	saveTimeout = 2 * time.Second
	// saveRetry is how often a failed write is tried again.
	saveRetry = 10 * time.Second
)

// setLastGood makes the configuration the one to be written.
func (d *Daemon) setLastGood(c *config.Config) {
	d.lastGood.mu.Lock()
	d.lastGood.pending = &persist.LastGood{Director: c.Director, File: c.File, Hash: c.Hash, At: time.Now(), Text: d.text}
	d.lastGood.mu.Unlock()
	d.text = "" // soon on disk, not needed in memory
}

// saveLastGood writes the copy of what runs now. A failure is logged once, shown, and
// tried again.
func (d *Daemon) saveLastGood(c *config.Config) {
	d.setLastGood(c)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.writeLastGood()
	}()
	select {
	case <-done:
	case <-time.After(saveTimeout):
		d.log.Warn("saving the running configuration is slow", "file", d.state.Path())
	}
}

// retrySaves writes the first copy, and what could not be written before, until the
// context ends.
func (d *Daemon) retrySaves(ctx context.Context) error {
	d.writeLastGood()
	tick := time.NewTicker(saveRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.addresses.Retry()
			d.writeLastGood()
		}
	}
}

// writeLastGood writes the newest copy if it is not on disk.
func (d *Daemon) writeLastGood() {
	k := &d.lastGood
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	r := k.pending
	k.mu.Unlock()
	if r == nil {
		return
	}
	err := d.state.SaveLastGood(*r)
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.problem
	switch {
	case err != nil:
		k.problem = err.Error() + ": make room in state_dir, or make it writable; a restart with an invalid file would use an older configuration"
		if was == "" {
			d.log.Error("running configuration not saved", "reason", err)
		}
		return
	case was != "":
		k.problem = ""
		d.log.Info("the running configuration is saved again")
	}
	if k.pending == r {
		k.pending = nil
	}
}

// problems are those of the copy.
func (k *lastGood) problems() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem == "" {
		return nil
	}
	return []string{k.problem}
}
