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
	// Stands answers why a path in this machine's kernel may not have led where it
	// should, at some time since then; nil: it did. It may take a while, and is
	// called by many goroutines. Without it each path stands.
	Stands func(ctx context.Context, mark uint32, since time.Time) error
}

// Engine probes the targets it was given. Its methods are safe for concurrent
// use.
type Engine struct {
	o       Options
	prepare func(*Check, *shared) (prober, error) // newProber; a fake in tests
	random  *rand.Rand                            // the loop's own
	began   atomic.Bool
	kernel  kernel // a fake in tests
	loop    *loop
	born    time.Time
	back    atomic.Int64 // when the loop is to be heard of again, ns after born; 0: it does not run
	anchor  time.Time    // of the raster on which probes are due
	read    time.Time    // when the wall clock was read last
	trouble trouble
	names   *names

	beside  sync.WaitGroup // goroutines of Run
	landing sync.Mutex
	arrived []arrival // of probes beside the loop
	ended   []arrival // of all: the loop's own, its room is used again

	setting sync.Mutex // one Set at a time; taken before mu

	mu       sync.Mutex
	targets  map[ID]*target
	probes   map[string]*probe // by key; written with both locks held
	agenda   agenda            // neither running nor gone
	fresh    []*probe          // have no first due time yet
	changes  []Change          // not told yet
	nudged   bool              // weights were said that are not told yet
	snapshot map[ID]Health     // nil: must be made again
}

// prober is one prepared probe, the engine's edge to the network. It ends at the
// deadline at the latest, and soon after ctx did, in exactly one outcome.
type prober interface {
	probe(ctx context.Context, deadline time.Time) outcome
}

// outcome is what a prober found; the engine knows when and how long.
type outcome struct {
	reason Reason
	phase  string
	detail string
	said   *said     // nil: nothing about weights
	expiry time.Time // of the certificate that was shown; zero: none was
}

func end(reason Reason, phase, detail string) outcome {
	return outcome{reason: reason, phase: phase, detail: detail}
}

// said is what a server's agent, or a program, last said about its weight.
type said struct {
	weight             int // percent
	maint, drain, down bool
}

// nothingSaid leaves a server its whole weight.
var nothingSaid = said{weight: 100}

// resumer is a prober that goes on from what was said to the one before it.
type resumer interface{ resume(said) }

// target is one target as the engine knows it.
type target struct {
	id      ID
	known   bool
	judges  []*judge
	verdict Verdict
	since   time.Time
	cause   string
}

// judge holds one check's results against one target.
type judge struct {
	key     string
	kind    string // the check's type
	address netip.AddrPort
	probe   *probe // nil: "on" and "off"
	target  *target
	gauge   gauge
	// reason and detail explain the verdict: of the latest result that agreed
	// with it, or of the latest one while there is none.
	reason Reason
	detail string
	cause  string
	fresh  bool // was made by the Set that is going on
}

// probe is what all judges of one key share.
type probe struct {
	key     string
	address string // for logs
	kind    string
	timeout time.Duration
	secrets []string
	path    uint32 // the mark of one in this machine's kernel; 0: none
	run     prober
	judges  []*judge

	timing  timing
	due     time.Time
	running bool // and so not on the agenda
	gone    bool // no target wants it any more
	flight  flight

	said   said
	expiry time.Time // of the certificate seen last

	last    Result
	about   Result // the latest that says something about the server: not Local, not DNS
	totals  Totals
	history history
}

// arrival is the end of one probe.
type arrival struct {
	probe  *probe
	result Result
	lag    time.Duration
	said   *said
	expiry time.Time
	asked  bool // whether its path stood
}

// New returns an engine without targets. It starts nothing.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{
		o:       o,
		prepare: newProber,
		random:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		kernel:  newSystem(),
		born:    time.Now(),
		targets: map[ID]*target{},
		probes:  map[string]*probe{},
		names:   newNames(),
	}
}

// Run probes until ctx ends, then returns nil; no goroutine outlives it. It may
// be called once.
func (e *Engine) Run(ctx context.Context) error {
	if e.began.Swap(true) {
		return errors.New("checker: Run was called twice")
	}
	if err := e.kernel.open(); err != nil {
		return fmt.Errorf("checker: failed to begin: %w", err)
	}
	e.loop = newLoop(e.kernel)
	defer e.loop.close()
	ctx, cancel := context.WithCancel(ctx)
	defer e.beside.Wait()
	defer cancel()
	e.beside.Go(func() { e.names.run(ctx) })
	defer context.AfterFunc(ctx, e.kernel.kick)()

	defer e.back.Store(0)
	e.read = time.Now()
	now := e.read
	var starting []*probe
	for ctx.Err() == nil {
		var until time.Time
		starting, until = e.turn(starting[:0], now)
		for _, p := range starting {
			if what := p.light(); what != nil {
				e.loop.begin(&p.flight, what, now, now.Add(p.timeout))
			} else {
				e.beside.Go(func() { e.run(ctx, p) })
			}
		}
		until = e.loop.until(until)
		look := !until.After(now) || len(e.loop.landed) > 0
		e.back.Store(int64(until.Sub(e.born)))
		all := e.loop.wait(until, look)
		now = e.clock()
		e.back.Store(int64(now.Sub(e.born)))
		e.loop.proceed(all, now)
		e.settle(ctx, now)
	}
	return nil
}

// Late is for how long the engine has done nothing though something was due: more
// than moments is a loop that stands still. It is 0 while the engine does not run.
func (e *Engine) Late() time.Duration {
	back := e.back.Load()
	if back == 0 {
		return 0
	}
	return max(time.Since(e.born)-time.Duration(back), 0)
}

// clock reads the clock: once a second the wall's, and else only by how much the
// time went on, which is half the price where that is a system call.
func (e *Engine) clock() time.Time {
	if since := time.Since(e.read); since < time.Second {
		return e.read.Add(since)
	}
	e.read = time.Now()
	return e.read
}

// burst is how many probes begin before the loop looks at the clock and at news
// again.
const burst = 16

// turn tells what changed, takes what is due off the agenda, a burst at most, and
// says until when nothing else will be.
func (e *Engine) turn(starting []*probe, now time.Time) ([]*probe, time.Time) {
	e.mu.Lock()
	e.place(now)
	until := now.Add(time.Hour)
	for {
		p := e.agenda.first()
		if p == nil {
			break
		}
		if p.due.After(now) || len(starting) == burst {
			until = p.due
			break
		}
		e.agenda.take()
		p.running = true
		starting = append(starting, p)
	}
	changes, nudged := e.changes, e.nudged
	e.changes, e.nudged = nil, false
	e.mu.Unlock()
	e.tell(changes, nudged)
	return starting, until
}

// place gives new probes their grids and their first due times.
func (e *Engine) place(now time.Time) {
	if len(e.fresh) == 0 {
		return
	}
	if e.anchor.IsZero() {
		e.anchor = now
	}
	groups := map[time.Duration][]*probe{}
	n, i := 0, 0
	for _, p := range e.fresh {
		if !p.gone {
			n++
		}
	}
	for _, p := range e.fresh {
		if p.gone {
			continue
		}
		groups[p.timing.interval] = append(groups[p.timing.interval], p)
		p.due = now.Add(firstDelay(i, n))
		i++
		e.agenda.add(p)
	}
	for interval, group := range groups {
		step := rasterStep(interval, len(group))
		for i, phase := range phases(e.random, len(group), interval) {
			group[i].timing.origin = onRaster(now.Add(phase), e.anchor, step)
		}
	}
	e.fresh = nil
}

// light is the probe as the loop can make it, or nil.
func (p *probe) light() *light {
	if l, ok := p.run.(lighter); ok {
		return l.light()
	}
	return nil
}

// run makes one probe that is not light. It is the only code that runs beside the
// loop.
func (e *Engine) run(ctx context.Context, p *probe) {
	start := time.Now()
	out := p.run.probe(ctx, start.Add(p.timeout))
	if ctx.Err() != nil {
		return // the outcome is our own stop's
	}
	e.deliver(arrivalOf(p, out, start, time.Since(start)))
}

// deliver brings the end of a probe to the loop.
func (e *Engine) deliver(a arrival) {
	e.landing.Lock()
	e.arrived = append(e.arrived, a)
	e.landing.Unlock()
	e.kernel.kick()
}

func arrivalOf(p *probe, out outcome, start time.Time, took time.Duration) arrival {
	r := Result{At: start, Reason: out.reason, Phase: out.phase, Detail: hidden(out.detail, p.secrets), Took: took}
	return arrival{probe: p, result: r, lag: max(start.Sub(p.due), 0), said: out.said, expiry: out.expiry}
}

// settle judges what ended.
func (e *Engine) settle(ctx context.Context, now time.Time) {
	e.landing.Lock()
	all := append(e.ended[:0], e.arrived...)
	clear(e.arrived)
	e.arrived = e.arrived[:0]
	e.landing.Unlock()
	for _, f := range e.loop.landed {
		all = append(all, arrivalOf(f.owner, f.out, f.began, f.took))
	}
	e.loop.landed, e.ended = e.loop.landed[:0], all
	if len(all) == 0 {
		return
	}
	defer clear(all) // so that it holds nothing
	for i := range all {
		e.note(ctx, &all[i])
	}
	e.mu.Lock()
	for i := range all {
		if e.doubts(&all[i]) {
			e.ask(ctx, all[i])
			continue
		}
		e.arrive(all[i], now)
	}
	e.mu.Unlock()
}

// note logs a result and tells how late it was started.
func (e *Engine) note(ctx context.Context, a *arrival) {
	p, r := a.probe, a.result
	if a.asked && r.Reason != Local {
		return // it was noted before
	}
	if e.o.Log.Enabled(ctx, slog.LevelDebug) {
		e.o.Log.DebugContext(ctx, "probe", "check", p.kind, "address", p.address, "reason", string(r.Reason),
			"phase", r.Phase, "detail", r.Detail, "took", r.Took)
	}
	if r.Reason == Local || r.Reason == DNS {
		e.trouble.warn(e.o.Log, p, r)
	}
	if e.o.ObserveLag != nil && !a.asked {
		e.o.ObserveLag(a.lag)
	}
}

// arrive records one result, judges it, and puts the probe on the agenda again.
func (e *Engine) arrive(a arrival, now time.Time) {
	p, r := a.probe, a.result
	p.running = false
	if p.gone {
		return
	}
	if r.Detail == p.last.Detail {
		r.Detail = p.last.Detail // the history of a steady server holds one string
	}
	p.last = r
	p.totals[r.Reason.code()]++
	p.history.add(r)
	if a.said != nil && *a.said != p.said {
		p.said, e.nudged = *a.said, true
	}
	if !a.expiry.IsZero() {
		p.expiry = a.expiry
	}
	if r.Reason != Local && r.Reason != DNS {
		p.about = r
		for _, j := range p.judges {
			if j.take(r) {
				e.weigh(j.target, j.cause)
			}
		}
	}
	e.snapshot = nil
	p.due = p.timing.next(p.due, now, p.changing())
	e.agenda.add(p)
}

// take judges one result and reports whether that changed the verdict.
func (j *judge) take(r Result) bool {
	ok := r.Reason == OK
	settled := j.gauge.observe(ok)
	if settled > 0 {
		j.cause = causeOf(j.name(), r.Reason, settled)
	}
	if j.gauge.verdict == Unknown || j.gauge.verdict == verdictOf(ok) {
		j.reason, j.detail = r.Reason, r.Detail
	}
	return settled > 0
}

// name says which of its target's checks a judge is: the type, and the address
// where there are several.
func (j *judge) name() string {
	if len(j.target.judges) > 1 && j.probe != nil {
		return j.kind + " " + j.probe.address
	}
	return j.kind
}

func (p *probe) changing() bool {
	for _, j := range p.judges {
		if j.gauge.changing() {
			return true
		}
	}
	return false
}

// weigh makes a target's verdict of those of its checks.
func (e *Engine) weigh(t *target, cause string) {
	v := t.judges[0].gauge.verdict
	for _, j := range t.judges[1:] {
		v = aggregate(v, j.gauge.verdict)
	}
	if v == t.verdict {
		return
	}
	now := time.Now()
	e.changes = append(e.changes, Change{ID: t.id, From: t.verdict, To: v, At: now, Cause: cause})
	t.verdict, t.since, t.cause = v, now, cause
}

// tell passes changes on, without a lock.
func (e *Engine) tell(changes []Change, nudged bool) {
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

// trouble keeps the warnings about this machine's own failures to one in
// troublePause: without descriptors, every probe fails alike.
type trouble struct {
	last   time.Time
	silent int
}

const troublePause = 10 * time.Second

func (t *trouble) warn(log *slog.Logger, p *probe, r Result) {
	if !t.last.IsZero() && r.At.Sub(t.last) < troublePause {
		t.silent++
		return
	}
	silent := t.silent
	t.last, t.silent = r.At, 0
	log.Warn("a probe could not be made on this machine; verdicts stay as they are",
		"check", p.kind, "address", p.address, "reason", r.Detail, "phase", r.Phase, "others_unlogged", silent)
}
