package main

// What systemd is told: that the daemon is ready, reloads, stops and is alive,
// and in a line what it is at. Without systemd nothing of it happens.

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"lvsd/cmd/internal/director"
)

// manager is systemd, as the daemon sees it.
type manager struct {
	director loops
	notify   func(state string)
	watchdog time.Duration // within which a sign of life is wanted; 0: never

	mu     sync.Mutex
	status string // as told last
}

// loops are those that matter: the director's, and by it the reconciler's.
type loops interface {
	Alive(ctx context.Context) error
	Look() director.View
}

func newManager(d loops) *manager {
	m := &manager{director: d, notify: func(state string) { _, _ = sd.SdNotify(false, state) }}
	m.watchdog, _ = sd.SdWatchdogEnabled(false) // what cannot be read is no wish
	return m
}

// Run tells of the start, then of life for as long as the loops that matter
// run, and of the stop.
func (m *manager) Run(ctx context.Context) error {
	every := time.Second
	if m.watchdog > 0 {
		every = min(every, m.watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ready := false; ; {
		if m.alive(ctx, every) {
			v := m.director.Look()
			if !ready && !v.Kernel.At.IsZero() {
				ready = true
				m.notify(sd.SdNotifyReady)
			}
			if m.watchdog > 0 {
				m.notify(sd.SdNotifyWatchdog)
			}
			m.say(statusLine(v))
		}
		select {
		case <-ctx.Done():
			m.notify(sd.SdNotifyStopping)
			return nil
		case <-tick.C:
		}
	}
}

// alive asks the loops, and does not wait long.
func (m *manager) alive(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return m.director.Alive(ctx) == nil
}

// say tells what the daemon is at, when that has changed.
func (m *manager) say(status string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if status != m.status {
		m.status = status
		m.notify("STATUS=" + status)
	}
}

// statusLine is one line: a file that was refused, the elections, and the services that are short.
func statusLine(v director.View) string {
	var parts []string
	for _, e := range v.Elections {
		parts = append(parts, fmt.Sprintf("%s %s", e.Name, e.State))
	}
	down := 0
	for _, s := range v.Plan.Services {
		if !s.Up {
			down++
		}
	}
	switch n := len(v.Plan.Services); {
	case n == 0:
	case down == 0:
		parts = append(parts, fmt.Sprintf("%d services up", n))
	default:
		parts = append(parts, fmt.Sprintf("%d of %d services DOWN", down, n))
	}
	if err := v.LastReload.Err; err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		what := "FILE REFUSED: "
		if v.LastReload.Kept {
			what = "STARTED FROM THE KEPT COPY, FILE REFUSED: "
		}
		parts = append([]string{what + first}, parts...)
	}
	return strings.Join(parts, ", ")
}

// reloading is the director, with each reload told to systemd: from the request
// to the verdict.
type reloading struct {
	*director.Director
	m *manager
}

func (r reloading) Reload(ctx context.Context) director.Outcome {
	r.m.notify(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
	defer r.m.notify(sd.SdNotifyReady)
	return r.Director.Reload(ctx)
}
