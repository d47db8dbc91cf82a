package cli

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPaceRestarts: only under systemd a refused start waits, and a stop ends the wait.
func TestPaceRestarts(t *testing.T) {
	for socket, want := range map[string]time.Duration{"": 0, "/run/systemd/notify": refusedPause} {
		t.Setenv("NOTIFY_SOCKET", socket)
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			paceRestarts(t.Context())
			if took := time.Since(begin); took != want {
				t.Errorf("with NOTIFY_SOCKET=%q: %v, want %v", socket, took, want)
			}
			stopped, stop := context.WithCancel(t.Context())
			stop()
			begin = time.Now()
			paceRestarts(stopped)
			if took := time.Since(begin); took != 0 {
				t.Errorf("stopped: %v", took)
			}
		})
	}
}
