// This file drives one election: sockets, timers and addresses around the pure
// machine. It never decides anything about the election itself.

package vrrp

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Options are what an election tells the daemon. Each may be nil. All but the
// logger are called from the election's own goroutine and must not block:
// whatever time they take, an advert is late by.
type Options struct {
	Log        *slog.Logger
	Wake       func()                  // the status changed; carries nothing, read Status again
	OnEvent    func(Event)             // a change of state
	ObserveLag func(lag time.Duration) // how late a timer was served
}

// Engine is one election on one interface.
type Engine struct{ cfg Config }

// Open looks at the interface and opens the sockets. It changes nothing, and
// after an error nothing is left open; the error names the remedy.
func Open(cfg Config, o Options) (*Engine, error) {
	return nil, errors.New("not there yet")
}

// Run takes part in the election until ctx ends; then a master sends priority 0
// and removes its addresses. It returns nil, and no goroutine outlives it.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close ends an Engine that was never Run.
func (e *Engine) Close() error { return nil }

// Update replaces the configuration, except for what [NeedsRestart] names. It
// never waits for the network.
func (e *Engine) Update(cfg Config) {}

// Status is a picture of the election; it may be called at any time.
func (e *Engine) Status() Status { return Status{} }
