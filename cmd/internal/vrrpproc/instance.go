package vrrpproc

import (
	"context"
	"time"

	"lvsd/vrrp"
)

// reasonProcessEnded is the reason of a state that is not known: see vrrp's Reasons.
const reasonProcessEnded = "process_ended"

// Instance is one VRRP instance in the child process. It does what a [vrrp.Engine] does.
type Instance struct {
	p    *Process
	id   uint64
	name string
	end  chan error // one value: of Run

	// Guarded by the process's lock.
	config   vrrp.Config
	tracked  map[string]command // of SetTracked, by name
	status   vrrp.Status
	opened   bool // Open has succeeded
	running  bool // Run was called
	stopping bool // Run's context has ended
	detached bool // the process ended, and the instance is not open in another one
}

// Open opens an instance's sockets, as [vrrp.Open] does. The error is why it could not.
func (p *Process) Open(cfg vrrp.Config) (*Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed() {
		return nil, errEnded
	}
	if p.to == nil {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	p.last++
	i := &Instance{p: p, id: p.last, name: cfg.Name, config: cfg, tracked: map[string]command{}, end: make(chan error, 1),
		status: vrrp.Status{Name: cfg.Name, Interface: cfg.Interface, VRID: cfg.VRID, State: vrrp.Init}}
	p.instances[i.id] = i
	if _, err := i.open(); err != nil {
		i.close()
		return nil, err
	}
	i.opened = true
	return i, nil
}

// open opens the instance in the process that runs now, which it returns. The caller
// holds the lock, which is released while the process works.
func (i *Instance) open(more ...command) (in *pipe, err error) {
	in = i.p.to
	cfg := i.config
	cfg.AwaitInterface = cfg.AwaitInterface || i.opened
	reply := i.p.request(command{Do: doOpen, Instance: i.id, Config: &cfg})
	for _, o := range more {
		i.send(o)
	}
	i.p.mu.Unlock()
	err = await(reply)
	i.p.mu.Lock()
	if err == nil && i.p.to != in {
		err = errEnded // and maybe another process runs already
	}
	return in, err
}

// send sends the process an order for this instance. The caller holds the lock.
func (i *Instance) send(o command) {
	o.Instance = i.id
	i.p.send(o)
}

// close closes the instance where it may be open, and forgets it. The caller holds the
// lock.
func (i *Instance) close() {
	i.send(command{Do: doClose})
	delete(i.p.instances, i.id)
}

// Run runs the instance until the context ends; then it hands over, and Run returns when
// the addresses are given up.
func (i *Instance) Run(ctx context.Context) error {
	i.p.mu.Lock()
	i.running = true
	i.send(command{Do: doRun}) // without a process, reopen sends it
	i.p.mu.Unlock()
	defer func() {
		i.p.mu.Lock()
		delete(i.p.instances, i.id)
		i.p.mu.Unlock()
	}()
	select {
	case err := <-i.end:
		return err
	case <-ctx.Done():
	}
	i.p.mu.Lock()
	i.stopping = true
	if i.detached {
		i.finish(errEnded)
	}
	i.send(command{Do: doStop})
	i.p.mu.Unlock()
	return <-i.end
}

// finish ends Run. The caller holds the lock.
func (i *Instance) finish(err error) {
	select {
	case i.end <- err:
	default: // it has ended already
	}
}

// Close ends an instance that was never Run.
func (i *Instance) Close() error {
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	i.close()
	return nil
}

// Update replaces the configuration; see [vrrp.Engine.Update].
func (i *Instance) Update(cfg vrrp.Config) {
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	i.config = cfg
	i.send(command{Do: doUpdate, Config: &cfg})
}

// HandOver makes a master resign; see [vrrp.Engine.HandOver].
func (i *Instance) HandOver() {
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	i.send(command{Do: doHandOver})
}

// SetTracked adjusts the priority for something outside the instance; see
// [vrrp.Engine.SetTracked].
func (i *Instance) SetTracked(name string, delta int, fault bool) {
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	o := command{Do: doTrack, Name: name, Delta: delta, Fault: fault}
	i.tracked[name] = o
	i.send(o)
}

// Status returns the newest status that the process reported; see [Process.Refresh].
func (i *Instance) Status() vrrp.Status {
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	return i.status
}

// detach records that the process ended with this instance: its state is not known. One
// that was stopping has ended, without handing over. The caller holds the lock.
func (i *Instance) detach(now time.Time) vrrp.Event {
	e := vrrp.Event{At: now, Name: i.name, From: i.status.State, To: vrrp.Init, Reason: reasonProcessEnded, Priority: i.status.Priority}
	i.status.State, i.status.Since, i.status.Reason, i.status.Detail = vrrp.Init, now, reasonProcessEnded, "the VRRP process exited and is restarted"
	i.detached = true
	if i.stopping {
		i.finish(errEnded)
	}
	return e
}

// reopen opens a detached instance in the process that runs now, and runs it if it was
// running. The supervisor alone calls it, with the lock held, which is released
// meanwhile: an instance that is closed or stopped at that moment is closed there too.
func (i *Instance) reopen() error {
	var more []command
	for _, o := range i.tracked {
		more = append(more, o)
	}
	if i.running {
		more = append(more, command{Do: doRun})
	}
	in, err := i.open(more...)
	switch {
	case i.p.to != in: // it ended too: still detached
		return err
	case i.p.instances[i.id] != i, i.stopping:
		return nil // the order to close or stop it was sent after those above
	case err != nil:
		i.status.Detail = err.Error()
		return err
	}
	i.detached = false
	return nil
}
