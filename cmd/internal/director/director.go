package director

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"lvsd/checker"
	"lvsd/cmd/internal/connhandover"
	"lvsd/cmd/internal/decision"
	"lvsd/cmd/internal/disk"
	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/instances"
	"lvsd/cmd/internal/markprobe"
	"lvsd/cmd/internal/persist"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
	"lvsd/ipvs"
	"lvsd/vrrp"
)

// Table is the IPVS reconciler, as the director needs it.
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
	Unknown() int // targets without a result
	Explain(checker.ID) (checker.Health, bool)
	Delegate(to map[checker.ID]string, every int)
	Overdue() time.Duration // for how long its loop has stood still
}

// Deps are the leaves that a director ties together.
type Deps struct {
	Log          *slog.Logger
	Events       *event.Recorder
	Table        Table
	Checker      Checker
	OpenInstance func(vrrp.Config) (instances.Engine, error)
	// RefreshInstances refreshes the status of the instances, or gives up after a
	// moment; nil: their Status is always current.
	RefreshInstances func(context.Context)
	Participants     []reload.Participant
	Readers          []reload.Reader   // participants that read files
	Host             markprobe.Host    // nil: no check uses a mark
	MarkWrites       *markprobe.Writes // nil: writes of marks are not observed
	// Reloaded is called after each successful reload, before its result is shown;
	// may be nil.
	Reloaded     func(*config.Config)
	StandbyStore StandbyStore // nil: standby ends with the daemon
	Peers        Peers        // nil: no exchange with other directors
	Routes       Routes       // nil: nothing is announced
	// PublishState makes the peers learn of this director's state at once, and asks for
	// theirs; it does not block. May be nil.
	PublishState func()
	SyncSender   connhandover.Sender
	RSTGuard     connhandover.RSTGuard
	// Before is the last decision of an earlier run, see decision.Restore; may be nil.
	Before *decision.Decision
	// Load reads and checks the configuration file for this director, and returns
	// the file's warnings too.
	Load func() (*config.Config, []string, error)
}

// Director is the loop that decides. Make one with New, Prepare the first
// configuration, then Run it.
type Director struct {
	deps    Deps
	wake    chan struct{}
	reloads chan reloadRequest
	calls   chan func() // run in the loop
	pings   chan struct{}

	// reloading makes reading the file and applying it one step: of two reloads at
	// once the later text wins.
	reloading sync.Mutex

	config   atomic.Pointer[config.Config]
	decision atomic.Pointer[decision.Decision]
	reload   atomic.Pointer[Reload]

	instances *instances.Set
	handover  *connhandover.Handover
	marks     *markprobe.Set
	targets   targets
	standby   disk.Writer[map[string]persist.Standby]
	announces announcements
	delegated map[checker.ID]string // see share
	// trusted is when probes began to count for readiness; waits is what this
	// director waits for before it preempts a live master.
	trusted time.Time
	waits   atomic.Pointer[string]
	faults  map[string]bool // the instances that were in fault at the last decision
	// targeted: the checker has been given this configuration's targets. It waits for
	// the first reading of the kernel.
	targeted bool
	start    start
	// desired is what the reconciler was given last, applied its generation.
	desired ipvs.Desired
	applied uint64
}

// gatherDelay is how long a wake-up waits for others: servers that fail together are
// then one change of the table.
const gatherDelay = 5 * time.Millisecond

// New makes a director. It starts nothing.
func New(deps Deps) *Director {
	d := &Director{deps: deps, wake: make(chan struct{}, 1), reloads: make(chan reloadRequest), calls: make(chan func()), pings: make(chan struct{}),
		instances: instances.New(deps.OpenInstance, deps.Log), marks: markprobe.New(deps.Host, deps.Log)}
	d.handover = connhandover.New(connhandover.Deps{Log: deps.Log, Sender: deps.SyncSender, RSTGuard: deps.RSTGuard,
		Config: d.config.Load, Table: d.desiredTable, Instances: d.instances.States})
	d.targets.reports = deps.Before.AgentReports()
	d.loadStandby()
	return d
}

// desiredTable is that of the newest decision.
func (d *Director) desiredTable() (table ipvs.Table, decided bool) {
	if p := d.decision.Load(); p != nil {
		return p.Desired.Table, true
	}
	return nil, false
}

// StateChanged reports that an instance changed its state from the one named. It never
// blocks.
func (d *Director) StateChanged(from vrrp.State) { d.handover.StateChanged(from) }

// Wake makes the loop decide again. It carries no data, so that a lost or a doubled
// one loses nothing. It never blocks.
func (d *Director) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Prepare takes the first configuration: sockets are opened, and everything that can be
// refused is refused now, in one error. Nothing has been changed when it fails.
func (d *Director) Prepare(c *config.Config) error {
	change, err := d.prepare(nil, c, d.read(c))
	if err != nil {
		return err
	}
	change.Commit()
	return nil
}

// Try prepares a configuration and aborts: it returns why it would be refused.
func (d *Director) Try(c *config.Config) error {
	change, err := d.prepare(nil, c, d.read(c))
	if err == nil {
		change.Abort()
	}
	return err
}

// Close ends a director that was prepared and never Run.
func (d *Director) Close() { d.instances.Close() }

// Run decides until the context ends. Then the instances give their addresses up, and
// Run returns when they have.
func (d *Director) Run(ctx context.Context) error {
	d.trusted = time.Now()
	// It outlives the context: connections are sent while the instances give up.
	leaving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var handover sync.WaitGroup
	handover.Go(func() { d.handover.Run(leaving) })
	defer handover.Wait()
	defer stop()
	d.instances.Start(ctx)
	defer d.instances.Wait()
	defer d.withdrawAll()
	d.Wake()
	timer := time.NewTimer(0)
	defer timer.Stop()
	d.sleep(timer)
	for {
		select {
		case <-ctx.Done():
			return nil
		case req := <-d.reloads:
			req.answer <- d.apply(ctx, req.next, req.read)
		case call := <-d.calls:
			call()
		case <-d.pings:
			continue
		case <-timer.C: // a moment of the last decision: its Next
		case <-d.wake:
			if !d.gather(ctx) {
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
	if next := d.announces.next; !next.IsZero() && (wait < 0 || time.Until(next) < wait) {
		wait = max(time.Until(next), minDecisionInterval)
	}
	if end := d.instances.NextStandbyEnd(); !end.IsZero() && (wait < 0 || time.Until(end) < wait) {
		wait = max(time.Until(end), minDecisionInterval)
	}
	if limit := time.Until(d.start.began.Add(startLimit)); !d.start.began.IsZero() && (wait < 0 || wait > limit) {
		wait = max(limit, minDecisionInterval)
	}
	if next := max(readinessInterval, d.start.gather()); d.waiting() != "" && (wait < 0 || wait > next) {
		wait = next // a probe that changes no health sends no wake-up
	}
	if x := d.config.Load().Exchange; x != nil && x.ProbeShare && (wait < 0 || wait > shareInterval) {
		wait = shareInterval
	}
	if wait >= 0 {
		timer.Reset(wait)
	}
}

// minDecisionInterval bounds how often the loop decides because of time: ten thousand
// servers in slow start, each with steps of its own, share decisions.
const minDecisionInterval = 50 * time.Millisecond

// resyncsMissed is how many comparisons with the kernel may be overdue before the
// reconciler counts as stuck.
const resyncsMissed = 3

// probesLate is how long a due probe may be overdue before the checker counts as stuck.
const probesLate = 10 * time.Second

// Alive returns an error when the loop, the reconciler or the checker is stuck.
func (d *Director) Alive(ctx context.Context) error {
	select {
	case d.pings <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("the director's loop does not respond: %w", ctx.Err())
	}
	kernel := d.deps.Table.Snapshot()
	limit := resyncsMissed*d.config.Load().IPVS.ResyncInterval + time.Second
	if age := time.Since(kernel.At); kernel.Up && age > limit {
		return fmt.Errorf("the kernel's table was last read %v ago", age.Round(time.Second))
	}
	if late := d.deps.Checker.Overdue(); late > probesLate {
		return fmt.Errorf("no probe was started or evaluated for %v", late.Round(time.Second))
	}
	return nil
}

// Decision is the newest one; nil until the kernel was read.
func (d *Director) Decision() *decision.Decision { return d.decision.Load() }

// decide reads the levels again and hands the desired table that follows from them to
// the reconciler.
func (d *Director) decide() {
	c := d.config.Load()
	d.endExpiredStandby(time.Now(), c)
	kernel := d.deps.Table.Snapshot()
	if !kernel.Valid {
		return // the reconciler sends a wake-up when it has read the kernel
	}
	if !d.targeted {
		ready, err := d.setTargets(c, kernel.Table)
		if err != nil {
			d.deps.Log.Error("the checks were rejected", "reason", err)
			return
		}
		d.targeted = ready
	}
	before := d.decision.Load()
	if before == nil {
		before = d.deps.Before
	}
	health := d.deps.Checker.Health()
	now := time.Now()
	starting := d.start.waits(now, d.targeted, health)
	next := decision.Decide(decision.Inputs{Now: now, Config: c, Health: health, Kernel: kernel.Table, Before: before, Starting: starting, MarkServices: d.marks.Paths().Services()})
	if d.decision.Swap(&next) == nil {
		d.handover.Update() // the RST guard is set before an instance may preempt
	}
	d.instances.ApplyTracking(next.Services)
	d.updateReadiness(&next, health)
	d.share(c, health)
	if d.applied == 0 || !decision.SameDesired(d.desired, next.Desired) {
		d.applied = d.deps.Table.SetDesired(next.Desired)
		d.desired = next.Desired
	}
	d.announce(&next, health, kernel)
	d.record(before, &next)
	if d.start.took = time.Since(now); !starting && !d.start.ended {
		d.endStart(&next, now)
	}
}

// gather waits for other wake-ups, and reports whether the context is still alive. During a
// start the last of the first results ends it.
func (d *Director) gather(ctx context.Context) bool {
	timer := time.NewTimer(d.start.gather())
	defer timer.Stop()
	var more <-chan struct{}
	if d.targeted && !d.start.ended {
		more = d.wake
	}
	for more == nil || d.deps.Checker.Unknown() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-more: // a decision follows
		case <-d.pings:
		}
	}
	return true
}

// shareInterval is how often a director that shares probes decides again: a probe that changes
// no health sends no wake-up.
const shareInterval = 5 * time.Second

// share leaves the probes of real servers to the directors that make them instead.
func (d *Director) share(c *config.Config, health map[checker.ID]checker.Health) {
	next := decision.Delegated(c, health, d.trusted, d.peers())
	if maps.Equal(d.delegated, next) {
		return
	}
	d.delegated = next
	d.deps.Checker.Delegate(next, decision.RareProbes(len(c.Directors)))
}
