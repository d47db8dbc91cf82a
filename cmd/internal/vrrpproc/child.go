package vrrpproc

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/checker/program"
	"lvsd/vrrp"
)

const (
	// gcPercent lets the heap grow to five times what is in use before a collection:
	// it is small, and a collection delays advertisements.
	gcPercent = 400
	// lagInterval is how often the lateness of the timers is reported.
	lagInterval = time.Second
)

// Serve is the child process: it runs instances as its parent orders until in ends, and
// leaves the addresses in place then, as after a crash. Log is the child's own and must
// not block; setLevel changes its level.
func Serve(in io.Reader, out io.Writer, log *slog.Logger, setLevel func(string) error) error {
	// A terminal's ctrl-C and a service manager reach the whole process group, but only
	// the parent decides when to hand over. Caught and not ignored: what is ignored stays
	// so in the programs that are started from here. SIGPIPE: a log without a reader does
	// not end the process.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	debug.SetGCPercent(gcPercent)
	defer boundRealTime(log, realTimeLimit, normalTime)()
	c := &child{log: log, setLevel: setLevel, engines: map[uint64]*engine{}, dirty: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	go c.write(out)
	go c.showChanges()
	orders := gob.NewDecoder(bufio.NewReader(in))
	for {
		var o command
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return err
		}
		c.handle(o)
	}
}

type child struct {
	log      *slog.Logger
	setLevel func(string) error
	reports  reportQueue
	wake     chan struct{}

	mu      sync.Mutex
	engines map[uint64]*engine
	dirty   map[uint64]bool // whose status is to be reported
	lags    []time.Duration
}

type engine struct {
	*vrrp.Engine
	stop context.CancelFunc // nil until it runs
}

func (c *child) handle(o command) {
	e := c.engine(o.Instance)
	if e == nil && o.Do != doOpen && o.Do != doRefresh && o.Do != doLevel {
		return // it could not be opened, or has ended by itself: both were reported
	}
	switch o.Do {
	case doOpen:
		c.open(o)
	case doClose:
		_ = e.Close()
		c.forget(o.Instance)
	case doRun:
		c.run(o.Instance, e)
	case doStop:
		if e.stop != nil {
			e.stop()
		}
	case doUpdate:
		e.Update(*o.Config)
	case doHandOver:
		e.HandOver()
	case doTrack:
		e.SetTracked(o.Name, o.Delta, o.Fault)
	case doRefresh:
		c.markAll()
		c.flush()
		c.send(report{Reply: o.Reply})
	case doLevel:
		if err := c.setLevel(o.Name); err != nil {
			c.log.Error("the log level was rejected", "reason", err)
		}
	}
}

func (c *child) open(o command) {
	id := o.Instance
	if c.engine(id) != nil {
		c.send(report{Reply: o.Reply, Err: "already open"})
		return
	}
	e, err := vrrp.Open(*o.Config, vrrp.Options{
		Log:               c.log,
		Wake:              func() { c.mark(id) },
		OnEvent:           func(e vrrp.Event) { c.event(id, e) },
		OnMasterConflict:  func(k vrrp.MasterConflict) { c.send(report{Instance: id, MasterConflict: &k}) },
		OnAddressConflict: func(k vrrp.AddressConflict) { c.send(report{Instance: id, AddressConflict: &k}) },
		OnRestored:        func(r vrrp.Restored) { c.send(report{Instance: id, Restored: &r}) },
		ObserveLag:        c.recordLag,
		RunProgram:        runProgram,
	})
	if err != nil {
		c.send(report{Reply: o.Reply, Err: err.Error()})
		return
	}
	c.mu.Lock()
	c.engines[id] = &engine{Engine: e}
	c.mu.Unlock()
	c.mark(id)
	c.flush() // its status comes before the reply
	c.send(report{Reply: o.Reply})
}

// runProgram runs a tracked script.
func runProgram(ctx context.Context, command []string) error {
	e := program.Program{Command: command}.Run(ctx, nil)
	if e.OK() {
		return nil
	}
	return errors.New(e.String())
}

func (c *child) engine(id uint64) *engine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engines[id]
}

// event reports an event with the status that goes with it, so that nothing sees an older
// state after it.
func (c *child) event(id uint64, e vrrp.Event) {
	r := report{Instance: id, Event: &e}
	if own := c.engine(id); own != nil {
		s := own.Status()
		r.Status = &s
	}
	c.send(r)
}

func (c *child) run(id uint64, e *engine) {
	if e.stop != nil {
		return // it runs already
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	go func() {
		err := e.Run(ctx)
		stop()
		c.mark(id)
		c.flush()
		r := report{Instance: id, Ended: true}
		if err != nil {
			r.Err = err.Error()
		}
		c.send(r)
		c.forget(id)
	}()
}

func (c *child) forget(id uint64) {
	c.mu.Lock()
	delete(c.engines, id)
	c.mu.Unlock()
}

// mark records that a status changed. It never waits.
func (c *child) mark(id uint64) {
	c.mu.Lock()
	c.dirty[id] = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// markAll records that every status is to be reported.
func (c *child) markAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.engines {
		c.dirty[id] = true
	}
}

// flush reports each status that changed.
func (c *child) flush() {
	c.mu.Lock()
	changed := make(map[uint64]*engine, len(c.dirty))
	for id := range c.dirty {
		if e := c.engines[id]; e != nil {
			changed[id] = e
		}
	}
	clear(c.dirty)
	c.mu.Unlock()
	for id, e := range changed {
		s := e.Status()
		c.send(report{Instance: id, Status: &s})
	}
}

// recordLag records how late a timer was served. It never waits.
func (c *child) recordLag(lag time.Duration) {
	c.mu.Lock()
	c.lags = append(c.lags, lag)
	c.mu.Unlock()
}

// showChanges reports each status soon after it changed, and the lateness of timers.
func (c *child) showChanges() {
	ticker := time.NewTicker(lagInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.wake:
			c.flush()
		case <-ticker.C:
			c.mu.Lock()
			lags := c.lags
			c.lags = nil
			c.mu.Unlock()
			if len(lags) > 0 {
				c.send(report{Lags: lags})
			}
		}
	}
}

// send queues a report. It never waits: an instance's own goroutine comes here.
func (c *child) send(r report) {
	if c.reports.put(r) {
		c.log.Warn("the daemon does not read the reports of its VRRP process: reports are dropped")
	}
}

// write writes the reports. After some were dropped, the present status of all instances
// follows.
func (c *child) write(out io.Writer) {
	buffered := bufio.NewWriter(out)
	to := gob.NewEncoder(buffered)
	for {
		batch, dropped := c.reports.drain()
		for _, r := range batch {
			if to.Encode(r) != nil {
				return // the parent is gone: the end of in shows that, too
			}
		}
		if buffered.Flush() != nil {
			return
		}
		if dropped {
			c.markAll()
			c.flush()
		}
	}
}
