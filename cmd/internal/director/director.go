// Package director is the one loop that decides: it gathers what the checkers
// found, decides the weights (decide.go) and states the wish to the IPVS
// reconciler. It starts and ends the elections as the configuration says, but
// no election ever waits for it. It never writes the kernel itself.
package director

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// Table is the control layer of IPVS, as the director needs it.
type Table interface {
	SetDesired(ipvs.Desired) uint64
	Wait(ctx context.Context, generation uint64) error
	Snapshot() ipvs.Snapshot
	Refresh(ctx context.Context) ipvs.Snapshot
	Forecast(ctx context.Context, w ipvs.Desired) (ipvs.Forecast, error)
	SnapshotAfter(ctx context.Context, t time.Time) (ipvs.Snapshot, error)
}

// Checker is the engine of the probes, as the director needs it.
type Checker interface {
	Set([]checker.Target) error
	Preview([]checker.Target) (checker.Preview, error)
	Health() map[checker.ID]checker.Health
	Explain(checker.ID) (checker.Health, bool)
	Late() time.Duration // for how long its loop has stood still
}

// Deps are the leaves that a director ties together.
type Deps struct {
	Log          *slog.Logger
	Events       *event.Recorder
	Table        Table
	Checker      Checker
	OpenInstance func(vrrp.Config) (Engine, error)
	// RefreshInstances has the elections' counters told anew, or gives up after a
	// moment; nil: their Status is always new.
	RefreshInstances func(context.Context)
	Participants     []reload.Participant
	Host             Host   // nil: no check goes through
	MarkWrites       *Paths // the kernel's writes, for probes that go through; nil: they are not known
	// Reloaded is told of each reload that was done, before its verdict is; nil:
	// nobody.
	Reloaded     func(*config.Config)
	StandbyStore StandbyStore // nil: handovers are forgotten with the daemon
	Peers        Peers        // nil: nothing is known of them
	// SyncSender sends connections to the peer; nil leaves that to the kernel.
	SyncSender SyncSender
	// Before is what a run before this one decided last, see Restore; nil: nothing
	// is known of it.
	Before *decision.Decision
	// RSTGuard keeps connections that are not known yet from being reset; nil: they are.
	RSTGuard RSTGuard
	// Load reads and checks the configuration file for this director, and
	// answers the file's warnings too.
	Load func() (*config.Config, []string, error)
}

// Director ties the leaves together. Make one with New, Prepare the first
// configuration, then Run it.
type Director struct {
	deps    Deps
	wake    chan struct{}
	reloads chan reloadRequest
	calls   chan func()   // what others want done in the loop
	leaves  chan struct{} // an election left mastership
	moves   chan struct{} // an election changed its state
	pings   chan struct{}

	// reloading makes reading the file and applying it one step: of two
	// reloads at once the later text wins.
	reloading sync.Mutex

	config   atomic.Pointer[config.Config]
	decision atomic.Pointer[decision.Decision]
	reload   atomic.Pointer[Reload]

	instances Set
	checks    checks
	throughs  throughs
	// trusted is from when on probes count for being ready; waits is what this
	// director waits for before it preempts a live master.
	trusted time.Time
	waits   atomic.Pointer[string]
	// targeted says that the checker has been given this configuration's
	// targets; it waits for the first reading of the kernel.
	targeted bool
	// wanted is the wish that the table layer has, applied its generation.
	wanted  ipvs.Desired
	applied uint64
}

// gatherDelay is how long a wake-up waits for its neighbours: servers that fail
// together are then one change of the table.
const gatherDelay = 5 * time.Millisecond

// New makes a director. It starts nothing.
func New(parts Deps) *Director {
	d := &Director{deps: parts, wake: make(chan struct{}, 1), reloads: make(chan reloadRequest), calls: make(chan func()), leaves: make(chan struct{}, 1), moves: make(chan struct{}, 1), pings: make(chan struct{})}
	d.instances.open = parts.OpenInstance
	d.instances.log = parts.Log
	d.throughs = throughs{host: parts.Host, log: parts.Log}
	d.loadStandby()
	return d
}

// Wake tells the loop that something may have changed. It carries no data, so
// a lost or a doubled one loses nothing. It never blocks.
func (d *Director) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Prepare takes the first configuration: sockets are opened and everything
// that can be refused is refused now, all of it in one error. Nothing has been
// changed when it fails.
func (d *Director) Prepare(c *config.Config) error {
	change, err := d.prepare(nil, c)
	if err != nil {
		return err
	}
	change.Commit()
	return nil
}

// Try asks everybody who could refuse a configuration and changes nothing.
func (d *Director) Try(c *config.Config) error {
	change, err := d.prepare(nil, c)
	if err == nil {
		change.Abort()
	}
	return err
}

// Close ends a director that was prepared and never Run.
func (d *Director) Close() { d.instances.close() }

// Run decides until the context ends. Then the elections give their addresses
// up, and Run returns when they have.
func (d *Director) Run(ctx context.Context) error {
	d.trusted = time.Now()
	// It outlives the context: what is told is told while the elections leave.
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var teller sync.WaitGroup
	teller.Go(func() { d.tellWhileLeaving(telling) })
	teller.Go(func() { d.keepHush(telling) })
	defer teller.Wait()
	defer stop()
	d.instances.start(ctx)
	defer d.instances.wait()
	d.Wake()
	timer := time.NewTimer(0)
	defer timer.Stop()
	d.sleep(timer)
	for {
		select {
		case <-ctx.Done():
			return nil
		case req := <-d.reloads:
			req.answer <- d.apply(ctx, req.next)
		case call := <-d.calls:
			call()
		case <-d.pings:
			continue
		case <-timer.C: // a moment that the last decision named
		case <-d.wake:
			if !pause(ctx, gatherDelay) {
				return nil
			}
		}
		d.decide()
		d.sleep(timer)
	}
}

// sleep sets the timer to the moment at which time alone changes the decision.
func (d *Director) sleep(timer *time.Timer) {
	timer.Stop()
	wait := time.Duration(-1)
	if p := d.decision.Load(); p != nil && !p.Next.IsZero() {
		wait = max(time.Until(p.Next), minDecisionInterval)
	}
	if end := d.instances.nextStandbyEnd(); !end.IsZero() && (wait < 0 || time.Until(end) < wait) {
		wait = max(time.Until(end), minDecisionInterval)
	}
	if d.waiting() != "" && (wait < 0 || wait > readinessInterval) {
		wait = readinessInterval // a probe that changes no verdict wakes nobody
	}
	if wait >= 0 {
		timer.Reset(wait)
	}
}

// readinessInterval is how often a director that is not ready looks again.
const readinessInterval = 200 * time.Millisecond

// waiting is what this director waits for before it preempts a live master; ""
// when it is ready.
func (d *Director) waiting() string {
	if p := d.waits.Load(); p != nil {
		return *p
	}
	return "waits for the kernel's table"
}

// updateReadiness lets the elections preempt once the checks are in, and, where
// connections are synchronised, they are known.
func (d *Director) updateReadiness(plan *decision.Decision, health map[checker.ID]checker.Health) {
	now := time.Now()
	if d.instances.anyFault() {
		d.trusted = now // what the checks find meanwhile is the fault's doing
	}
	checks := decision.WaitsForChecks(now, d.trusted, plan.Services, health)
	first, each := checks, make(map[string]string, len(plan.Config.Instances))
	for _, e := range plan.Config.Instances {
		waits := checks
		if waits == "" && plan.Config.IPVS.Sync != nil && !d.instances.isMaster(e.Name) {
			waits = decision.WaitsForConnections(now, d.trusted, e, d.ownConnections(), d.peers())
		}
		if each[e.Name] = waits; first == "" {
			first = waits
		}
	}
	d.waits.Store(&first)
	d.instances.setWaits(each)
}

// peers are the other directors, as far as they are known.
func (d *Director) peers() []decision.Peer {
	if d.deps.Peers == nil {
		return nil
	}
	return d.deps.Peers.Peers()
}

// ownConnections is how many connections this kernel knows; negative: not known.
func (d *Director) ownConnections() int {
	if d.deps.Peers == nil {
		return -1
	}
	return d.deps.Peers.OwnConnections()
}

// minDecisionInterval bounds how often the loop decides because of time: ten thousand
// servers that ramp up, each by steps of its own, are one decision each so often.
const minDecisionInterval = 50 * time.Millisecond

// Reload reads the file again and makes it the running configuration, or
// leaves everything as it is and answers why. It waits until the kernel's
// table follows, as long as the context allows.
func (d *Director) Reload(ctx context.Context) Outcome {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	o := d.reloadFile(ctx)
	now := time.Now()
	verdict := Reload{At: now, Err: o.Refused, LastSuccess: now}
	last := d.LastReload()
	if o.Refused != nil {
		verdict.LastSuccess, verdict.LastGood = last.LastSuccess, last.LastGood
		d.deps.Events.Record(event.Event{At: now, Kind: event.KindReload, To: "refused", Reason: o.Refused.Error()})
	} else {
		if d.deps.Reloaded != nil {
			d.deps.Reloaded(d.config.Load())
		}
		d.deps.Events.Record(event.Event{At: now, Kind: event.KindReload, To: "done", Reason: "configuration " + d.config.Load().Hash})
	}
	d.reload.Store(&verdict)
	return o
}

// Outcome is what became of a reload.
type Outcome struct {
	Refused  error    // why nothing was changed; nil when the file runs
	Pending  error    // what of it the kernel has not taken yet; it is tried again
	Warnings []string // of the file
}

func (d *Director) reloadFile(ctx context.Context) Outcome {
	next, warnings, err := d.deps.Load()
	if err != nil {
		return Outcome{Refused: err}
	}
	for _, w := range warnings {
		d.deps.Log.Warn("configuration", "reason", w)
	}
	req := reloadRequest{next: next, answer: make(chan applyAnswer, 1)}
	select {
	case d.reloads <- req:
	case <-ctx.Done():
		return Outcome{Refused: fmt.Errorf("the daemon did not take the reload up: %w", ctx.Err())}
	}
	// Once the loop has it, it answers: what it does never waits for the
	// network or the kernel.
	answer := <-req.answer
	o := Outcome{Refused: answer.err, Warnings: warnings}
	if answer.err != nil || answer.generation == 0 {
		return o // without a generation: the first decision follows the kernel's first reading
	}
	if o.Pending = d.deps.Table.Wait(ctx, answer.generation); o.Pending != nil {
		d.deps.Log.Warn("the new configuration runs, but the kernel's table does not follow yet", "reason", o.Pending)
	}
	return o
}

// resyncsMissed is how many comparisons with the kernel may be overdue before
// the reconciler counts as standing still.
const resyncsMissed = 3

// probesLate is how long the probes' loop may do nothing that is due.
const probesLate = 10 * time.Second

// Alive answers an error when the loop, the reconciler or the probes stand still.
func (d *Director) Alive(ctx context.Context) error {
	select {
	case d.pings <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("the director's loop does not answer: %w", ctx.Err())
	}
	kernel := d.deps.Table.Snapshot()
	limit := resyncsMissed*d.config.Load().IPVS.ResyncInterval + time.Second
	if age := time.Since(kernel.At); kernel.Up && age > limit {
		return fmt.Errorf("the kernel's table was last read %v ago", age.Round(time.Second))
	}
	if late := d.deps.Checker.Late(); late > probesLate {
		return fmt.Errorf("no probe was started or judged for %v", late.Round(time.Second))
	}
	return nil
}

// LastReload is the verdict of the newest reload; the start counts as one.
func (d *Director) LastReload() Reload {
	if r := d.reload.Load(); r != nil {
		return *r
	}
	return Reload{}
}

// Reload is the verdict of a reload.
type Reload struct {
	At          time.Time
	Err         error // nil when it was done
	LastSuccess time.Time
	// LastGood: what runs is not the file but a copy of what ran before.
	LastGood bool
}

// StartedFromLastGood says that the configuration that was prepared is a copy of what
// ran since then, and why the file is not what runs.
func (d *Director) StartedFromLastGood(ran time.Time, refused error) {
	now := time.Now()
	d.reload.Store(&Reload{At: now, Err: refused, LastSuccess: ran, LastGood: true})
	d.deps.Events.Record(event.Event{At: now, Kind: event.KindReload, To: "refused", Reason: "started from the kept copy: " + refused.Error()})
}

type reloadRequest struct {
	next   *config.Config
	answer chan applyAnswer
}

type applyAnswer struct {
	generation uint64 // of the wish that carries the configuration; 0: none yet
	err        error
}

// apply makes next the running configuration, all or nothing.
func (d *Director) apply(ctx context.Context, next *config.Config) applyAnswer {
	change, err := d.prepare(d.config.Load(), next)
	if err != nil {
		return applyAnswer{err: err}
	}
	change.Commit()
	d.instances.start(ctx)
	d.targeted = false
	d.decide()
	return applyAnswer{generation: d.applied}
}

// prepare asks every participant, and commits nothing.
func (d *Director) prepare(old, next *config.Config) (reload.Change, error) {
	change, err := reload.PrepareAll(append([]reload.Participant{d.instances.prepare, d.checks.prepare, d.throughs.prepare}, d.deps.Participants...), old, next)
	if err != nil {
		return reload.Change{}, err
	}
	commit := change.Commit
	change.Commit = func() {
		commit()
		d.config.Store(next)
		if old == nil {
			now := time.Now()
			d.reload.Store(&Reload{At: now, LastSuccess: now})
		}
	}
	return change, nil
}

// Decision is the newest one; nil until the kernel was read.
func (d *Director) Decision() *decision.Decision { return d.decision.Load() }

// decide reads the levels again and states the wish that follows from them.
func (d *Director) decide() {
	c := d.config.Load()
	d.endExpiredStandby(time.Now(), c)
	kernel := d.deps.Table.Snapshot()
	if !kernel.Valid {
		return // the reconciler wakes us when it has read the kernel
	}
	if !d.targeted {
		ready, err := d.target(c, kernel.Table)
		if err != nil {
			d.deps.Log.Error("the checks were refused", "reason", err)
			return
		}
		d.targeted = ready
	}
	old := d.decision.Load()
	if old == nil {
		old = d.deps.Before
	}
	health := d.deps.Checker.Health()
	plan := decision.Decide(decision.Inputs{Now: time.Now(), Config: c, Health: health, Kernel: kernel.Table, Before: old, MarkServices: d.throughs.paths.services()})
	if d.decision.Swap(&plan) == nil {
		d.VIPsMoved("") // from now on it is known what not to reset, before an election may preempt
	}
	d.instances.applyTracking(plan.Services)
	d.updateReadiness(&plan, health)
	if d.applied == 0 || !decision.SameDesired(d.wanted, plan.Desired) {
		d.applied = d.deps.Table.SetDesired(plan.Desired)
		d.wanted = plan.Desired
	}
	d.record(old, &plan)
}

// target gives the checker what is to be probed, where that is something else
// than it has. Not ready: some of it has to wait for the kernel.
func (d *Director) target(c *config.Config, kernel ipvs.Table) (ready bool, err error) {
	d.checks.paths = d.throughs.paths
	if d.checks.unchanged(c) {
		d.checks.given = c
		return true, nil
	}
	d.checks.given = nil
	targets, ready := d.checks.targets(c, kernel)
	if err := d.deps.Checker.Set(targets); err != nil {
		return false, err
	}
	if ready {
		d.checks.given, d.checks.givenPaths, d.checks.renewed = c, d.checks.paths, false
	}
	return ready, nil
}

// pause waits, and tells whether the context lives on.
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
