// The reconciler is the one writer of the kernel's IPVS table: it takes wishes,
// compares, writes the difference, and repairs what others changed. It never
// decides what is wanted, and nothing that the kernel does ends it.

package ipvs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultResync = 10 * time.Second
	// firstRetry is the wait after the first failure; it doubles up to the
	// resync interval.
	firstRetry = time.Second
	// verifyAfter is when the kernel is compared in full after a wish was
	// written by difference to what we knew, so that many wishes in a second
	// cost one dump.
	verifyAfter = time.Second
	// freshFor is the age up to which Refresh takes the counters as they are.
	freshFor = time.Second
	// maxDriftLines bounds the log after a flushed table; counters have all.
	maxDriftLines = 100
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
type Reconciler struct {
	k   Kernel
	o   Options
	log *slog.Logger

	snap atomic.Pointer[Snapshot]
	wake chan struct{} // a wish or a refresh waits; carries no data
	// questions are answered between two passes.
	questions chan question

	mu         sync.Mutex
	desired    Desired
	generation uint64
	refresh    bool
	running    bool
	published  chan struct{} // closed and replaced at each snapshot

	origins struct { // the last answer of Origins
		sync.Mutex
		at          time.Time
		own, synced int
	}

	// All below belongs to Run's goroutine, and to Remove after it.
	image     Table                   // the kernel's table as we know it
	shared    bool                    // image is part of a snapshot: copy before writing
	copied    map[ServiceKey]bool     // whose destinations are a copy already; nil: all are ours
	imageOK   bool                    // false: read before anything is written
	unsure    map[ServiceKey]struct{} // their last write has an unknown outcome
	stats     map[ServiceKey]ServiceStats
	info      Info
	up        bool
	reads     uint64
	readAt    time.Time
	readBegan time.Time // of the same reading
	owned     Owned
	ledgerOld bool // the ledger on disk is not owned
	failing   map[opID]OpError
	foreign   []Entry
	seen      map[Entry]struct{} // foreign entries already reported
	counts    map[Operation]uint64
	drift     map[string]uint64
	set       settings
	settleErr string
	lastErr   string
	ledgerErr string
	applied   uint64
	attempted uint64
	retry     time.Duration
	retryAt   time.Time
	verifyAt  time.Time
	interval  time.Duration // of the wish that is worked on
	readTook  time.Duration

	drainTimes map[ServiceKey]time.Duration // of the last wishes, for services that leave
	draining   map[Entry]Draining
	drainAt    time.Time // when to count what they have left

	contests  conflicts
	contested bool // a repair waits because somebody else fights back

	daemons     SyncState
	syncWish    *SyncConfig
	syncSettled bool // it was as that when last looked at
	syncNow     []startSync
	syncErrs    []error
	syncHeld    bool // a half is left as it is because of a fight
	syncErr     string
	syncIndex   map[SyncRole]int // of the interface on which we started it

	changed bool // more than counters, since the last snapshot
	changes []Change
}

// opID is what a failing write is remembered by.
type opID struct {
	kind  OpKind
	entry Entry
}

// NewReconciler starts nothing; Run does.
func NewReconciler(k Kernel, o Options) *Reconciler {
	r := &Reconciler{
		k: k, o: o, log: o.Log,
		wake:      make(chan struct{}, 1),
		questions: make(chan question),
		published: make(chan struct{}),
		image:     Table{},
		unsure:    map[ServiceKey]struct{}{},
		failing:   map[opID]OpError{},
		seen:      map[Entry]struct{}{},
		counts:    map[Operation]uint64{},
		drift:     map[string]uint64{},

		drainTimes: map[ServiceKey]time.Duration{},
		contests:   conflicts{},
		syncIndex:  map[SyncRole]int{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	names := []string{opTimeouts, opSysctl, opStartSync, opStopSync}
	for _, k := range OpKinds {
		names = append(names, k.String())
	}
	for _, name := range names {
		r.counts[Operation{name, "ok"}] = 0
		r.counts[Operation{name, "error"}] = 0
	}
	for _, kind := range DriftKinds {
		r.drift[kind] = 0
	}
	r.snap.Store(r.snapshot())
	return r
}

// SetDesired states the wish and returns at once with its generation. The table must
// not be changed afterwards.
func (r *Reconciler) SetDesired(w Desired) uint64 {
	r.mu.Lock()
	r.desired = w
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

// Wait returns nil when that wish, or a later one, is in the kernel in full,
// and an error when it was tried and something of it failed (it is retried all
// the same) or ctx ended.
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
	if len(errs) == 0 { // held back, or a later wish is under way
		errs = append(errs, fmt.Errorf("not all was written: %s", s.LastError))
	}
	return errors.Join(errs...)
}

// Snapshot returns the latest state; it is cheap.
func (r *Reconciler) Snapshot() Snapshot { return *r.snap.Load() }

// Refresh returns a snapshot whose counters are at most a second old, reading
// the kernel if they are older (which repairs drift on the way). It returns the
// latest one when ctx ends before, when Run does not run, or when the kernel
// does not answer.
func (r *Reconciler) Refresh(ctx context.Context) Snapshot {
	r.mu.Lock()
	s := r.Snapshot()
	if !r.running || s.Up && time.Since(s.At) < freshFor {
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

// await returns the first snapshot that done accepts.
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

// Run reads the kernel, then follows the wishes until ctx ends. It returns nil
// and leaves the table as it is. It runs once.
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
		case q := <-r.questions:
			f, err := r.forecast(q.wish)
			q.answer <- forecastAnswer{f, err}
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// setRunning also wakes those who wait for a reading that will not come.
func (r *Reconciler) setRunning(v bool) {
	r.mu.Lock()
	r.running = v
	r.mu.Unlock()
	if !v {
		r.publish()
	}
}

// pass does what is due now, publishes, and returns when it is due again.
func (r *Reconciler) pass() time.Time {
	r.mu.Lock()
	wish, generation, refresh := r.desired, r.generation, r.refresh
	r.refresh = false
	r.mu.Unlock()

	interval := wish.ResyncInterval
	if interval <= 0 {
		interval = defaultResync
	}
	r.interval = interval
	fresh := generation != r.attempted
	if fresh {
		r.retry = 0 // a new wish is not made to wait for the failures of the old
	}
	now := time.Now()
	due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	ok, read := true, !r.imageOK || refresh || due(r.retryAt) || due(r.verifyAt) || due(r.drainAt) || now.Sub(r.readAt) >= interval
	if read {
		ok = r.read(wish)
	}
	if ok && generation > 0 {
		if read || wish.settings() != r.set {
			r.settle(wish)
		}
		halves := read || r.syncDue(wish)
		if halves {
			r.stopSync(wish)
		}
		ok = r.write(wish, false)
		if !r.imageOK && r.read(wish) { // it is not what we knew: once more, on what it is
			ok = r.write(wish, true)
		}
		if halves {
			r.startSync(wish)
		}
		ok = ok && r.imageOK
	}
	if r.attempted = generation; ok && !r.contested {
		r.applied = generation
	}
	r.schedule(ok, interval)
	r.publish()
	return r.next(interval)
}

// schedule sets when to try again.
func (r *Reconciler) schedule(ok bool, interval time.Duration) {
	if ok {
		r.retry, r.retryAt = 0, time.Time{}
		return
	}
	r.retry = min(max(2*r.retry, firstRetry), max(interval, firstRetry))
	r.retryAt = time.Now().Add(r.retry)
}

func (r *Reconciler) next(interval time.Duration) time.Time {
	if !r.up {
		return r.retryAt
	}
	at := r.readAt.Add(interval)
	for _, t := range []time.Time{r.retryAt, r.verifyAt, r.drainAt} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

// read takes the kernel's table and reports what others changed in it.
func (r *Reconciler) read(wish Desired) bool {
	start := time.Now()
	reading, err := r.k.Read()
	r.readTook = time.Since(start)
	r.reads++
	r.verifyAt = time.Time{}
	if err != nil {
		if r.up || r.reads == 1 {
			r.log.Error("IPVS can't be read", "reason", err)
			r.note(Change{Kind: ChangeKernelLost, Err: err})
		}
		r.up, r.imageOK, r.lastErr = false, false, err.Error()
		return false
	}
	known, comparable := r.image, r.imageOK || r.up
	r.stats, r.readAt, r.readBegan = reading.Stats, time.Now(), start
	if !r.up {
		r.info, _ = r.k.Info()
		if r.reads > 1 {
			r.log.Info("IPVS answers again", "version", r.info.Version, "services", len(reading.Table))
			r.note(Change{Kind: ChangeKernelBack})
		}
		r.changed = true
	}
	r.up, r.imageOK = true, true
	if comparable {
		r.findDrift(known, reading.Table, wish)
	}
	if !sameTable(known, reading.Table) {
		r.changed = true
	}
	clear(r.unsure)
	r.endConflicts(wish)
	countDrains(r.draining, reading)
	r.image, r.copied = reading.Table, nil
	r.shared = false
	return true
}

func sameTable(a, b Table) bool {
	return maps.EqualFunc(a, b, func(s, t Service) bool {
		return s.sameSettings(t) && maps.Equal(s.Destinations, t.Destinations)
	})
}

// findDrift counts and names what others changed in what is ours. What our own
// write may have done, its answer being lost, is no drift.
func (r *Reconciler) findDrift(known, actual Table, wish Desired) {
	lines, more := 0, 0
	for _, d := range findDrift(known, actual, func(k ServiceKey) bool {
		_, ours := r.owned[k]
		_, doubt := r.unsure[k]
		return ours && !doubt
	}) {
		if d.Entry.RealServer.IsValid() && !r.concerns(d, wish) {
			continue
		}
		if lines >= maxDriftLines {
			more++
			r.drift[d.Kind]++
			r.note(Change{Kind: ChangeDrift, Entry: d.Entry, What: d.Kind, From: d.From, To: d.To})
			continue
		}
		if r.foreignChange(subject{entry: d.Entry}, d, "IPVS was changed by someone else", r.attrs(d.Entry, wish)...) {
			lines++
		}
	}
	if more > 0 {
		r.log.Warn("IPVS was changed by someone else in more places", "count", more)
	}
}

// concerns says whether a destination's drift is one to us: of what is ours, or
// a foreign one where those are not ignored.
func (r *Reconciler) concerns(d Drift, wish Desired) bool {
	ours := r.owned.has(d.Entry.Service, d.Entry.RealServer)
	if d.Kind != DriftForeignDestination {
		return ours
	}
	_, wanted := wish.Table[d.Entry.Service].Destinations[d.Entry.RealServer]
	if wanted || wish.Foreign == Ignore {
		return false
	}
	r.seen[d.Entry] = struct{}{} // said here, so not again as a foreign entry
	return true
}

// attrs names an entry in a log line.
func (r *Reconciler) attrs(e Entry, wish Desired) []any {
	name := wish.Names[e.Service]
	if name == "" {
		name = e.Service.String()
	}
	attrs := []any{"service", name}
	if e.RealServer.IsValid() {
		attrs = append(attrs, "real_server", e.RealServer.String())
	}
	return attrs
}

func (r *Reconciler) note(c Change) {
	c.At = time.Now()
	r.changed = true
	r.changes = append(r.changes, c)
}
