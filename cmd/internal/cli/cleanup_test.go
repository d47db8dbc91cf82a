package cli

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestPaceRestarts: the cleanup of a refused daemon waits before systemd starts it again,
// unless it is stopped; that of a daemon that was killed, or panicked, does not.
func TestPaceRestarts(t *testing.T) {
	for _, c := range []struct {
		result, status string
		want           time.Duration
	}{
		{"", "", 0}, {"success", "0", 0}, {"signal", "KILL", 0}, {"exit-code", "2", 0}, {"exit-code", "1", refusedPause},
	} {
		t.Setenv("SERVICE_RESULT", c.result)
		t.Setenv("EXIT_STATUS", c.status)
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			paceRestarts(t.Context())
			if took := time.Since(begin); took != c.want {
				t.Errorf("%s, %s: %v, want %v", c.result, c.status, took, c.want)
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
