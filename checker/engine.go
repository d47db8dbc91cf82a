package checker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"lvsd/checker/netpoll"
	"lvsd/checker/outcome"
	"lvsd/checker/probe"
	"lvsd/checker/resolver"
	"lvsd/checker/trace"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options connect the engine to its surroundings; every field may be zero. The functions
// are called from the engine's own goroutine with no lock held and must not block: no
// probe starts while one runs.
type Options struct {
	// Log gets a DEBUG line per probe and a WARN for failures of this machine. A
	// change of a state is not logged: OnChange reports it, once.
	Log        *slog.Logger
	Wake       func()              // a state, a reported weight, or whether a target can be checked changed: read Health
	ObserveLag func(time.Duration) // how much later than due a probe started
	OnChange   func(Change)        // each change of a state, in order
	// MaxProbes is how many probes may be in progress at once, which bounds the file
	// descriptors that hanging servers take. The others start when one has ended, the
	// one that is due longest first. 0: unlimited.
	MaxProbes int
	// PathFault reports whether the firewall-mark service of a probe was missing at any
	// time since t; nil if it was intact. It may take a while, and is called from many
	// goroutines. A nil function takes every path for intact.
	PathFault func(ctx context.Context, mark uint32, since time.Time) error
}

// Engine probes its targets. Its methods are safe for concurrent use.
type Engine struct {
	o            Options
	newProber    func(*probe.Check, *probe.Shared) (probe.Prober, error) // probe.NewProber; a fake in tests
	random       *rand.Rand                                              // of the goroutine of Run
	started      atomic.Bool
	poller       netpoll.Poller // a fake in tests
	loop         *netpoll.Loop
	epoch        time.Time
	heartbeatDue atomic.Int64 // when Run has to make its next turn, ns after epoch; 0: it does not run
	rasterAnchor time.Time    // origin of the raster on which probes are due
	clockRead    time.Time    // when the wall clock was last read
	localFaults  localFaults
	inFlight     int                 // probes in progress, of the goroutine of Run
	fullLogged   time.Time           // when reaching MaxProbes was last logged
	lateSearched time.Time           // when findLate last ran
	idle         []*netpoll.Inflight // of probes that ended, to be used again; of the goroutine of Run
	resolver     *resolver.Resolver

	background sync.WaitGroup // goroutines that Run started
	arrivedMu  sync.Mutex
	arrived    []arrival // results of probes outside the loop
	ended      []arrival // of one turn; reused

	setMu sync.Mutex // serialises Set and Preview; locked before mu

	mu       sync.Mutex
	targets  map[ID]*target
	probes   map[string]*probeState // by key; written with both locks held
	due      dueQueue               // neither running nor gone
	added    []*probeState          // without a grid yet
	first    firstProbes
	changes  []Change      // to be passed to OnChange
	wakeDue  bool          // an agent's report changed, or whether a check can be made
	unknown  int           // targets without a result
	snapshot map[ID]Health // of Health; nil: out of date

	delegated map[ID]string // the directors that probe targets instead
	rarely    int           // one of so many probes of a delegated target is made here
}

// target is the state of one Target.
type target struct {
	id     ID
	known  bool
	checks []*checkState
	state  State
	since  time.Time
	cause  string
	// shown is what Health shows of the checks, shared by its snapshots until a result comes;
	// nil: out of date.
	shown []CheckHealth
}

// checkState is the state of one check of one target.
type checkState struct {
	key      string
	label    string // its name, as the caller says; "": none
	kind     string // the check's type
	address  netip.AddrPort
	probe    *probeState // nil: "on" and "off"
	target   *target
	riseFall riseFall
	// reason and detail explain the state: of the latest result that agreed
	// with it, or of the latest result while the state is unknown.
	reason    outcome.Reason
	detail    string
	cause     string
	unchecked time.Time // see Health.UncheckedSince
	added     bool      // created by the current Set
}

// probeState is the probe that all checks of one key share.
type probeState struct {
	key     string
	address string // for logs
	kind    string
	timeout time.Duration
	secrets []string
	mark    uint32 // of a probe through a firewall-mark service; 0: none
	prober  probe.Prober
	checks  []*checkState

	timing  timing
	turn    int // which of its probes are made while it is delegated
	due     time.Time
	lag     time.Duration // how much later than due the latest probe that ended had started
	running bool          // and so not in the queue
	first   bool          // it is the first probe
	removed bool          // no target has it any more

	report     outcome.AgentReport
	certExpiry time.Time // of the certificate seen last

	last           outcome.Result
	lastConclusive outcome.Result // the latest that says something about the server
	inconclusive   int            // results in a row that do not
	uncheckedSince time.Time      // when the first of these probes started
	totals         outcome.Totals
	history        outcome.History
}

// arrival is the end of one probe.
type arrival struct {
	probe       *probeState
	result      outcome.Result
	lag         time.Duration
	report      *outcome.AgentReport
	certExpiry  time.Time
	pathChecked bool   // PathFault was consulted
	name        string // of the check, for logs
}

// New returns an engine without targets. It starts nothing.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{
		o:         o,
		newProber: probe.NewProber,
		random:    rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		poller:    netpoll.NewPoller(),
		epoch:     time.Now(),
		targets:   map[ID]*target{},
		probes:    map[string]*probeState{},
		resolver:  resolver.NewResolver(),
	}
}

// Run probes until ctx ends, then returns nil; no goroutine outlives it. It returns an
// error if it is called twice, or if epoll(7) or its timer cannot be set up.
func (e *Engine) Run(ctx context.Context) error {
	if e.started.Swap(true) {
		return errors.New("checker: Run was called twice")
	}
	if err := e.poller.Open(); err != nil {
		return fmt.Errorf("checker: failed to start: %w", err)
	}
	e.loop = netpoll.NewLoop(e.poller)
	defer e.loop.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer e.background.Wait()
	defer cancel()
	e.background.Go(func() { e.resolver.Run(ctx) })
	defer context.AfterFunc(ctx, e.poller.Wake)()

	defer e.heartbeatDue.Store(0)
	e.clockRead = time.Now()
	now := e.clockRead
	var due []*probeState
	for ctx.Err() == nil {
		e.findLate(now)
		var until time.Time
		due, until = e.startDue(due[:0], now)
		for _, p := range due {
			if lp := p.loopProbe(); lp != nil {
				e.loop.Start(e.takeInflight(p), lp, now, now.Add(p.timeout))
			} else {
				e.background.Go(func() { e.run(ctx, p) })
			}
		}
		if search := e.lateSearched.Add(lateSearch); e.inFlight > 0 && search.Before(until) {
			until = search
		}
		until = e.loop.NextWake(until)
		poll := !until.After(now) || len(e.loop.Finished) > 0
		e.heartbeatDue.Store(int64(until.Sub(e.epoch)))
		events := e.loop.Wait(until, poll)
		now = e.clock()
		e.heartbeatDue.Store(int64(now.Sub(e.epoch)))
		e.loop.Process(events, now)
		e.processArrived(ctx, now)
	}
	return nil
}

// Overdue returns for how long the engine has done nothing although something was due: more
// than a moment means that its loop hangs. It is 0 while Run is not active.
func (e *Engine) Overdue() time.Duration {
	back := e.heartbeatDue.Load()
	if back == 0 {
		return 0
	}
	return max(time.Since(e.epoch)-time.Duration(back), 0)
}

// clock reads the wall clock once a second, and in between only how much time has
// passed, which costs half as much where that is a system call.
func (e *Engine) clock() time.Time {
	if since := time.Since(e.clockRead); since < time.Second {
		return e.clockRead.Add(since)
	}
	e.clockRead = time.Now()
	return e.clockRead
}

// burst is how many probes start before the loop reads the clock and handles events
// again.
const burst = 16

// startDue passes on pending changes, takes up to burst due probes off the queue, and
// returns the time until which no other is due.
func (e *Engine) startDue(due []*probeState, now time.Time) ([]*probeState, time.Time) {
	e.mu.Lock()
	e.scheduleAdded(now)
	due = e.first.start(due, now, e.room())
	full := len(e.first.waiting) > 0 && len(due) >= e.room() && e.room() < burst
	until := now.Add(time.Hour)
	if !full {
		until = e.first.next(now, until)
	}
	for {
		p := e.due.first()
		if p == nil {
			break
		}
		if p.due.After(now) || len(due) == burst {
			if p.due.Before(until) {
				until = p.due
			}
			break
		}
		if full = full || len(due) >= e.room(); full {
			break // the end of a probe wakes the loop
		}
		e.due.pop()
		p.running = true
		due = append(due, p)
	}
	changes, wakeDue := e.changes, e.wakeDue
	e.changes, e.wakeDue = nil, false
	e.mu.Unlock()
	e.inFlight += len(due)
	if full {
		e.logFull(now)
	}
	e.notify(changes, wakeDue)
	return due, until
}

// room returns how many probes may start in one turn of the loop.
func (e *Engine) room() int {
	if e.o.MaxProbes <= 0 {
		return burst
	}
	return min(burst, max(e.o.MaxProbes-e.inFlight, 0))
}

// scheduleAdded gives new probes their grids.
func (e *Engine) scheduleAdded(now time.Time) {
	if len(e.added) == 0 {
		return
	}
	if e.rasterAnchor.IsZero() {
		e.rasterAnchor = now
	}
	groups := map[time.Duration][]*probeState{}
	for _, p := range e.added {
		if !p.removed {
			groups[p.timing.interval] = append(groups[p.timing.interval], p)
			e.first.waiting = append(e.first.waiting, p)
			p.due = now
		}
	}
	for interval, group := range groups {
		step := rasterStep(interval, len(group))
		for i, phase := range phases(e.random, len(group), interval) {
			group[i].timing.origin = onRaster(now.Add(phase), e.rasterAnchor, step)
			group[i].turn = e.random.IntN(1 << 16)
		}
	}
	e.added = nil
}

// takeInflight returns what the loop needs of a probe in progress. Few are in progress at a
// time, so that they share these.
func (e *Engine) takeInflight(p *probeState) *netpoll.Inflight {
	last := len(e.idle) - 1
	if last < 0 {
		return &netpoll.Inflight{Owner: p}
	}
	f := e.idle[last]
	e.idle = e.idle[:last]
	f.Owner = p
	return f
}

// loopProbe returns the probe as the loop can make it, or nil.
func (p *probeState) loopProbe() *netpoll.LoopProbe {
	if l, ok := p.prober.(probe.LoopProber); ok {
		return l.LoopProbe()
	}
	return nil
}

// run makes one probe outside the loop, in a goroutine of its own.
func (e *Engine) run(ctx context.Context, p *probeState) {
	start := time.Now()
	out := p.prober.Probe(ctx, start.Add(p.timeout))
	if ctx.Err() != nil {
		return // cancelled, not an outcome
	}
	e.deliver(arrivalOf(p, out, start.Add(out.Waited), time.Since(start)-out.Waited))
}

// deliver hands the end of a probe to the goroutine of Run.
func (e *Engine) deliver(a arrival) {
	e.arrivedMu.Lock()
	e.arrived = append(e.arrived, a)
	e.arrivedMu.Unlock()
	e.poller.Wake()
}

func arrivalOf(p *probeState, out outcome.Outcome, start time.Time, took time.Duration) arrival {
	r := outcome.Result{At: start, Reason: out.Reason, Phase: out.Phase, Detail: trace.Redact(out.Detail, p.secrets), Took: took}
	return arrival{probe: p, result: r, lag: max(start.Sub(p.due), 0), report: out.Report, certExpiry: out.CertExpiry}
}

// processArrived records the probes that ended.
func (e *Engine) processArrived(ctx context.Context, now time.Time) {
	e.arrivedMu.Lock()
	all := append(e.ended[:0], e.arrived...)
	clear(e.arrived)
	e.arrived = e.arrived[:0]
	e.arrivedMu.Unlock()
	for _, f := range e.loop.Finished {
		all = append(all, arrivalOf(f.Owner.(*probeState), f.Outcome, f.Started, f.Took))
		*f = netpoll.Inflight{}
		e.idle = append(e.idle, f)
	}
	e.loop.Finished, e.ended = e.loop.Finished[:0], all
	if len(all) == 0 {
		return
	}
	defer clear(all) // do not retain anything
	e.mu.Lock()
	for i := range all {
		all[i].name = all[i].probe.name()
	}
	e.mu.Unlock()
	for i := range all {
		if !all[i].pathChecked { // it was counted before the path was checked
			e.inFlight--
		}
		e.logResult(ctx, &all[i])
	}
	e.mu.Lock()
	for i := range all {
		if e.needsPathCheck(&all[i]) {
			e.checkPath(ctx, all[i])
			continue
		}
		e.record(all[i], now)
	}
	e.mu.Unlock()
}

// logResult logs a result and observes how late it was started.
func (e *Engine) logResult(ctx context.Context, a *arrival) {
	p, r := a.probe, a.result
	if a.pathChecked && r.Reason != outcome.Local {
		return // logged before the path was checked
	}
	if e.o.Log.Enabled(ctx, slog.LevelDebug) {
		e.o.Log.DebugContext(ctx, "probe", "check", a.name, "address", p.address, "reason", string(r.Reason),
			"phase", r.Phase, "detail", r.Detail, "took", r.Took)
	}
	if !r.Reason.Conclusive() {
		e.localFaults.warn(e.o.Log, a)
	}
	if e.o.ObserveLag != nil && !a.pathChecked {
		e.o.ObserveLag(a.lag)
	}
}

// record records one result, counts it by rise and fall, and schedules the next probe.
func (e *Engine) record(a arrival, now time.Time) {
	p, r := a.probe, a.result
	first := p.first
	p.running, p.first, p.lag = false, false, a.lag
	if first {
		e.first.running--
	}
	if p.removed {
		return
	}
	if r.Detail == p.last.Detail {
		r.Detail = p.last.Detail // a steady server has one string in its history
	}
	p.last = r
	p.totals[r.Reason.Code()]++
	p.history.Add(r)
	if a.report != nil && *a.report != p.report {
		p.report, e.wakeDue = *a.report, true
	}
	if !a.certExpiry.IsZero() {
		p.certExpiry = a.certExpiry
	}
	if r.Reason.Conclusive() {
		p.lastConclusive, p.inconclusive = r, 0
		for _, j := range p.checks {
			if j.observe(r) {
				e.updateState(j.target, j.cause, now)
			}
		}
	} else if p.inconclusive++; p.inconclusive == 1 {
		p.uncheckedSince = r.At
	}
	for _, j := range p.checks {
		j.target.shown = nil
	}
	e.snapshot = nil
	p.due = e.timingOf(p).next(p.due, now, p.changing())
	if soon := now.Add(firstRetry); first && r.Reason != outcome.OK && soon.Before(p.due) {
		p.due = soon
	}
	e.updateUnchecked(p, now)
	e.due.push(p)
}

// observe counts one result and reports whether that changed the state.
func (j *checkState) observe(r outcome.Result) bool {
	ok := r.Reason == outcome.OK
	changedBy := j.riseFall.observe(ok)
	if changedBy > 0 {
		j.cause = causeOf(j.name(), r.Reason, changedBy)
	}
	if j.riseFall.state == Unknown || j.riseFall.state == stateOf(ok) {
		j.reason, j.detail = r.Reason, r.Detail
	}
	return changedBy > 0
}

// name identifies a check among those of its target: its label, else the type, with the
// address where there are several.
func (j *checkState) name() string {
	if j.label != "" {
		return j.label
	}
	if len(j.target.checks) > 1 && j.probe != nil {
		return j.kind + " " + j.probe.address
	}
	return j.kind
}

// name is that of the first check that has the probe.
func (p *probeState) name() string {
	if len(p.checks) == 0 {
		return p.kind
	}
	return p.checks[0].name()
}

func (p *probeState) changing() bool {
	for _, j := range p.checks {
		if j.riseFall.changing() {
			return true
		}
	}
	return false
}

// updateState derives the state of a target from those of its checks.
func (e *Engine) updateState(t *target, cause string, now time.Time) {
	v := t.checks[0].riseFall.state
	for _, j := range t.checks[1:] {
		v = aggregate(v, j.riseFall.state)
	}
	if v == t.state {
		return
	}
	e.changes = append(e.changes, Change{ID: t.id, From: t.state, To: v, At: now, Cause: cause})
	switch Unknown {
	case t.state:
		e.unknown--
	case v:
		e.unknown++
	}
	t.state, t.since, t.cause = v, now, cause
}

// notify passes changes on, with no lock held.
func (e *Engine) notify(changes []Change, wakeDue bool) {
	if len(changes) == 0 && !wakeDue {
		return
	}
	if e.o.OnChange != nil {
		for _, c := range changes {
			e.o.OnChange(c)
		}
	}
	if e.o.Wake != nil {
		e.o.Wake()
	}
}

// logFull warns that probes are late because too many hang.
func (e *Engine) logFull(now time.Time) {
	if !e.fullLogged.IsZero() && now.Sub(e.fullLogged) < localFaultPause {
		return
	}
	e.fullLogged = now
	e.o.Log.Warn("probes start late: the limit of open files is reached; servers hang, or the limit is too low (LimitNOFILE= in the unit)", "in_progress", e.o.MaxProbes)
}

// localFaults limits the warnings about failures of this machine to one per
// localFaultPause: without file descriptors, every probe fails the same way.
type localFaults struct {
	last       time.Time
	suppressed int
}

const localFaultPause = 10 * time.Second

func (t *localFaults) warn(log *slog.Logger, a *arrival) {
	r := a.result
	if !t.last.IsZero() && r.At.Sub(t.last) < localFaultPause {
		t.suppressed++
		return
	}
	silent := t.suppressed
	t.last, t.suppressed = r.At, 0
	log.Warn("a probe failed locally on this director; health is unchanged",
		"check", a.name, "address", a.probe.address, "reason", r.Detail, "phase", r.Phase, "others_unlogged", silent)
}
