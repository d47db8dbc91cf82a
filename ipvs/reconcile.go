// The reconciler is the one writer of the kernel's IPVS table: it takes wishes,
// compares, writes the difference, and repairs what others changed. It never
// decides what is wanted, and nothing that the kernel does ends it.

package ipvs

import (
	"context"
	"log/slog"
)

// Options of a Reconciler; each may be left out.
type Options struct {
	Log    *slog.Logger
	Ledger Ledger
	// Wake is called, with no lock held, after a snapshot was published in
	// which more than counters changed. It must not block.
	Wake func()
	// OnChange is called in the same way for each Change.
	OnChange func(Change)
}

// Reconciler keeps a kernel's table at the wanted one.
type Reconciler struct{}

// NewReconciler starts nothing; Run does.
func NewReconciler(k Kernel, o Options) *Reconciler { return &Reconciler{} }

// Run reads the kernel, then follows the wishes until ctx ends. It returns nil.
func (r *Reconciler) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Want states the wish and returns at once with its generation. The table must
// not be changed afterwards.
func (r *Reconciler) Want(w Wanted) uint64 { return 0 }

// Wait returns nil when that wish, or a later one, is in the kernel in full,
// and an error when it was tried and something of it failed (it is retried all
// the same) or ctx ended.
func (r *Reconciler) Wait(ctx context.Context, generation uint64) error { return nil }

// Snapshot returns the latest state; it is cheap.
func (r *Reconciler) Snapshot() Snapshot { return Snapshot{} }

// Refresh returns a snapshot whose counters are at most a second old, or the
// latest one when ctx ends before.
func (r *Reconciler) Refresh(ctx context.Context) Snapshot { return Snapshot{} }

// Remove deletes every service that is ours. It is for after Run returned.
func (r *Reconciler) Remove(ctx context.Context) error { return nil }
