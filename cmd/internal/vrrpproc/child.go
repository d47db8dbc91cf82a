package vrrpproc

// The process of the elections, from its own side. It obeys its parent and
// nobody else, and it ends with it: then the addresses stay where they are, as
// after any crash.

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
	// garbage lets the heap grow to five times what is in use before it is
	// collected: it is small, and a collection takes time from the adverts.
	garbage = 400
	// reports is how many wait for the parent; see child.tell.
	reports = 1024
	// lagsTold is how often the lateness of the timers is told.
	lagsTold = time.Second
)

// Serve runs elections as the parent orders, until in ends. Log is the child's
// own; setLevel changes its level.
func Serve(in io.Reader, out io.Writer, log *slog.Logger, setLevel func(string) error) error {
	// A terminal's ctrl-C and a service manager reach the whole group. Who hands
	// over, and when, is the parent's to say.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	debug.SetGCPercent(garbage)
	c := &child{log: log, setLevel: setLevel, engines: map[uint64]*engine{}, reports: make(chan report, reports), dirty: map[uint64]bool{}, wake: make(chan struct{}, 1)}
	go c.write(out)
	go c.show()
	orders := gob.NewDecoder(bufio.NewReader(in))
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return err
		}
		c.obey(o)
	}
}

type child struct {
	log      *slog.Logger
	setLevel func(string) error
	engines  map[uint64]*engine // changed by obey alone, with mu held
	reports  chan report
	wake     chan struct{}

	mu    sync.Mutex
	dirty map[uint64]bool // whose status is to be told
	lags  []time.Duration
}

type engine struct {
	*vrrp.Engine
	stop context.CancelFunc // nil until it runs
}

func (c *child) obey(o order) {
	e := c.engine(o.Election)
	if e == nil && o.Do != doOpen && o.Do != doShow && o.Do != doLevel {
		return // it has ended by itself, which was told
	}
	switch o.Do {
	case doOpen:
		c.open(o)
	case doClose:
		_ = e.Close()
		c.forget(o.Election)
	case doRun:
		c.run(o.Election, e)
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
	case doShow:
		c.mu.Lock()
		for id := range c.engines {
			c.dirty[id] = true
		}
		c.mu.Unlock()
		c.flush()
		c.tell(report{Answer: o.Answer})
	case doLevel:
		if err := c.setLevel(o.Name); err != nil {
			c.log.Error("the log level was refused", "reason", err)
		}
	}
}

func (c *child) open(o order) {
	id := o.Election
	e, err := vrrp.Open(*o.Config, vrrp.Options{
		Log:              c.log,
		Wake:             func() { c.mark(id) },
		OnEvent:          func(e vrrp.Event) { c.event(id, e) },
		OnMasterConflict: func(k vrrp.MasterConflict) { c.tell(report{Election: id, Contest: &k}) },
		ObserveLag:       c.late,
		RunProgram:       runProgram,
	})
	if err != nil {
		c.tell(report{Answer: o.Answer, Err: err.Error()})
		return
	}
	c.mu.Lock()
	c.engines[id] = &engine{Engine: e}
	c.mu.Unlock()
	c.mark(id)
	c.flush() // its status comes before the answer
	c.tell(report{Answer: o.Answer})
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

// event tells an event with the status that goes with it: who hears of a change
// must not see an older state.
func (c *child) event(id uint64, e vrrp.Event) {
	r := report{Election: id, Event: &e}
	if own := c.engine(id); own != nil {
		s := own.Status()
		r.Status = &s
	}
	c.tell(r)
}

func (c *child) run(id uint64, e *engine) {
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	go func() {
		err := e.Run(ctx)
		stop()
		c.mark(id)
		c.flush()
		r := report{Election: id, Ended: true}
		if err != nil {
			r.Err = err.Error()
		}
		c.tell(r)
		c.forget(id)
	}()
}

func (c *child) forget(id uint64) {
	c.mu.Lock()
	delete(c.engines, id)
	c.mu.Unlock()
}

// mark notes that a status changed. It never waits.
func (c *child) mark(id uint64) {
	c.mu.Lock()
	c.dirty[id] = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// flush tells each status that changed.
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
		c.tell(report{Election: id, Status: &s})
	}
}

// late notes how late a timer was served. It never waits.
func (c *child) late(lag time.Duration) {
	c.mu.Lock()
	c.lags = append(c.lags, lag)
	c.mu.Unlock()
}

// show tells what changed, soon after it did.
func (c *child) show() {
	ticker := time.NewTicker(lagsTold)
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
				c.tell(report{Lags: lags})
			}
		}
	}
}

// tell queues a report. An election's own goroutine comes here with an event:
// it must not wait for a parent that stands still. One that does not read a
// thousand reports gets no more of them, and hears the present state when it
// asks next.
func (c *child) tell(r report) {
	select {
	case c.reports <- r:
	default:
		c.log.Warn("the daemon does not read what its elections tell it: a report is lost")
	}
}

func (c *child) write(out io.Writer) {
	buffered := bufio.NewWriter(out)
	to := gob.NewEncoder(buffered)
	for r := range c.reports {
		err := to.Encode(r)
		if err == nil && len(c.reports) == 0 {
			err = buffered.Flush()
		}
		if err != nil {
			return // the parent is gone: the end of in says so, too
		}
	}
}
