// Package election runs the elections in a process of their own, so that
// nothing else in the daemon delays an advert: not its garbage, not ten thousand
// probes, not a reload. The process is this same program, under a real-time
// policy where it has the right to one. A [Process] starts it, carries orders and
// reports, and starts it again when it ends unasked. It never decides anything
// about an election.
package vrrpproc

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lvsd/vrrp"
)

const (
	// realTime is the priority under SCHED_RR: above everything that has none,
	// below the kernel's own threads (50).
	realTime = 10
	// answerLimit is how long the process may take to answer: opening sockets
	// takes well under a millisecond.
	answerLimit = 10 * time.Second
	// soon and seldom are the least and the longest pause before what ended is
	// started again.
	soon, seldom = 100 * time.Millisecond, 5 * time.Second
	// showLimit bounds how long Refresh waits.
	showLimit = 500 * time.Millisecond
	// fresh is how old states may be that Refresh does not ask for again.
	fresh = 50 * time.Millisecond
)

// errGone is what an order gets when the process ended before it was done.
var errGone = errors.New("the process of the elections has ended")

// Options are what a Process needs of the daemon. OnEvent and ObserveLag may be
// nil, and must not block.
type Options struct {
	// Command is the program and its arguments that call [Serve] with its own
	// standard input and output.
	Command    []string
	Log        *slog.Logger
	OnEvent    func(vrrp.Event)
	OnContest  func(vrrp.MasterConflict) // may be nil too
	Wake       func()                    // a status changed
	ObserveLag func(time.Duration)
}

// Process is the elections' process and what is known of it. It starts with the
// first election that is opened.
type Process struct {
	o Options

	mu        sync.Mutex
	to        *pipe // nil: it does not run
	instances map[uint64]*Instance
	answers   map[uint64]chan report
	last      uint64 // of the numbers of elections and answers
	level     string
	closed    bool
	shown     time.Time
	tasks     sync.WaitGroup
}

// New makes a Process and starts nothing.
func New(o Options) *Process {
	return &Process{o: o, instances: map[uint64]*Instance{}, answers: map[uint64]chan report{}}
}

// SetLevel gives the process the level of its log.
func (p *Process) SetLevel(level string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = level
	p.send(order{Do: doLevel, Name: level})
}

// Close ends the process. Elections that still run are not handed over; end
// them before.
func (p *Process) Close() {
	p.mu.Lock()
	p.closed = true
	if p.to != nil {
		p.to.close()
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

// Refresh waits for the present state of all elections, for a moment at most.
func (p *Process) Refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	p.mu.Lock()
	if p.to == nil || len(p.instances) == 0 || time.Since(p.shown) < fresh {
		p.mu.Unlock()
		return
	}
	answer := p.ask(order{Do: doShow})
	p.mu.Unlock()
	select {
	case <-answer:
		p.mu.Lock()
		p.shown = time.Now()
		p.mu.Unlock()
	case <-ctx.Done():
	}
}

// ask sends an order that is answered; the channel is closed when it will not
// be. The caller holds the lock.
func (p *Process) ask(o order) <-chan report {
	p.last++
	o.Answer = p.last
	answer := make(chan report, 1)
	p.answers[o.Answer] = answer
	p.send(o)
	return answer
}

// send gives the process an order, if it runs. The caller holds the lock.
func (p *Process) send(o order) {
	if p.to != nil {
		p.to.put(o)
	}
}

// start starts the process. The caller holds the lock.
func (p *Process) start() error {
	cmd := exec.Command(p.o.Command[0], p.o.Command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	noRealTime, err := startRealTime(cmd)
	if err != nil {
		return fmt.Errorf("failed to start the process of the elections: %w", err)
	}
	if noRealTime != nil {
		p.o.Log.Warn("the elections run without a real-time policy: busy processors may delay adverts", "reason", noRealTime, "remedy", "give CAP_SYS_NICE, or LimitRTPRIO=10 in the unit")
	}
	to := newPipe(in)
	p.to = to
	if p.level != "" {
		p.send(order{Do: doLevel, Name: p.level})
	}
	p.tasks.Go(to.run)
	p.tasks.Go(func() {
		p.read(out)
		to.close()
		err := cmd.Wait()
		p.ended(to, err)
	})
	return nil
}

// startRealTime starts a command whose threads are all under the real-time
// policy: they inherit it from the thread that makes the process, which gives
// its own back at once. Without the right to it the command starts without.
func startRealTime(cmd *exec.Cmd) (refused, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return nil, err
	}
	policy := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realTime}
	if refused = unix.SchedSetAttr(0, &policy, 0); refused == nil {
		defer func() {
			if e := unix.SchedSetAttr(0, before, 0); e != nil {
				panic(e) // a thread of the daemon's would starve the elections
			}
		}()
	}
	return refused, cmd.Start()
}

// read takes reports until there are no more.
func (p *Process) read(out io.Reader) {
	reports := gob.NewDecoder(bufio.NewReader(out))
	for {
		var r report
		if reports.Decode(&r) != nil {
			return
		}
		p.take(r)
	}
}

func (p *Process) take(r report) {
	p.mu.Lock()
	e := p.instances[r.Election]
	answer := p.answers[r.Answer]
	if answer != nil {
		delete(p.answers, r.Answer)
		answer <- r
	}
	p.mu.Unlock()
	if e != nil {
		e.take(r)
	}
	if r.Status != nil && p.o.Wake != nil {
		p.o.Wake()
	}
	if r.Event != nil && p.o.OnEvent != nil {
		p.o.OnEvent(*r.Event)
	}
	if r.Contest != nil && p.o.OnContest != nil {
		p.o.OnContest(*r.Contest)
	}
	if p.o.ObserveLag != nil {
		for _, lag := range r.Lags {
			p.o.ObserveLag(lag)
		}
	}
}

// ended is the end of the process. One that nobody asked for is told, and the
// elections begin anew in another one: what addresses they held are still there,
// and an election serves what it finds until another master is heard.
func (p *Process) ended(was *pipe, err error) {
	p.mu.Lock()
	if p.to == was {
		p.to = nil
	}
	for _, a := range p.answers {
		close(a)
	}
	clear(p.answers)
	closed := p.closed
	var lost []*Instance
	for _, e := range p.instances {
		lost = append(lost, e)
	}
	p.mu.Unlock()
	if closed || len(lost) == 0 {
		return
	}
	p.o.Log.Error("the process of the elections ended by itself and is started again; addresses stay meanwhile", "reason", err)
	for _, e := range lost {
		e.lost()
	}
	for pause := soon; len(lost) > 0; pause = min(2*pause, seldom) {
		time.Sleep(pause)
		lost = p.revive(lost)
	}
}

// revive starts the process again with the elections that ran, and answers those
// that must wait for another try.
func (p *Process) revive(lost []*Instance) (still []*Instance) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	if p.to == nil {
		if err := p.start(); err != nil {
			p.mu.Unlock()
			p.o.Log.Error("the elections cannot be started again yet", "reason", err)
			return lost
		}
	}
	p.mu.Unlock()
	for _, e := range lost {
		switch err := e.again(); {
		case errors.Is(err, errGone):
			return nil // this process ended too, and its end sees to all of them
		case err != nil:
			p.o.Log.Error("an election cannot be started again yet", "vrrp", e.name, "reason", err)
			still = append(still, e)
		}
	}
	return still
}

// pipe writes orders in a goroutine of its own: whoever has one never waits for
// a process that does not read.
type pipe struct {
	out io.WriteCloser

	mu     sync.Mutex
	more   sync.Cond
	queue  []order
	closed bool
}

func newPipe(out io.WriteCloser) *pipe {
	w := &pipe{out: out}
	w.more.L = &w.mu
	return w
}

func (w *pipe) put(o order) {
	w.mu.Lock()
	w.queue = append(w.queue, o)
	w.mu.Unlock()
	w.more.Signal()
}

// close writes what waits, then ends the process by the end of its input.
func (w *pipe) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.more.Signal()
}

func (w *pipe) run() {
	defer w.out.Close()
	to := gob.NewEncoder(w.out)
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.more.Wait()
		}
		orders := w.queue
		w.queue = nil
		w.mu.Unlock()
		if len(orders) == 0 {
			return
		}
		for _, o := range orders {
			if err := to.Encode(o); err != nil {
				if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
					panic(err) // a value that gob cannot carry
				}
				return
			}
		}
	}
}
