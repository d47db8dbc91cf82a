package connhandover

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"lvsd/cmd/internal/instances"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// Deps are what a Handover needs of the director. The functions may be called from
// any goroutine.
type Deps struct {
	Log       *slog.Logger
	Sender    Sender   // nil: only the kernel synchronises connections
	RSTGuard  RSTGuard // nil: unknown connections are reset
	Config    func() *config.Config
	Table     func() (table ipvs.Table, decided bool) // the desired table
	Instances func() []instances.State
}

// Handover keeps young connections alive while VIPs move. Make one with New, then Run
// it.
type Handover struct {
	deps    Deps
	left    chan struct{} // an instance left the master state
	changed chan struct{} // an instance changed its state
}

// New makes a Handover and starts nothing.
func New(deps Deps) *Handover {
	return &Handover{deps: deps, left: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// Run works until the context ends.
func (h *Handover) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { h.sendWhileLeaving(ctx) })
	tasks.Go(func() { h.guard(ctx) })
	tasks.Wait()
}

// StateChanged wakes the Handover after an instance changed its state from the one
// named. It never blocks.
func (h *Handover) StateChanged(from vrrp.State) {
	wake(h.changed)
	if from == vrrp.Master {
		wake(h.left)
	}
}

// Update wakes the Handover after the desired table changed. It never blocks.
func (h *Handover) Update() { wake(h.changed) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits, and reports whether the context is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
