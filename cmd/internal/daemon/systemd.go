// This file reports to systemd: ready, reloading, stopping, the watchdog's sign of
// life and a status line. Without systemd it does nothing.

package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"lvsd/cmd/internal/director"
	"lvsd/cmd/internal/printable"
)

// systemd sends sd_notify(3) messages.
type systemd struct {
	director loops
	notify   func(state string)
	watchdog time.Duration // within which a sign of life is due; 0: no watchdog

	mu     sync.Mutex
	status string // sent last
}

// loops are those that the watchdog covers: the director's, and through it the
// reconciler's.
type loops interface {
	Alive(ctx context.Context) error
	Snapshot() director.View
}

func newSystemd(d loops) *systemd {
	s := &systemd{director: d, notify: func(state string) { _, _ = sd.SdNotify(false, state) }}
	s.watchdog, _ = sd.SdWatchdogEnabled(false) // an invalid value disables it
	return s
}

// Run reports the start once the kernel has been read, a sign of life while the
// loops run, and the stop.
func (s *systemd) Run(ctx context.Context) error {
	interval := time.Second
	if s.watchdog > 0 {
		interval = min(interval, s.watchdog/3)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ready := false; ; {
		if s.alive(ctx, interval) {
			v := s.director.Snapshot()
			if !ready && !v.Kernel.At.IsZero() {
				ready = true
				s.notify(sd.SdNotifyReady)
			}
			if s.watchdog > 0 {
				s.notify(sd.SdNotifyWatchdog)
			}
			s.setStatus(statusLine(v))
		}
		select {
		case <-ctx.Done():
			s.notify(sd.SdNotifyStopping)
			return nil
		case <-tick.C:
		}
	}
}

// alive reports whether the loops reply in time.
func (s *systemd) alive(ctx context.Context, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.director.Alive(ctx) == nil
}

// setStatus sends a status line that has changed.
func (s *systemd) setStatus(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status != s.status {
		s.status = status
		s.notify("STATUS=" + status)
	}
}

// statusLine summarises a view: a rejected file, the VRRP instances, and how many
// services are down.
func statusLine(v director.View) string {
	var parts []string
	for _, e := range v.Instances {
		parts = append(parts, fmt.Sprintf("%s %s", e.Name, e.State))
	}
	down := 0
	for _, s := range v.Decision.Services {
		if !s.Up {
			down++
		}
	}
	switch n := len(v.Decision.Services); {
	case n == 0:
	case down == 0:
		parts = append(parts, printable.Count(n, "service")+" up")
	default:
		parts = append(parts, fmt.Sprintf("%d of %d services DOWN", down, n))
	}
	if err := v.LastReload.Err; err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		what := "FILE REJECTED: "
		if v.LastReload.LastGood {
			what = "LAST GOOD CONFIGURATION, FILE REJECTED: "
		}
		parts = append([]string{what + first}, parts...)
	}
	return strings.Join(parts, ", ")
}

// notifiedDirector is the director with each reload reported to systemd.
type notifiedDirector struct {
	*director.Director
	systemd *systemd
}

func (d notifiedDirector) Reload(ctx context.Context) director.Outcome {
	d.systemd.notify(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
	defer d.systemd.notify(sd.SdNotifyReady)
	return d.Director.Reload(ctx)
}
