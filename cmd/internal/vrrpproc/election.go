package vrrpproc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lvsd/vrrp"
)

// reasonLost is the reason of a state that is not known: see vrrp's Reasons.
const reasonLost = "process_ended"

// Instance is one election in the process. It does what a [vrrp.Engine] does.
type Instance struct {
	p    *Process
	id   uint64
	name string

	mu      sync.Mutex
	config  vrrp.Config
	tracked map[string]order // what SetTracked said, by name
	status  vrrp.Status
	runs    bool       // it was told to
	stops   bool       // it was told to
	gone    bool       // with its process, until it is in another one
	end     chan error // one value: of Run
}

// Open opens an election's sockets, as [vrrp.Open] does, and says why it could
// not.
func (p *Process) Open(cfg vrrp.Config) (*Instance, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errGone
	}
	if p.to == nil {
		if err := p.start(); err != nil {
			p.mu.Unlock()
			return nil, err
		}
	}
	p.last++
	e := &Instance{p: p, id: p.last, name: cfg.Name, config: cfg, tracked: map[string]order{}, end: make(chan error, 1),
		status: vrrp.Status{Name: cfg.Name, Interface: cfg.Interface, VRID: cfg.VRID, State: vrrp.Init}}
	p.instances[e.id] = e
	answer := p.ask(order{Do: doOpen, Election: e.id, Config: &cfg})
	p.mu.Unlock()
	if err := await(answer); err != nil {
		p.forget(e)
		return nil, err
	}
	return e, nil
}

// await waits for an answer.
func await(answer <-chan report) error {
	select {
	case r, ok := <-answer:
		if !ok {
			return errGone
		}
		if r.Err != "" {
			return errors.New(r.Err)
		}
		return nil
	case <-time.After(answerLimit):
		return fmt.Errorf("the process of the elections did not answer within %v", answerLimit)
	}
}

func (p *Process) forget(e *Instance) {
	p.mu.Lock()
	delete(p.instances, e.id)
	p.mu.Unlock()
}

// send gives the process an order for this election.
func (e *Instance) send(o order) {
	o.Election = e.id
	e.p.mu.Lock()
	e.p.send(o)
	e.p.mu.Unlock()
}

// Run runs the election until the context ends; then it hands over, and Run
// returns when the addresses are given up.
func (e *Instance) Run(ctx context.Context) error {
	defer e.p.forget(e)
	e.mu.Lock()
	e.runs = true
	e.send(order{Do: doRun}) // without a process again does it
	e.mu.Unlock()
	select {
	case err := <-e.end:
		return err
	case <-ctx.Done():
	}
	e.mu.Lock()
	e.stops = true
	if e.gone {
		e.over(errGone)
	}
	e.send(order{Do: doStop})
	e.mu.Unlock()
	return <-e.end
}

// over ends Run.
func (e *Instance) over(err error) {
	select {
	case e.end <- err:
	default: // it has been told
	}
}

// Close ends an election that was never Run.
func (e *Instance) Close() error {
	e.send(order{Do: doClose})
	e.p.forget(e)
	return nil
}

// Update replaces the configuration; see [vrrp.Engine.Update].
func (e *Instance) Update(cfg vrrp.Config) {
	e.mu.Lock()
	e.config = cfg
	e.mu.Unlock()
	e.send(order{Do: doUpdate, Config: &cfg})
}

// HandOver makes a master resign; see [vrrp.Engine.HandOver].
func (e *Instance) HandOver() { e.send(order{Do: doHandOver}) }

// SetTracked states what something outside does to the election; see
// [vrrp.Engine.SetTracked].
func (e *Instance) SetTracked(name string, delta int, fault bool) {
	o := order{Do: doTrack, Name: name, Delta: delta, Fault: fault}
	e.mu.Lock()
	e.tracked[name] = o
	e.mu.Unlock()
	e.send(o)
}

// Status is the newest that was told; [Process.Refresh] has it told anew.
func (e *Instance) Status() vrrp.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

// take takes what the process reports.
func (e *Instance) take(r report) {
	e.mu.Lock()
	if r.Status != nil {
		e.status = *r.Status
	}
	e.mu.Unlock()
	if r.Ended {
		var err error
		if r.Err != "" {
			err = errors.New(r.Err)
		}
		e.over(err)
	}
}

// lost says that nobody knows the state any more. An election that was about to
// end has ended, without handing over.
func (e *Instance) lost() {
	now := time.Now()
	e.mu.Lock()
	was := e.status
	e.status.State, e.status.Since, e.status.Reason, e.status.Detail = vrrp.Init, now, reasonLost, "the process of the elections ended and is started again"
	e.gone = true
	if e.stops {
		e.over(errGone)
	}
	e.mu.Unlock()
	if e.p.o.OnEvent != nil {
		e.p.o.OnEvent(vrrp.Event{At: now, Name: e.name, From: was.State, To: vrrp.Init, Reason: reasonLost})
	}
}

// again opens the election in another process, and runs it if it ran.
func (e *Instance) again() error {
	e.mu.Lock()
	if e.stops {
		e.mu.Unlock()
		return nil
	}
	cfg := e.config
	e.p.mu.Lock()
	answer := e.p.ask(order{Do: doOpen, Election: e.id, Config: &cfg})
	e.p.mu.Unlock()
	for _, o := range e.tracked {
		e.send(o)
	}
	if e.runs {
		e.send(order{Do: doRun})
	}
	e.gone = false
	e.mu.Unlock()
	err := await(answer)
	if err != nil {
		e.mu.Lock()
		if e.gone = true; e.stops {
			e.over(errGone)
		}
		e.status.Detail = err.Error()
		e.mu.Unlock()
	}
	return err
}
