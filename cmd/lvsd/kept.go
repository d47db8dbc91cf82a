package main

// The copy of the configuration that runs: kept in state_dir after each start and
// reload, and started from when the file is refused.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"lvsd/cmd/internal/api"
	"lvsd/cmd/internal/logging"
	"lvsd/cmd/internal/persist"
	"lvsd/config"
)

// open builds the daemon of the file, or of the kept copy where the file is
// refused. Without one, or with strict, the error has all reasons.
func open(o *options, strict bool, stateDir string) (*daemon, error) {
	var text string
	c, warnings, err := o.loadText(&text)
	if err == nil {
		var d *daemon
		if d, err = start(c, o, warnings); err == nil {
			d.text = text
			d.keep(c)
			return d, nil
		}
	}
	if strict {
		return nil, err
	}
	kept, c, found := o.kept(cmp.Or(stateDir, o.stateDir()), text)
	if c == nil {
		return nil, errors.Join(err, found)
	}
	d, again := start(c, o, nil)
	if again != nil {
		return nil, errors.Join(err, fmt.Errorf("nor does the copy of what ran before start, kept in %s", c.Global.StateDir), again)
	}
	for _, line := range api.Lines(err) {
		d.log.Error("STARTED FROM THE KEPT COPY of the configuration: the file was refused", "file", o.file, "ran_since", kept.At, "reason", line)
	}
	d.director.StartedFromKept(kept.At, err)
	return d, nil
}

// kept answers the kept copy's configuration, nil where it is of no use: there is
// none, it ran under another name, or it is the text that was refused. The error
// says what is wrong with one that is there.
func (o *options) kept(dir, refused string) (persist.Running, *config.Config, error) {
	kept, err := persist.ReadRunning(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return kept, nil, nil
	}
	if err != nil {
		return kept, nil, fmt.Errorf("the copy of what ran before cannot be used: %w", err)
	}
	name, err := o.directorName()
	if err != nil || kept.Text == refused {
		return kept, nil, err
	}
	if kept.Director != name {
		return kept, nil, fmt.Errorf("the copy of what ran before, in %s, is of director %s, not %s", dir, kept.Director, name)
	}
	file, err := config.Parse(o.file, []byte(kept.Text))
	if err != nil {
		return kept, nil, fmt.Errorf("the copy of what ran before, in %s, is refused by this lvsd: %w", dir, err)
	}
	c, err := file.For(name)
	return kept, c, err
}

// start builds the daemon of a configuration, with its log.
func start(c *config.Config, o *options, warnings []string) (*daemon, error) {
	log := logging.New(os.Stderr, c.Global.LogFormat)
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

// keeper is what is known of the copy on disk.
type keeper struct {
	writing sync.Mutex // held while the disk is written to

	mu      sync.Mutex
	pending *persist.Running // that is not on disk yet
	problem string           // why it could not be written; empty when it could
}

const (
	// keepLimit is how long a reload waits for its copy to be on disk: a disk that
	// hangs keeps nobody.
	keepLimit = 2 * time.Second
	// keepAgain is how often a copy that the disk did not take is tried again.
	keepAgain = 10 * time.Second
)

// keep writes the copy of what runs now. A disk that is full is told once, shown,
// and tried again.
func (d *daemon) keep(c *config.Config) {
	d.keeper.mu.Lock()
	d.keeper.pending = &persist.Running{Director: c.Director, File: c.File, Hash: c.Hash, At: time.Now(), Text: d.text}
	d.keeper.mu.Unlock()
	d.text = "" // it is soon on disk, and need not be in memory
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.writeCopy()
	}()
	select {
	case <-done:
	case <-time.After(keepLimit):
		d.log.Warn("the disk is slow to keep the running configuration", "file", d.state.Path())
	}
}

// keepTrying writes a copy that the disk did not take before, until the context
// ends.
func (d *daemon) keepTrying(ctx context.Context) error {
	tick := time.NewTicker(keepAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.writeCopy()
		}
	}
}

// writeCopy writes the newest copy, if it is not on disk.
func (d *daemon) writeCopy() {
	k := &d.keeper
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	r := k.pending
	k.mu.Unlock()
	if r == nil {
		return
	}
	err := d.state.KeepRunning(*r)
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.problem
	switch {
	case err != nil:
		k.problem = err.Error() + ": make room in state_dir, or make it writable; a restart with a broken file would find an older copy"
		if was == "" {
			d.log.Error("the running configuration is not kept", "reason", err)
		}
		return
	case was != "":
		k.problem = ""
		d.log.Info("the running configuration is kept again")
	}
	if k.pending == r {
		k.pending = nil
	}
}

// problems of the copy.
func (k *keeper) problems() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem == "" {
		return nil
	}
	return []string{k.problem}
}
