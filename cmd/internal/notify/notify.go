package notify

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lvsd/cmd/internal/event"
	"lvsd/cmd/internal/reload"
	"lvsd/config"
)

const (
	// room is the number of events that can wait to be distributed, queueRoom the number
	// that can wait for one target.
	room, queueRoom = 4096, 1024
	// stopLimit bounds how long Run waits at its end for the last events to be sent.
	stopLimit = 2 * time.Second
)

// Notifier distributes events to the targets of the configuration. Make one with
// New, give it a configuration by Prepare, and Run it.
type Notifier struct {
	log      *slog.Logger
	recorder *event.Recorder
	follower *event.Follower
	failures atomic.Uint64

	mu      sync.Mutex
	targets []*target
	running context.Context // of the targets' tasks; nil before Run
	tasks   sync.WaitGroup
}

// sender sends one event. It returns when that is done, or at its deadline.
type sender interface {
	send(ctx context.Context, e event.Event) error
}

// target is a program or webhook that receives events.
type target struct {
	name   string // shown; targets with the same name are the same
	sender sender
	all    bool     // every event
	vrrp   []string // otherwise those of these VRRP instances

	queue  chan event.Event
	cancel context.CancelFunc
	lost   atomic.Uint64
	// lastError is why the newest event was not sent; nil when it was.
	lastError atomic.Pointer[string]
}

// New makes a notifier of a recorder. It starts nothing: events recorded before Run
// wait for it.
func New(r *event.Recorder, log *slog.Logger) *Notifier {
	n := &Notifier{log: log, recorder: r}
	n.follower, _ = r.Follow(room)
	return n
}

// Failures is the number of events that a target did not receive.
func (n *Notifier) Failures() uint64 { return n.failures.Load() + n.follower.Missed() }

// Problems returns the targets that currently fail.
func (n *Notifier) Problems() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, t := range n.targets {
		if why := t.lastError.Load(); why != nil {
			all = append(all, fmt.Sprintf("%s: the newest event was not told: %s", t.name, *why))
		}
	}
	return all
}

// Prepare is the notifier's part in a start or reload. A missing program is logged and
// rejects nothing: a director must not stay down for it.
func (n *Notifier) Prepare(_, next *config.Config) (reload.Change, error) {
	wanted := targets(next)
	for _, t := range wanted {
		if p, ok := t.sender.(*program); ok {
			if err := p.check(); err != nil {
				n.log.Warn("a program that is to be told of events cannot be run", "program", p.command[0], "reason", err)
			}
		}
	}
	return reload.Change{Commit: func() { n.apply(wanted) }}, nil
}

// targets returns the targets of a configuration, each once.
func targets(c *config.Config) []*target {
	var all []*target
	add := func(name string, who sender) *target {
		for _, t := range all {
			if t.name == name {
				return t
			}
		}
		t := &target{name: name, sender: who}
		all = append(all, t)
		return t
	}
	addProgram := func(command []string) *target {
		return add("notify "+strings.Join(command, " "), &program{command: command})
	}
	if len(c.Global.Notify) > 0 {
		addProgram(c.Global.Notify).all = true
	}
	if c.Global.Webhook != "" {
		w := newWebhook(c.Global.Webhook)
		add("webhook "+w.shown, w).all = true
	}
	for _, e := range c.Instances {
		if len(e.Notify) > 0 {
			t := addProgram(e.Notify)
			t.vrrp = append(t.vrrp, e.Name)
		}
	}
	return all
}

// apply takes over a configuration. Targets in both keep their queues.
func (n *Notifier) apply(wanted []*target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.targets
	n.targets = nil
	for _, t := range wanted {
		i := slices.IndexFunc(old, func(o *target) bool { return o.name == t.name })
		if i >= 0 {
			old[i].all, old[i].vrrp = t.all, t.vrrp
			t = old[i]
			old = slices.Delete(slices.Clone(old), i, i+1)
		} else {
			t.queue = make(chan event.Event, queueRoom)
			n.begin(t)
		}
		n.targets = append(n.targets, t)
	}
	for _, t := range old {
		close(t.queue)
		if t.cancel != nil {
			t.cancel()
		}
	}
}

// begin starts a target's task, if the notifier runs.
func (n *Notifier) begin(t *target) {
	if n.running == nil {
		return
	}
	ctx, cancel := context.WithCancel(n.running)
	t.cancel = cancel
	n.tasks.Go(func() { n.serve(ctx, t) })
}

// Run distributes events until the context ends, and then waits up to stopLimit for
// the last ones to be sent.
func (n *Notifier) Run(ctx context.Context) error {
	tasks, cancel := context.WithCancel(context.Background())
	defer cancel()
	n.mu.Lock()
	n.running = tasks
	for _, t := range n.targets {
		n.begin(t)
	}
	n.mu.Unlock()
	for open := true; open; {
		select {
		case e := <-n.follower.C:
			n.distribute(e)
		case <-ctx.Done():
			n.recorder.Unfollow(n.follower)
			for e := range n.follower.C {
				n.distribute(e)
			}
			open = false
		}
	}
	for _, t := range n.targets { // no configuration is applied any more
		close(t.queue)
	}
	timer := time.AfterFunc(stopLimit, cancel)
	defer timer.Stop()
	n.tasks.Wait()
	return nil
}

// distribute adds an event to the queues of the targets that want it.
func (n *Notifier) distribute(e event.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.targets {
		if !t.wants(e) {
			continue
		}
		select {
		case t.queue <- e:
		default:
			n.failed(t, e, fmt.Errorf("%d events wait already", queueRoom))
		}
	}
}

func (t *target) wants(e event.Event) bool {
	return t.all || e.Kind == event.KindVRRP && slices.Contains(t.vrrp, e.VRRP)
}

// serve sends the events of one target.
func (n *Notifier) serve(ctx context.Context, t *target) {
	for e := range t.queue {
		if err := t.sender.send(ctx, e); err != nil {
			n.failed(t, e, err)
			continue
		}
		if t.lastError.Swap(nil) != nil {
			n.log.Info("events are told again", "to", t.name, "lost", t.lost.Swap(0))
		}
	}
}

// failed counts an event that was not sent, and logs the first in a row.
func (n *Notifier) failed(t *target, e event.Event, err error) {
	n.failures.Add(1)
	t.lost.Add(1)
	text := err.Error()
	if t.lastError.Swap(&text) == nil {
		n.log.Warn("an event was not told", "to", t.name, "event", e.ID, "reason", err)
	}
}

// check returns what would keep a program from being run.
func (p *program) check() error {
	info, err := os.Stat(p.command[0])
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable", p.command[0])
	}
	return nil
}
