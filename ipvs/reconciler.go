// The reconciler: the only writer of the kernel's IPVS table. It compares the
// desired state with the kernel, writes the difference, and repairs what other
// processes changed. No error of the kernel ends it.

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultResync = 10 * time.Second
	// minRetry is the wait after the first failure. It doubles up to the resync
	// interval.
	minRetry = time.Second
	// verifyAfter is the wait before a full comparison after a write, so that many
	// desired states in one second cost one dump.
	verifyAfter = time.Second
	// maxCounterAge is the age up to which Refresh returns counters without reading
	// the kernel.
	maxCounterAge = time.Second
)

// Options of a Reconciler. The zero value is usable.
type Options struct {
	Log    *slog.Logger // nil discards
	Ledger Ledger       // nil keeps no ledger
	// Wake is called, with no lock held, after a snapshot was published in which
	// more than counters changed. It must not block.
	Wake func()
	// OnChange is called in the same way for each Change.
	OnChange func(Change)
}

// Reconciler keeps the IPVS of a kernel in the desired state.
type Reconciler struct {
	k   Kernel
	o   Options
	log *slog.Logger

	snap      atomic.Pointer[Snapshot]
	wake      chan struct{} // a desired state or a refresh waits; carries no data
	forecasts chan forecastRequest

	mu         sync.Mutex
	desired    Desired
	generation uint64
	refresh    bool
	running    bool
	published  chan struct{} // closed and replaced at each snapshot

	origins connectionOrigins

	// All below belongs to Run's goroutine, and to Remove after it.
	known     knownTable
	drains    drains
	sync      syncDaemons
	conflicts conflicts
	deferred  bool // a repair waits because of a conflict

	stats     map[ServiceKey]ServiceStats
	info      Info
	up        bool
	reads     uint64
	readAt    time.Time // end of the last reading
	readBegan time.Time // its start
	readTook  time.Duration

	owned       Owned
	ledgerStale bool // the ledger is not yet saved as owned
	ledgerErr   string

	// primed is the last weight above 0 that a destination in Desired.Prime got from us.
	primed map[Entry]int

	failing  map[opID]OpError
	foreign  []Entry
	reported map[Entry]struct{} // foreign entries that were logged
	writes   map[Operation]uint64
	drift    map[string]uint64

	settings    settings
	settingsErr string
	lastErr     string

	applied   uint64
	attempted uint64
	interval  time.Duration // resync interval of the desired state
	retry     time.Duration
	retryAt   time.Time
	verifyAt  time.Time

	changed bool // more than counters, since the last snapshot
	changes []Change
}

// NewReconciler returns a reconciler that does nothing until Run.
func NewReconciler(k Kernel, o Options) *Reconciler {
	r := &Reconciler{
		k: k, o: o, log: o.Log,
		wake:      make(chan struct{}, 1),
		forecasts: make(chan forecastRequest),
		published: make(chan struct{}),
		known:     knownTable{table: Table{}, uncertain: map[ServiceKey]struct{}{}},
		drains:    drains{timeouts: map[ServiceKey]time.Duration{}},
		sync:      syncDaemons{index: map[SyncRole]int{}},
		conflicts: conflicts{},
		primed:    map[Entry]int{},
		failing:   map[opID]OpError{},
		reported:  map[Entry]struct{}{},
		writes:    map[Operation]uint64{},
		drift:     map[string]uint64{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	names := []string{opTimeouts, opSysctl, opStartSync, opStopSync}
	for _, k := range OpKinds {
		names = append(names, k.String())
	}
	for _, name := range names {
		r.writes[Operation{name, "ok"}] = 0
		r.writes[Operation{name, "error"}] = 0
	}
	for _, kind := range DriftKinds {
		r.drift[kind] = 0
	}
	r.snap.Store(r.snapshot())
	return r
}

// SetDesired replaces the desired state and returns its generation at once. The
// table must not be changed afterwards.
func (r *Reconciler) SetDesired(d Desired) uint64 {
	r.mu.Lock()
	r.desired = d
	r.generation++
	g := r.generation
	r.mu.Unlock()
	r.wakeRun()
	return g
}

func (r *Reconciler) wakeRun() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// requestRead makes the next pass read the kernel.
func (r *Reconciler) requestRead() {
	r.mu.Lock()
	r.refresh = true
	r.mu.Unlock()
	r.wakeRun()
}

// Wait returns nil when the kernel has that generation, or a later one, in full. It
// returns an error when it was tried and part of it failed, which is retried
// anyway, and ctx's error when ctx ends first.
func (r *Reconciler) Wait(ctx context.Context, generation uint64) error {
	s, err := r.await(ctx, func(s *Snapshot) bool { return s.Generation >= generation || s.Attempted >= generation })
	switch {
	case err != nil:
		return err
	case s.Generation >= generation:
		return nil
	case !s.Up:
		return fmt.Errorf("failed to reach the kernel: %s", s.LastError)
	}
	var errs []error
	for _, e := range s.Errors {
		errs = append(errs, fmt.Errorf("failed to %s: %w", e.Op, e.Err))
	}
	if len(errs) == 0 { // deferred, or a later desired state is being applied
		errs = append(errs, fmt.Errorf("some changes failed: %s", s.LastError))
	}
	return errors.Join(errs...)
}

// Snapshot returns the latest snapshot. It does not read the kernel.
func (r *Reconciler) Snapshot() Snapshot { return *r.snap.Load() }

// Refresh returns a snapshot whose counters are at most one second old. If the
// latest is older it reads the kernel, which also repairs drift. It returns the
// latest snapshot when ctx ends first, when Run is not running, or when the kernel
// cannot be read.
func (r *Reconciler) Refresh(ctx context.Context) Snapshot {
	r.mu.Lock()
	s := r.Snapshot()
	if !r.running || s.Up && time.Since(s.At) < maxCounterAge {
		r.mu.Unlock()
		return s
	}
	r.refresh = true
	r.mu.Unlock()
	r.wakeRun()
	_, _ = r.await(ctx, func(now *Snapshot) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return now.reads > s.reads || !r.running
	})
	return r.Snapshot()
}

// SnapshotAfter returns a snapshot of a reading that began after t, with drift
// repaired. Concurrent callers share one reading. It returns an error when ctx ends
// first or the kernel cannot be read.
func (r *Reconciler) SnapshotAfter(ctx context.Context, t time.Time) (Snapshot, error) {
	before := r.Snapshot().reads
	later := func(s *Snapshot) bool { return s.Up && s.Began.After(t) }
	if s := r.Snapshot(); later(&s) {
		return s, nil
	}
	r.requestRead()
	// The first reading seen may have begun before t; after two failures the
	// kernel counts as unreadable.
	s, err := r.await(ctx, func(s *Snapshot) bool { return later(s) || !s.Up && s.reads > before+1 })
	switch {
	case err != nil:
		return *s, fmt.Errorf("the kernel's table has not been read: %w", err)
	case !s.Up:
		return *s, fmt.Errorf("the kernel's table cannot be read: %s", s.LastError)
	}
	return *s, nil
}

// await returns the first snapshot for which done returns true.
func (r *Reconciler) await(ctx context.Context, done func(*Snapshot) bool) (*Snapshot, error) {
	for {
		r.mu.Lock()
		next := r.published
		r.mu.Unlock()
		s := r.snap.Load()
		if done(s) {
			return s, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// Run reads the kernel, then keeps it in the desired state until ctx ends. It
// returns nil and leaves the table as it is. It must be called at most once.
func (r *Reconciler) Run(ctx context.Context) error {
	r.loadLedger()
	r.setRunning(true)
	defer r.setRunning(false)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		timer.Reset(time.Until(r.pass()))
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case q := <-r.forecasts:
			f, err := r.forecast(q.desired)
			q.reply <- forecastReply{f, err}
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// setRunning also wakes callers that wait for a reading that will not come.
func (r *Reconciler) setRunning(v bool) {
	r.mu.Lock()
	r.running = v
	r.mu.Unlock()
	if !v {
		r.publish()
	}
}

// pass reads the kernel if that is due, writes what differs from the desired state,
// publishes a snapshot, and returns when the next pass is due.
func (r *Reconciler) pass() time.Time {
	desired, generation, refresh := r.fetchDesired()
	if generation != r.attempted {
		r.retry = 0 // a new desired state does not wait for failures of the last one
	}
	ok, read := true, refresh || r.readDue(time.Now())
	if read {
		ok = r.read(desired)
	}
	if ok && generation > 0 {
		ok = r.apply(desired, read)
	}
	if r.attempted = generation; ok && !r.deferred {
		r.applied = generation
	}
	r.schedule(ok)
	r.publish()
	return r.next()
}

// fetchDesired returns the desired state, its generation, and whether a reading was
// requested.
func (r *Reconciler) fetchDesired() (Desired, uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	refresh := r.refresh
	r.refresh = false
	if r.interval = r.desired.ResyncInterval; r.interval <= 0 {
		r.interval = defaultResync
	}
	return r.desired, r.generation, refresh
}

func (r *Reconciler) readDue(now time.Time) bool {
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	return !r.known.valid || due(r.retryAt) || due(r.verifyAt) || due(r.drains.countAt) || now.Sub(r.readAt) >= r.interval
}

// apply writes settings, table and sync daemons, and reports whether the kernel has
// all of the desired state. Daemons that differ stop before the table is written
// and start after it.
func (r *Reconciler) apply(desired Desired, read bool) bool {
	if read || desired.settings() != r.settings {
		r.applySettings(desired)
	}
	sync := read || r.sync.due(desired.Sync, r.owned)
	if sync {
		r.stopSync(desired)
	}
	ok := r.write(desired, false)
	if !r.known.valid && r.read(desired) { // the kernel was not as known: once more
		ok = r.write(desired, true)
	}
	if sync {
		r.startSync(desired)
	}
	return ok && r.known.valid
}

// schedule sets the time of the next attempt after a failure.
func (r *Reconciler) schedule(ok bool) {
	if ok {
		r.retry, r.retryAt = 0, time.Time{}
		return
	}
	r.retry = min(max(2*r.retry, minRetry), max(r.interval, minRetry))
	r.retryAt = time.Now().Add(r.retry)
}

// next returns when the next pass is due.
func (r *Reconciler) next() time.Time {
	if !r.up {
		return r.retryAt
	}
	at := r.readAt.Add(r.interval)
	for _, t := range []time.Time{r.retryAt, r.verifyAt, r.drains.countAt} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

// read reads the kernel's table, reports drift, and reports whether it could be
// read.
func (r *Reconciler) read(desired Desired) bool {
	start := time.Now()
	reading, err := r.k.Read()
	r.readTook = time.Since(start)
	r.reads++
	r.verifyAt = time.Time{}
	if err != nil {
		if r.up || r.reads == 1 {
			r.log.Error("IPVS table cannot be read", "reason", err)
			r.note(Change{Kind: ChangeKernelLost, Err: err})
		}
		r.up, r.known.valid, r.lastErr = false, false, err.Error()
		return false
	}
	comparable := r.known.valid || r.up
	r.stats, r.readAt, r.readBegan = reading.Stats, time.Now(), start
	if !r.up {
		r.info, _ = r.k.Info()
		if r.reads > 1 {
			r.log.Info("IPVS table is readable again", "version", r.info.Version, "services", len(reading.Table))
			r.note(Change{Kind: ChangeKernelBack})
		}
		r.changed = true
	}
	r.up = true
	if comparable {
		r.reportDrift(reading.Table, desired)
	}
	if !r.known.table.equal(reading.Table) {
		r.changed = true
	}
	r.known.replace(reading.Table)
	r.endConflicts(desired)
	r.drains.count(reading)
	return true
}
