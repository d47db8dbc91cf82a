package notify

import (
	"context"
	"fmt"
	"log/slog"
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
	// that can wait for one target, of which there may be one a service.
	room, queueRoom, serviceRoom = 4096, 1024, 128
	// stopLimit bounds how long Run waits at its end for the last events to be sent.
	stopLimit = 2 * time.Second
	// batchLimit bounds the events of one message where they are gathered.
	batchLimit = 200
)

// Notifier distributes events to the targets of the configuration. Make one with
// New, give it a configuration by Read, and Run it.
type Notifier struct {
	log      *slog.Logger
	recorder *event.Recorder
	follower *event.Follower
	failures atomic.Uint64

	mu      sync.Mutex
	targets []*target
	groups  groups
	running context.Context // of the targets' tasks; nil before Run
	tasks   sync.WaitGroup
}

// sender sends events: one, or several where its target gathers them. It returns when
// that is done, or at its deadline.
type sender interface {
	send(ctx context.Context, events []event.Event) error
}

// target is a program, webhook or mailbox that receives events.
type target struct {
	key    string // targets with the same key are the same
	name   string // shown, without what may be secret
	sender sender
	filter
	gather time.Duration // how long events are gathered after the first; 0: one is sent at a time

	queue  chan *event.Event
	cancel context.CancelFunc
	lost   atomic.Uint64
	// lastError is why the newest event was not sent; nil when it was.
	lastError atomic.Pointer[string]
}

// filter is which events a target wants.
type filter struct {
	all    bool     // those of all kinds
	kinds  []string // those of these kinds
	vrrp   []string // those of these VRRP instances
	states []string // when set: changes of the instance, or of the group, to these states alone
	group  string   // a sync group, whose changes the target gets in place of its instances'
	// A service, and the changes of it and its servers that the target wants.
	service string
	changes servicePrograms
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
			all = append(all, fmt.Sprintf("%s: the newest notification failed: %s", t.name, *why))
		}
	}
	return all
}

// Read is the notifier's part in a start or reload. A missing program is logged and
// rejects nothing: a director must not stay down for it.
func (n *Notifier) Read(next *config.Config) reload.Participant {
	wanted := targets(next)
	for _, t := range wanted {
		for _, p := range programsOf(t.sender) {
			if err := p.check(); err != nil {
				n.log.Warn("notification program cannot be run", "program", p.command[0], "reason", err)
			}
		}
	}
	return func(_, _ *config.Config) (reload.Change, error) {
		return reload.Change{Commit: func() { n.apply(wanted, groupsOf(next)) }}, nil
	}
}

// targets returns the targets of a configuration, each once.
func targets(c *config.Config) []*target {
	var all []*target
	add := func(t *target) *target {
		for _, same := range all {
			if same.key == t.key {
				return same
			}
		}
		all = append(all, t)
		return t
	}
	user := c.Global.NotifyUser
	addProgram := func(command []string) *target {
		name := "notify " + strings.Join(command, " ")
		return add(&target{key: user + " " + name, name: name, sender: &program{command: command, user: user}})
	}
	if len(c.Global.Notify) > 0 {
		addProgram(c.Global.Notify).all = true
	}
	if c.Global.Webhook != "" {
		w := newWebhook(c.Global.Webhook, c.Global.WebhookFormat)
		t := add(&target{key: fmt.Sprint("webhook ", w.url, c.Global.WebhookFormat), name: "webhook " + w.shown, sender: w, gather: w.format.gather})
		t.all, t.kinds = len(c.Global.WebhookKinds) == 0, c.Global.WebhookKinds
	}
	if m := c.Email; m != nil {
		t := add(&target{key: fmt.Sprint("email ", *m), name: "email by " + m.Server, sender: &mailer{Email: *m}, gather: mailGather})
		t.kinds = m.Kinds
	}
	for _, i := range c.Instances {
		if len(i.Notify) > 0 {
			t := addProgram(i.Notify)
			t.vrrp = append(t.vrrp, i.Name)
		}
		if t := newStateTarget("INSTANCE", i.Name, i.StatePrograms, user); t != nil {
			add(t).vrrp = []string{i.Name}
		}
	}
	for _, g := range c.SyncGroups {
		if t := newStateTarget("GROUP", g.Name, g.StatePrograms, user); t != nil {
			add(t).group = g.Name
		}
	}
	for _, s := range c.Services {
		if t := newServiceTarget(s, user); t != nil {
			add(t)
		}
	}
	return all
}

// apply takes over a configuration. Targets in both keep their queues.
func (n *Notifier) apply(wanted []*target, next groups) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = next.after(n.groups)
	old := n.targets
	n.targets = nil
	for _, t := range wanted {
		i := slices.IndexFunc(old, func(o *target) bool { return o.key == t.key })
		if i >= 0 {
			old[i].filter = t.filter
			t = old[i]
			old = slices.Delete(slices.Clone(old), i, i+1)
		} else {
			t.queue = make(chan *event.Event, t.room())
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
func (n *Notifier) distribute(e *event.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ofGroup, group := n.groups.observe(*e)
	for _, t := range n.targets {
		switch {
		case t.group == "" && t.wants(*e):
			n.enqueue(t, e)
		case t.group != "" && t.group == group && slices.Contains(t.states, ofGroup.To):
			n.enqueue(t, &ofGroup)
		}
	}
}

// enqueue adds an event to a target's queue. The caller holds the lock.
func (n *Notifier) enqueue(t *target, e *event.Event) {
	select {
	case t.queue <- e:
	default:
		n.failed(t, e.ID, 1, fmt.Errorf("%d events are waiting already", t.room()))
	}
}

// room is the number of events that can wait for the target.
func (t *target) room() int {
	if t.service != "" {
		return serviceRoom
	}
	return queueRoom
}

// wants reports whether a target wants an event, but for events of its group.
func (f *filter) wants(e event.Event) bool {
	if f.states != nil && (!isTransition(e) || !slices.Contains(f.states, e.To)) {
		return false
	}
	if f.service != "" {
		c, ok := serviceChangeOf(e)
		return ok && e.Service == f.service && f.changes[c] != nil
	}
	return f.all || slices.Contains(f.kinds, string(e.Kind)) || e.Kind == event.KindVRRP && slices.Contains(f.vrrp, e.VRRP)
}

// serve sends the events of one target.
func (n *Notifier) serve(ctx context.Context, t *target) {
	for e := range t.queue {
		events := t.batch(ctx, *e)
		if err := t.sender.send(ctx, events); err != nil {
			n.failed(t, events[len(events)-1].ID, len(events), err)
			continue
		}
		if t.lastError.Swap(nil) != nil {
			n.log.Info("notifications recovered", "to", t.name, "lost", t.lost.Swap(0))
		}
	}
}

// batch returns the first event and those that follow within the time of gathering.
func (t *target) batch(ctx context.Context, first event.Event) []event.Event {
	events := []event.Event{first}
	if t.gather == 0 {
		return events
	}
	timer := time.NewTimer(t.gather)
	defer timer.Stop()
	for len(events) < batchLimit {
		select {
		case e, open := <-t.queue:
			if !open {
				return events
			}
			events = append(events, *e)
		case <-timer.C:
			return events
		case <-ctx.Done():
			return events
		}
	}
	return events
}

// failed counts events that were not sent, and logs the first in a row. id is that of
// the newest.
func (n *Notifier) failed(t *target, id uint64, count int, err error) {
	n.failures.Add(uint64(count))
	t.lost.Add(uint64(count))
	text := err.Error()
	if t.lastError.Swap(&text) == nil {
		n.log.Warn("notification failed", "to", t.name, "event", id, "reason", err)
	}
}
