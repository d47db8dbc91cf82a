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
	// room is how many events wait to be handed out, queueRoom how many for one
	// that is told.
	room, queueRoom = 4096, 1024
	// stopLimit is how long the end waits for the last events to be told.
	stopLimit = 2 * time.Second
)

// Notifier hands events to those whom the configuration names. Make one with
// New, give it a configuration by Prepare, and Run it.
type Notifier struct {
	log      *slog.Logger
	recorder *event.Recorder
	follower *event.Follower
	failures atomic.Uint64

	mu      sync.Mutex
	told    []*target
	running context.Context // of the targets' tasks; nil: not yet
	tasks   sync.WaitGroup
}

// teller tells one event. It returns when that is done, or at its deadline.
type teller interface {
	tell(ctx context.Context, e event.Event) error
}

// target is somebody who is told.
type target struct {
	name string // for people, and what makes two the same
	who  teller
	all  bool     // every event
	vrrp []string // else those of these elections

	queue  chan event.Event
	cancel context.CancelFunc
	lost   atomic.Uint64
	// trouble is why the newest event was not told; nil when it was.
	trouble atomic.Pointer[string]
}

// New makes a notifier of a recorder. It starts nothing; what is recorded before
// Run waits for it.
func New(r *event.Recorder, log *slog.Logger) *Notifier {
	n := &Notifier{log: log, recorder: r}
	n.follower, _ = r.Follow(room)
	return n
}

// Failures counts the events that somebody was not told of.
func (n *Notifier) Failures() uint64 { return n.failures.Load() + n.follower.Missed() }

// Problems names who cannot be told at present.
func (n *Notifier) Problems() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, t := range n.told {
		if why := t.trouble.Load(); why != nil {
			all = append(all, fmt.Sprintf("%s: the newest event was not told: %s", t.name, *why))
		}
	}
	return all
}

// Prepare takes part in start and reload. A program that is missing refuses
// nothing: a director must not stay away for it.
func (n *Notifier) Prepare(_, next *config.Config) (reload.Change, error) {
	wanted := targets(next)
	for _, t := range wanted {
		if p, ok := t.who.(*program); ok {
			if err := p.look(); err != nil {
				n.log.Warn("a program that is to be told of events cannot be run", "program", p.command[0], "reason", err)
			}
		}
	}
	return reload.Change{Commit: func() { n.become(wanted) }}, nil
}

// targets are those whom a configuration names, each once.
func targets(c *config.Config) []*target {
	var all []*target
	add := func(name string, who teller) *target {
		for _, t := range all {
			if t.name == name {
				return t
			}
		}
		t := &target{name: name, who: who}
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

// become takes a configuration over: who is told in both goes on where it is.
func (n *Notifier) become(wanted []*target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.told
	n.told = nil
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
		n.told = append(n.told, t)
	}
	for _, t := range old {
		close(t.queue)
		if t.cancel != nil {
			t.cancel()
		}
	}
}

// begin starts a target's task, once the notifier runs.
func (n *Notifier) begin(t *target) {
	if n.running == nil {
		return
	}
	ctx, cancel := context.WithCancel(n.running)
	t.cancel = cancel
	n.tasks.Go(func() { n.serve(ctx, t) })
}

// Run hands events out until the context ends, and waits a moment for the last
// ones to be told.
func (n *Notifier) Run(ctx context.Context) error {
	tellers, cancel := context.WithCancel(context.Background())
	defer cancel()
	n.mu.Lock()
	n.running = tellers
	for _, t := range n.told {
		n.begin(t)
	}
	n.mu.Unlock()
	for open := true; open; {
		select {
		case e := <-n.follower.C:
			n.hand(e)
		case <-ctx.Done():
			n.recorder.Unfollow(n.follower)
			for e := range n.follower.C {
				n.hand(e)
			}
			open = false
		}
	}
	for _, t := range n.told { // nobody becomes anything any more
		close(t.queue)
	}
	timer := time.AfterFunc(stopLimit, cancel)
	defer timer.Stop()
	n.tasks.Wait()
	return nil
}

// hand puts an event into the queues of those who want it.
func (n *Notifier) hand(e event.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.told {
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

// serve tells one target of its events.
func (n *Notifier) serve(ctx context.Context, t *target) {
	for e := range t.queue {
		if err := t.who.tell(ctx, e); err != nil {
			n.failed(t, e, err)
			continue
		}
		if t.trouble.Swap(nil) != nil {
			n.log.Info("events are told again", "to", t.name, "lost", t.lost.Swap(0))
		}
	}
}

// failed counts an event that was not told, and says the first of a row.
func (n *Notifier) failed(t *target, e event.Event, err error) {
	n.failures.Add(1)
	t.lost.Add(1)
	text := err.Error()
	if t.trouble.Swap(&text) == nil {
		n.log.Warn("an event was not told", "to", t.name, "event", e.ID, "reason", err)
	}
}

// look says what would keep a program from being run.
func (p *program) look() error {
	info, err := os.Stat(p.command[0])
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable", p.command[0])
	}
	return nil
}
