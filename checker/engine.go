// Package checker probes real servers and says which are up.
//
// The engine keeps the schedule: when which probe is due, one probe for all
// targets that ask the same of the same address, and the verdicts that follow
// from the results. It never decides a weight and never writes the kernel.

package checker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Options are the engine's ties to its surroundings; every field may be zero.
// The functions are called from the engine's own goroutine with no lock held
// and must not block: while one runs, no probe starts.
type Options struct {
	Log        *slog.Logger
	Wake       func()              // a verdict changed: look at Health again
	ObserveLag func(time.Duration) // how much later than due a probe started
	OnChange   func(Change)        // each change of a verdict, in order
}

// Engine probes the targets it was given. Its methods are safe for concurrent
// use.
type Engine struct {
	o  Options
	mu sync.Mutex
}

// New returns an engine without targets. It starts nothing.
func New(o Options) *Engine { return &Engine{o: o} }

// Run probes until ctx ends, then returns nil; no goroutine outlives it. It
// may be called once.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Set replaces the whole set of targets. A check that is unchanged keeps its
// timing, verdict and history, also when only Rise or Fall changed; a target
// whose check changed keeps its verdict until its own results change it. On an
// error nothing has changed. It may be called before Run and at any time.
func (e *Engine) Set(targets []Target) error { return nil }

// Health returns the state of every target, without histories. The map and
// what it holds are shared and must not be changed by the caller.
func (e *Engine) Health() map[ID]Health { return nil }

// Explain returns one target's state with the histories of its checks.
func (e *Engine) Explain(id ID) (Health, bool) { return Health{}, false }
