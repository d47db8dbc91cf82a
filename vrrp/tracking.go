// This file looks at what an election tracks: other interfaces, programs and files, each
// in a goroutine of its own. The election never waits for one of them, and hears
// only of changes.

package vrrp

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"lvsd/vrrp/link"
)

// tracking adds up what bends an election.
type tracking struct {
	log     *slog.Logger
	changed chan struct{}                                              // the sum may be another one
	observe func(ctx context.Context, name string, tell func(up bool)) // link.Observe, or its fake
	run     func(ctx context.Context, command []string) error          // see Options

	mu       sync.Mutex
	results  map[string]Tracked // by name: what is looked at here; replaced as a whole
	external map[string]Tracked // what SetTracked was told

	// What follows is the loop's.
	cfg    Config
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

func newTracking(log *slog.Logger, run func(ctx context.Context, command []string) error) *tracking {
	return &tracking{log: log, run: run, changed: make(chan struct{}, 1), observe: link.Observe, results: map[string]Tracked{}, external: map[string]Tracked{}}
}

// SetTracked states what something outside of the election does to it: delta is
// added to the priority, fault keeps this director out. 0 and false withdraw it.
// It never waits and may be called at any time.
func (e *Engine) SetTracked(name string, delta int, fault bool) {
	t := e.tracking
	t.mu.Lock()
	set(t.external, Tracked{Name: name, Delta: delta, Fault: fault})
	t.mu.Unlock()
	t.notify()
}

func set(in map[string]Tracked, t Tracked) {
	if t.Delta == 0 && !t.Fault {
		delete(in, t.Name)
		return
	}
	in[t.Name] = t
}

func (t *tracking) notify() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// all is what bends the election at present, by name.
func (t *tracking) all() []Tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []Tracked
	for _, m := range []map[string]Tracked{t.results, t.external} {
		for _, e := range m {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Tracked) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// sum adds them up.
func sum(all []Tracked) (delta int, fault string) {
	var faults []string
	for _, e := range all {
		delta += e.Delta
		if e.Fault {
			faults = append(faults, e.Name+" is down")
		}
	}
	return delta, strings.Join(faults, "; ")
}

// configure looks at what the configuration names from now on. What it named before
// as well keeps its effect until there is a new result.
func (t *tracking) configure(cfg Config) {
	if t.cancel != nil && reflect.DeepEqual(t.cfg.TrackInterfaces, cfg.TrackInterfaces) && reflect.DeepEqual(t.cfg.TrackScripts, cfg.TrackScripts) && reflect.DeepEqual(t.cfg.TrackFiles, cfg.TrackFiles) {
		return
	}
	t.stop()
	var ctx context.Context
	ctx, t.cancel = context.WithCancel(context.Background())
	t.cfg = cfg
	own := map[string]Tracked{}
	t.mu.Lock()
	before := t.results
	t.results = own
	t.mu.Unlock()
	keep := func(name string) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if e, ok := before[name]; ok {
			own[name] = e
		}
	}
	begin := func(name string, weight int, look func(ctx context.Context, tell func(up bool))) {
		keep(name)
		t.tasks.Go(func() { look(ctx, func(up bool) { t.result(own, name, weight, up) }) })
	}
	for _, i := range cfg.TrackInterfaces {
		begin("interface "+i.Name, i.Weight, func(ctx context.Context, tell func(bool)) { t.observe(ctx, i.Name, tell) })
	}
	for _, s := range cfg.TrackScripts {
		begin("script "+strings.Join(s.Command, " "), s.Weight, func(ctx context.Context, tell func(bool)) { t.runScript(ctx, s, tell) })
	}
	for _, f := range cfg.TrackFiles {
		keep(f.name())
		t.tasks.Go(func() { t.pollFile(ctx, f, func(e Tracked) { t.store(own, e) }) })
	}
	t.notify()
}

func (t *tracking) stop() {
	if t.cancel != nil {
		t.cancel()
	}
}

// result notes one; own is the set that it belongs to.
func (t *tracking) result(own map[string]Tracked, name string, weight int, up bool) {
	e := Tracked{Name: name}
	switch {
	case weight == 0:
		e.Fault = !up
	case up == (weight > 0):
		e.Delta = weight
	}
	t.store(own, e)
}

// store takes what something does to the election now.
func (t *tracking) store(own map[string]Tracked, e Tracked) {
	t.mu.Lock()
	same := own[e.Name] == e || e == Tracked{Name: e.Name} && own[e.Name] == Tracked{}
	set(own, e)
	t.mu.Unlock()
	if !same {
		t.log.Info("tracked", "what", e.Name, "delta", e.Delta, "fault", e.Fault)
		t.notify()
	}
}

// runScript runs a program again and again.
func (t *tracking) runScript(ctx context.Context, s TrackedScript, tell func(up bool)) {
	g := riseFall{rise: s.Rise, fall: s.Fall}
	ticker := time.NewTicker(s.Interval)
	defer ticker.Stop()
	for {
		err := t.runOnce(ctx, s)
		if ctx.Err() != nil {
			return
		}
		t.log.Debug("script ran", "command", s.Command, "err", err)
		if g.observe(err == nil) {
			tell(g.up)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// riseFall is rise and fall.
type riseFall struct {
	rise, fall int
	known, up  bool
	streak     int // results in a row against the verdict
}

// observe takes a result, and says whether there is a new verdict.
func (g *riseFall) observe(ok bool) bool {
	switch {
	case !g.known:
		g.known, g.up = true, ok
		return true
	case ok == g.up:
		g.streak = 0
		return false
	}
	g.streak++
	if needed := map[bool]int{true: g.rise, false: g.fall}[ok]; g.streak < needed {
		return false
	}
	g.up, g.streak = ok, 0
	return true
}

// runOnce runs the program once. Without a way to run programs each fails.
func (t *tracking) runOnce(ctx context.Context, s TrackedScript) error {
	limit, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if t.run == nil {
		return errors.New("this election cannot run programs")
	}
	return t.run(limit, s.Command)
}
