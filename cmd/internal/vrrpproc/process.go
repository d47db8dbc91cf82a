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
	"time"

	"golang.org/x/sys/unix"

	"lvsd/vrrp"
)

const (
	// realTime is the priority under SCHED_RR: above everything that has none, below
	// the kernel's own threads (50).
	realTime = 10
	// replyLimit is how long the process may take to reply: opening sockets takes
	// well under a millisecond.
	replyLimit = 10 * time.Second
	// minBackoff and maxBackoff bound the pause before the process is started again,
	// or an instance is reopened.
	minBackoff, maxBackoff = 100 * time.Millisecond, 5 * time.Second
	// refreshLimit bounds how long Refresh waits.
	refreshLimit = 500 * time.Millisecond
	// freshFor is how old a status may be that Refresh does not ask for again.
	freshFor = 50 * time.Millisecond
)

// errEnded is the reply to an order when the process ended before it was carried out.
var errEnded = errors.New("the VRRP process has exited")

// Options are what a Process needs of the daemon. The functions may be nil, and must not
// block.
type Options struct {
	// Command is the program and its arguments that call [Serve] with its own
	// standard input and output.
	Command           []string
	Log               *slog.Logger
	OnEvent           func(vrrp.Event)
	OnMasterConflict  func(vrrp.MasterConflict)
	OnAddressConflict func(vrrp.AddressConflict)
	OnRestored        func(vrrp.Restored)
	Wake              func() // a status changed
	ObserveLag        func(time.Duration)
}

// Process is the child process and its instances. It starts with the first instance that
// is opened.
type Process struct {
	o Options

	// mu guards all below, and the instances.
	mu          sync.Mutex
	to          *pipe // nil: the process does not run
	instances   map[uint64]*Instance
	replies     map[uint64]chan report
	last        uint64 // of the numbers of instances and replies
	level       string
	supervising bool          // the supervisor runs
	closed      chan struct{} // closed by Close
	refreshed   time.Time
	tasks       sync.WaitGroup
}

// New makes a Process and starts nothing.
func New(o Options) *Process {
	return &Process{o: o, instances: map[uint64]*Instance{}, replies: map[uint64]chan report{}, closed: make(chan struct{})}
}

// SetLevel sets the level of the process's log.
func (p *Process) SetLevel(level string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = level
	p.send(command{Do: doLevel, Name: level})
}

// Close ends the process. Instances that are still running do not hand over; end them
// first.
func (p *Process) Close() {
	p.mu.Lock()
	if !p.isClosed() {
		close(p.closed)
	}
	if p.to != nil {
		p.to.close()
	}
	p.mu.Unlock()
	p.tasks.Wait()
}

func (p *Process) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// Refresh waits for the current status of all instances, for half a second at most.
func (p *Process) Refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	p.mu.Lock()
	if p.to == nil || len(p.instances) == 0 || time.Since(p.refreshed) < freshFor {
		p.mu.Unlock()
		return
	}
	reply := p.request(command{Do: doRefresh})
	p.mu.Unlock()
	select {
	case <-reply:
		p.mu.Lock()
		p.refreshed = time.Now()
		p.mu.Unlock()
	case <-ctx.Done():
	}
}

// request sends an order that has a reply; the channel is closed when none will come.
// The caller holds the lock.
func (p *Process) request(o command) <-chan report {
	p.last++
	o.Reply = p.last
	reply := make(chan report, 1)
	p.replies[o.Reply] = reply
	p.send(o)
	return reply
}

// send sends an order, if the process runs. The caller holds the lock.
func (p *Process) send(o command) {
	if p.to != nil {
		p.to.put(o)
	}
}

// await waits for a reply.
func await(reply <-chan report) error {
	timer := time.NewTimer(replyLimit)
	defer timer.Stop()
	select {
	case r, ok := <-reply:
		if !ok {
			return errEnded
		}
		if r.Err != "" {
			return errors.New(r.Err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("the VRRP process did not reply within %v", replyLimit)
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
		return fmt.Errorf("failed to start the VRRP process: %w", err)
	}
	if noRealTime != nil {
		p.o.Log.Warn("VRRP runs without real-time scheduling: busy processors may delay adverts", "reason", noRealTime, "remedy", "grant CAP_SYS_NICE, or set LimitRTPRIO=10 in the unit")
	}
	to := newPipe(in)
	p.to = to
	if p.level != "" {
		p.send(command{Do: doLevel, Name: p.level})
	}
	p.tasks.Go(to.run)
	p.tasks.Go(func() {
		p.read(out)
		to.close()
		p.ended(cmd.Wait())
	})
	return nil
}

// startRealTime starts a command with all its threads under the real-time policy: they
// inherit it from the thread that starts the process, which restores its own at once.
// Without the right to it the command starts under the normal policy.
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
				panic(e) // a real-time thread of the daemon would starve the child process
			}
		}()
	}
	return refused, cmd.Start()
}

// read handles reports until there are no more.
func (p *Process) read(out io.Reader) {
	reports := gob.NewDecoder(bufio.NewReader(out))
	for {
		var r report
		if reports.Decode(&r) != nil {
			return
		}
		p.handle(r)
	}
}

func (p *Process) handle(r report) {
	p.mu.Lock()
	if reply := p.replies[r.Reply]; reply != nil {
		delete(p.replies, r.Reply)
		reply <- r
	}
	if i := p.instances[r.Instance]; i != nil {
		if r.Status != nil {
			i.status = *r.Status
		}
		if r.Ended {
			var err error
			if r.Err != "" {
				err = errors.New(r.Err)
			}
			i.finish(err)
		}
	}
	p.mu.Unlock()
	if r.Status != nil && p.o.Wake != nil {
		p.o.Wake()
	}
	if r.Event != nil && p.o.OnEvent != nil {
		p.o.OnEvent(*r.Event)
	}
	if r.MasterConflict != nil && p.o.OnMasterConflict != nil {
		p.o.OnMasterConflict(*r.MasterConflict)
	}
	if r.Restored != nil && p.o.OnRestored != nil {
		p.o.OnRestored(*r.Restored)
	}
	if r.AddressConflict != nil && p.o.OnAddressConflict != nil {
		p.o.OnAddressConflict(*r.AddressConflict)
	}
	if p.o.ObserveLag != nil {
		for _, lag := range r.Lags {
			p.o.ObserveLag(lag)
		}
	}
}

// ended is called when the process has ended. If nothing asked for that, its instances
// are detached, and the supervisor reopens them in another process: the addresses that
// they had are still there, and an instance adopts what it finds until another master
// advertises.
func (p *Process) ended(err error) {
	var events []vrrp.Event
	p.mu.Lock()
	p.to = nil
	for _, reply := range p.replies {
		close(reply)
	}
	clear(p.replies)
	now := time.Now()
	for _, i := range p.instances {
		if i.opened && !i.detached && !p.isClosed() {
			events = append(events, i.detach(now))
		}
	}
	if len(events) > 0 {
		p.o.Log.Error("the VRRP process exited unexpectedly and is restarted; addresses are kept meanwhile", "reason", err)
		p.supervise()
	}
	p.mu.Unlock()
	if p.o.OnEvent != nil {
		for _, e := range events {
			p.o.OnEvent(e)
		}
	}
}

// supervise starts the supervisor where it does not run yet. The caller holds the lock.
func (p *Process) supervise() {
	if p.supervising {
		return
	}
	p.supervising = true
	p.tasks.Go(func() {
		for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
			select {
			case <-time.After(backoff):
			case <-p.closed:
				return
			}
			if p.reopen() {
				return
			}
		}
	})
}

// reopen starts the process if there is none, and reopens the detached instances. When
// none is left, done, the supervisor has ended.
func (p *Process) reopen() (done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.instances {
		if !i.detached || i.stopping || p.isClosed() {
			continue
		}
		if p.to == nil {
			if err := p.start(); err != nil {
				p.o.Log.Error("failed to restart the VRRP process, will be retried", "reason", err)
				return false
			}
		}
		if err := i.reopen(); err != nil {
			p.o.Log.Error("failed to restart a VRRP instance, will be retried", "vrrp", i.name, "reason", err)
		}
	}
	for _, i := range p.instances {
		if i.detached && !i.stopping {
			return false
		}
	}
	p.supervising = false
	return true
}
