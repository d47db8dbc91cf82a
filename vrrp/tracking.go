// Tracked interfaces, scripts and files, each watched by a goroutine. The event
// loop receives changes only.

package vrrp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"lvsd/vrrp/link"
)

// tracking holds the effect of every tracked object.
type tracking struct {
	log     *slog.Logger
	changed chan struct{}                                                // the sum may have changed
	observe func(ctx context.Context, name string, report func(up bool)) // link.Observe or a fake
	run     func(ctx context.Context, command []string) error            // see Options

	readFile func(path string) (int, error) // readNumber or a fake

	mu       sync.Mutex
	results  map[string]Tracked // watched here, by name; replaced as a whole
	external map[string]Tracked // set by SetTracked

	// Owned by the event loop.
	cfg    Config
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

func newTracking(log *slog.Logger, run func(ctx context.Context, command []string) error) *tracking {
	return &tracking{log: log, run: run, changed: make(chan struct{}, 1), observe: link.Observe, readFile: readNumber, results: map[string]Tracked{}, external: map[string]Tracked{}}
}

// SetTracked sets the effect of an object that is watched elsewhere: delta is
// added to the priority, fault keeps the instance in Fault. 0 and false remove
// it. It does not block and may be called at any time.
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

// all returns the objects that have an effect, sorted by name.
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

// sum returns the total adjustment and the faults.
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

// configure watches what the configuration names. An object that was watched
// before keeps its effect until the next result.
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
	begin := func(name string, weight int, look func(ctx context.Context, report func(up bool))) {
		keep(name)
		t.tasks.Go(func() { look(ctx, func(up bool) { t.result(own, name, weight, up) }) })
	}
	for _, i := range cfg.TrackInterfaces {
		begin("interface "+i.Name, i.Weight, func(ctx context.Context, report func(bool)) { t.observe(ctx, i.Name, report) })
	}
	for _, s := range cfg.TrackScripts {
		begin("script "+strings.Join(s.Command, " "), s.Weight, func(ctx context.Context, report func(bool)) { t.runScript(ctx, s, report) })
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

// result stores the state of one object in results, the set it belongs to.
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

// store stores the effect of one object and wakes the event loop if it changed.
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

// runScript runs a script at its interval until ctx ends.
func (t *tracking) runScript(ctx context.Context, s TrackedScript, report func(up bool)) {
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
			report(g.up)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// riseFall counts consecutive results.
type riseFall struct {
	rise, fall int
	known, up  bool
	streak     int // consecutive results against the present state
}

// observe adds a result and reports whether the state changed. The first result
// always does.
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

// runOnce runs the script once. It fails where scripts cannot be run.
func (t *tracking) runOnce(ctx context.Context, s TrackedScript) error {
	limit, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if t.run == nil {
		return errors.New("this instance cannot run programs")
	}
	return t.run(limit, s.Command)
}

// A tracked file contains a number, written by an administrator or a program, that
// adjusts the priority. A file that cannot be read counts as 0.

const (
	// filePollInterval is how often a tracked file is read.
	filePollInterval = time.Second
	// maxFileLen is the maximum length of a tracked file in octets.
	maxFileLen = 64
	// maxFileNumber bounds the number: with any weight it exceeds the range of
	// priorities.
	maxFileNumber = 254
)

func (f TrackedFile) name() string { return "file " + f.Path }

// effect returns what a number in the file does.
func (f TrackedFile) effect(number int) Tracked {
	e := Tracked{Name: f.name(), Delta: f.Weight * min(max(number, -maxFileNumber), maxFileNumber)}
	e.Fault = f.Weight == 0 && number != 0
	return e
}

// pollFile reads the file until ctx ends. It does not wait for a disk that hangs when it
// is to end: the file keeps its effect meanwhile.
func (t *tracking) pollFile(ctx context.Context, f TrackedFile, report func(Tracked)) {
	ticker := time.NewTicker(filePollInterval)
	defer ticker.Stop()
	said := ""
	for {
		var number int
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			number, err = t.readFile(f.Path)
		}()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		problem := ""
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problem = err.Error()
		}
		if problem != "" && problem != said {
			t.log.Warn("a tracked file is unusable and counts as 0", "file", f.Path, "err", err)
		}
		said = problem
		report(f.effect(number))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// readNumber returns the whole number in a file, or 0 and an error.
func readNumber(path string) (int, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0, errors.Join(err, fmt.Errorf("%s is not a regular file", path))
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileLen+1))
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	number, err := strconv.Atoi(word)
	if err != nil || len(text) > maxFileLen {
		return 0, fmt.Errorf("%s does not contain an integer", path)
	}
	return number, nil
}
