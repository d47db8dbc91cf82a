// Package checker probes real servers and says which are up.
//
// This file keeps the schedule: which probe is due, that it is started, and what
// its result does to the verdicts. It never decides a weight and never writes
// the kernel.
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

// Options are the engine's ties to its surroundings; every field may be zero.
// The functions are called from the engine's own goroutine with no lock held
// and must not block: while one runs, no probe starts.
type Options struct {
	// Log gets a DEBUG line a probe and a WARN for trouble of this machine. A
	// change of a verdict is not logged: OnChange tells it, once.
	Log        *slog.Logger
	Wake       func()              // a verdict or a weight changed: look at Health again
	ObserveLag func(time.Duration) // how much later than due a probe started
	OnChange   func(Change)        // each change of a verdict, in order
	// PathFault answers why a path in this machine's kernel may not have led where it
	// should, at some time since then; nil: it did. It may take a while, and is
	// called by many goroutines. Without it each path stands.
	PathFault func(ctx context.Context, mark uint32, since time.Time) error
}

// Engine probes the targets it was given. Its methods are safe for concurrent
// use.
type Engine struct {
	o            Options
	newProber_   func(*probe.Check, *probe.Shared) (probe.Prober, error) // newProber; a fake in tests
	random       *rand.Rand                                              // the loop's own
	started      atomic.Bool
	poller       netpoll.Poller // a fake in tests
	loop         *netpoll.Loop
	epoch        time.Time
	heartbeatDue atomic.Int64 // when the loop is to be heard of again, ns after born; 0: it does not run
	rasterAnchor time.Time    // of the raster on which probes are due
	clockRead    time.Time    // when the wall clock was read last
	localFaults  localFaults
	resolver     *resolver.Resolver

	background sync.WaitGroup // goroutines of Run
	arrivedMu  sync.Mutex
	arrived    []arrival // of probes beside the loop
	ended      []arrival // of all: the loop's own, its room is used again

	setMu sync.Mutex // one Set at a time; taken before mu

	mu            sync.Mutex
	targets       map[ID]*target
	probes        map[string]*probeState // by key; written with both locks held
	due           dueQueue               // neither running nor gone
	added         []*probeState          // have no first due time yet
	changes       []Change               // not told yet
	reportChanged bool                   // weights were said that are not told yet
	snapshot      map[ID]Health          // nil: must be made again
}

// target is one target as the engine knows it.
type target struct {
	id      ID
	known   bool
	checks  []*checkState
	verdict Verdict
	since   time.Time
	cause   string
}

// checkState holds one check's results against one target.
type checkState struct {
	key      string
	kind     string // the check's type
	address  netip.AddrPort
	probe    *probeState // nil: "on" and "off"
	target   *target
	riseFall riseFall
	// reason and detail explain the verdict: of the latest result that agreed
	// with it, or of the latest one while there is none.
	reason outcome.Reason
	detail string
	cause  string
	added  bool // was made by the Set that is going on
}

// probe is what all judges of one key share.
type probeState struct {
	key     string
	address string // for logs
	kind    string
	timeout time.Duration
	secrets []string
	mark    uint32 // the mark of one in this machine's kernel; 0: none
	prober  probe.Prober
	checks  []*checkState

	timing   timing
	due      time.Time
	running  bool // and so not on the agenda
	gone     bool // no target wants it any more
	inflight netpoll.Inflight

	report     outcome.AgentReport
	certExpiry time.Time // of the certificate seen last

	last           outcome.Result
	lastConclusive outcome.Result // the latest that says something about the server: not Local, not DNS
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
	pathChecked bool // whether its path stood
}

// New returns an engine without targets. It starts nothing.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{
		o:          o,
		newProber_: probe.NewProber,
		random:     rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		poller:     netpoll.NewPoller(),
		epoch:      time.Now(),
		targets:    map[ID]*target{},
		probes:     map[string]*probeState{},
		resolver:   resolver.NewResolver(),
	}
}

// Run probes until ctx ends, then returns nil; no goroutine outlives it. It may
// be called once.
func (e *Engine) Run(ctx context.Context) error {
	if e.started.Swap(true) {
		return errors.New("checker: Run was called twice")
	}
	if err := e.poller.Open(); err != nil {
		return fmt.Errorf("checker: failed to begin: %w", err)
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
	var starting []*probeState
	for ctx.Err() == nil {
		var until time.Time
		starting, until = e.startDue(starting[:0], now)
		for _, p := range starting {
			if what := p.loopProbe(); what != nil {
				e.loop.Start(&p.inflight, what, now, now.Add(p.timeout))
			} else {
				e.background.Go(func() { e.run(ctx, p) })
			}
		}
		until = e.loop.NextWake(until)
		look := !until.After(now) || len(e.loop.Finished) > 0
		e.heartbeatDue.Store(int64(until.Sub(e.epoch)))
		all := e.loop.Wait(until, look)
		now = e.clock()
		e.heartbeatDue.Store(int64(now.Sub(e.epoch)))
		e.loop.Process(all, now)
		e.processArrived(ctx, now)
	}
	return nil
}

// Late is for how long the engine has done nothing though something was due: more
// than moments is a loop that stands still. It is 0 while the engine does not run.
func (e *Engine) Late() time.Duration {
	back := e.heartbeatDue.Load()
	if back == 0 {
		return 0
	}
	return max(time.Since(e.epoch)-time.Duration(back), 0)
}

// clock reads the clock: once a second the wall's, and else only by how much the
// time went on, which is half the price where that is a system call.
func (e *Engine) clock() time.Time {
	if since := time.Since(e.clockRead); since < time.Second {
		return e.clockRead.Add(since)
	}
	e.clockRead = time.Now()
	return e.clockRead
}

// burst is how many probes begin before the loop looks at the clock and at news
// again.
const burst = 16

// startDue tells what changed, takes what is due off the agenda, a burst at most, and
// says until when nothing else will be.
func (e *Engine) startDue(starting []*probeState, now time.Time) ([]*probeState, time.Time) {
	e.mu.Lock()
	e.scheduleAdded(now)
	until := now.Add(time.Hour)
	for {
		p := e.due.first()
		if p == nil {
			break
		}
		if p.due.After(now) || len(starting) == burst {
			until = p.due
			break
		}
		e.due.pop()
		p.running = true
		starting = append(starting, p)
	}
	changes, nudged := e.changes, e.reportChanged
	e.changes, e.reportChanged = nil, false
	e.mu.Unlock()
	e.notify(changes, nudged)
	return starting, until
}

// scheduleAdded gives new probes their grids and their first due times.
func (e *Engine) scheduleAdded(now time.Time) {
	if len(e.added) == 0 {
		return
	}
	if e.rasterAnchor.IsZero() {
		e.rasterAnchor = now
	}
	groups := map[time.Duration][]*probeState{}
	n, i := 0, 0
	for _, p := range e.added {
		if !p.gone {
			n++
		}
	}
	for _, p := range e.added {
		if p.gone {
			continue
		}
		groups[p.timing.interval] = append(groups[p.timing.interval], p)
		p.due = now.Add(firstDelay(i, n))
		i++
		e.due.push(p)
	}
	for interval, group := range groups {
		step := rasterStep(interval, len(group))
		for i, phase := range phases(e.random, len(group), interval) {
			group[i].timing.origin = onRaster(now.Add(phase), e.rasterAnchor, step)
		}
	}
	e.added = nil
}

// loopProbe is the probe as the loop can make it, or nil.
func (p *probeState) loopProbe() *netpoll.LoopProbe {
	if l, ok := p.prober.(probe.LoopProber); ok {
		return l.LoopProbe()
	}
	return nil
}

// run makes one probe that is not light. It is the only code that runs beside the
// loop.
func (e *Engine) run(ctx context.Context, p *probeState) {
	start := time.Now()
	out := p.prober.Probe(ctx, start.Add(p.timeout))
	if ctx.Err() != nil {
		return // the outcome is our own stop's
	}
	e.deliver(arrivalOf(p, out, start, time.Since(start)))
}

// deliver brings the end of a probe to the loop.
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

// processArrived judges what ended.
func (e *Engine) processArrived(ctx context.Context, now time.Time) {
	e.arrivedMu.Lock()
	all := append(e.ended[:0], e.arrived...)
	clear(e.arrived)
	e.arrived = e.arrived[:0]
	e.arrivedMu.Unlock()
	for _, f := range e.loop.Finished {
		all = append(all, arrivalOf(f.Owner.(*probeState), f.Outcome, f.Started, f.Took))
	}
	e.loop.Finished, e.ended = e.loop.Finished[:0], all
	if len(all) == 0 {
		return
	}
	defer clear(all) // so that it holds nothing
	for i := range all {
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

// logResult logs a result and tells how late it was started.
func (e *Engine) logResult(ctx context.Context, a *arrival) {
	p, r := a.probe, a.result
	if a.pathChecked && r.Reason != outcome.Local {
		return // it was noted before
	}
	if e.o.Log.Enabled(ctx, slog.LevelDebug) {
		e.o.Log.DebugContext(ctx, "probe", "check", p.kind, "address", p.address, "reason", string(r.Reason),
			"phase", r.Phase, "detail", r.Detail, "took", r.Took)
	}
	if r.Reason == outcome.Local || r.Reason == outcome.DNS {
		e.localFaults.warn(e.o.Log, p, r)
	}
	if e.o.ObserveLag != nil && !a.pathChecked {
		e.o.ObserveLag(a.lag)
	}
}

// record records one result, judges it, and puts the probe on the agenda again.
func (e *Engine) record(a arrival, now time.Time) {
	p, r := a.probe, a.result
	p.running = false
	if p.gone {
		return
	}
	if r.Detail == p.last.Detail {
		r.Detail = p.last.Detail // the history of a steady server holds one string
	}
	p.last = r
	p.totals[r.Reason.Code()]++
	p.history.Add(r)
	if a.report != nil && *a.report != p.report {
		p.report, e.reportChanged = *a.report, true
	}
	if !a.certExpiry.IsZero() {
		p.certExpiry = a.certExpiry
	}
	if r.Reason != outcome.Local && r.Reason != outcome.DNS {
		p.lastConclusive = r
		for _, j := range p.checks {
			if j.observe(r) {
				e.updateVerdict(j.target, j.cause)
			}
		}
	}
	e.snapshot = nil
	p.due = p.timing.next(p.due, now, p.changing())
	e.due.push(p)
}

// observe judges one result and reports whether that changed the verdict.
func (j *checkState) observe(r outcome.Result) bool {
	ok := r.Reason == outcome.OK
	settled := j.riseFall.observe(ok)
	if settled > 0 {
		j.cause = causeOf(j.name(), r.Reason, settled)
	}
	if j.riseFall.verdict == Unknown || j.riseFall.verdict == verdictOf(ok) {
		j.reason, j.detail = r.Reason, r.Detail
	}
	return settled > 0
}

// name says which of its target's checks a judge is: the type, and the address
// where there are several.
func (j *checkState) name() string {
	if len(j.target.checks) > 1 && j.probe != nil {
		return j.kind + " " + j.probe.address
	}
	return j.kind
}

func (p *probeState) changing() bool {
	for _, j := range p.checks {
		if j.riseFall.changing() {
			return true
		}
	}
	return false
}

// updateVerdict makes a target's verdict of those of its checks.
func (e *Engine) updateVerdict(t *target, cause string) {
	v := t.checks[0].riseFall.verdict
	for _, j := range t.checks[1:] {
		v = aggregate(v, j.riseFall.verdict)
	}
	if v == t.verdict {
		return
	}
	now := time.Now()
	e.changes = append(e.changes, Change{ID: t.id, From: t.verdict, To: v, At: now, Cause: cause})
	t.verdict, t.since, t.cause = v, now, cause
}

// notify passes changes on, without a lock.
func (e *Engine) notify(changes []Change, nudged bool) {
	if len(changes) == 0 && !nudged {
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

// localFaults keeps the warnings about this machine's own failures to one in
// troublePause: without descriptors, every probe fails alike.
type localFaults struct {
	last       time.Time
	suppressed int
}

const localFaultPause = 10 * time.Second

func (t *localFaults) warn(log *slog.Logger, p *probeState, r outcome.Result) {
	if !t.last.IsZero() && r.At.Sub(t.last) < localFaultPause {
		t.suppressed++
		return
	}
	silent := t.suppressed
	t.last, t.suppressed = r.At, 0
	log.Warn("a probe could not be made on this machine; verdicts stay as they are",
		"check", p.kind, "address", p.address, "reason", r.Detail, "phase", r.Phase, "others_unlogged", silent)
}
